"""Does the recording set-up give the emotion away? And the simple-cue baseline.

A field of the set-up (sampling rate, sample format, digital silence in steps, ...) is made a predictor. For each test
group an emotion is guessed from the field's value, each as often as the value is frequent in it on all other groups.
The expected UAR is compared with the same for labels shuffled within speakers: what a field says only of speakers is in
both. To guess the most frequent emotion would hinge on ties: 30 % of EmoDB's anger at 24 bit would pass unseen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serbench.audit.copies import RATE, fingerprint
from serbench.corpora.audio import Recording, read_header, read_header_text, to_mono
from serbench.corpora.tasks import EmotionTask

SILENCE_S = 0.01  # shortest run of zeros that counts as digital silence, in seconds
BESIDE_S = 0.005  # seconds next to a run of zeros in which something must be heard; else it is a quiet room at 16 bit
LEAST_HEARD = 2.5 / 32768  # level that is heard: three steps of 16 bit
CLIPPED_FROM = 3  # samples in a row at a recording's own peak that make it clipped

N_SHUFFLES = 999  # draws of labels, at least: the least p is 1 / 1000
N_SHUFFLES_OF_FIELD = 200  # draws per tested field: the least p times the number of fields stays below `P_AT_MOST`
P_AT_MOST = 0.01  # p of a field, times the number of fields (Bonferroni), up to which the field predicts the emotion
UAR_ABOVE = 0.02  # UAR above that of shuffled labels from which a field that predicts the emotion is an error
MOST_VALUES = 30  # values of a field that are kept, the most frequent; the others count as one
TOGETHER = "all fields together"
RARE = "(rarer values)"

_FRAME_S, _HOP_S = 0.025, 0.01
_FLOOR = 1e-10
_LONGEST_TEXT = 60  # characters of a header's text that are compared
_MOST_COUNTS = 2**20  # counts (draws x test groups x values x emotions) that are made at once


def hear(path: Path, recording: Recording) -> dict[str, Any]:
    """Return what the audit keeps of a decoded utterance; `voice` is float16 at 4 kHz, its peak 1."""
    header, samples, voice = read_header(path), recording.samples, to_mono(recording, RATE)
    peak = float(np.abs(voice).max())
    setup = {
        "sampling rate": f"{header.samplerate} Hz",
        "container": header.format,
        "sample format": header.subtype,
        "bits in use": used_bits(samples),
        "channels": str(header.channels),
        **{f"header {name}": text[:_LONGEST_TEXT] for name, text in read_header_text(path).items()},
        **{f"silence {where}": in_steps(s) for where, s in digital_silence_s(recording).items()},
    }
    return {
        "setup": setup,
        "offset": float(samples.mean(dtype=np.float64)),
        "is_clipped": is_clipped(samples),
        "cues": simple_cues(recording),
        "voice": (voice / peak if peak else voice).astype(np.float16),
        "fingerprint": fingerprint(voice),
    }


def used_bits(samples: np.ndarray) -> str:
    """Return the bits that the samples need: 16 for a file of 24 bit whose last eight are always zero."""
    steps = np.abs(np.clip(samples, -1, 1).astype(np.float64) * 2.0**23).astype(np.int64)
    together = int(np.bitwise_or.reduce(steps, axis=None))
    return str(24 - ((together & -together).bit_length() - 1)) if together else "silent"


def digital_silence_s(recording: Recording) -> dict[str, float]:
    """Seconds of digital silence before, after and within the voice; zeros beside next to nothing are a quiet room."""
    level = np.abs(recording.samples).max(axis=1)
    starts, ends = _runs(level == 0)
    least, beside = (max(1, round(s * recording.sampling_rate)) for s in (SILENCE_S, BESIDE_S))
    seconds = {"before": 0.0, "after": 0.0, "within": 0.0}
    long = ends - starts >= least
    for start, end in zip(starts[long], ends[long], strict=True):
        near = np.concatenate([level[max(0, start - beside) : start], level[end : end + beside]])
        if near.max(initial=0.0) >= LEAST_HEARD:
            where = "before" if start == 0 else "after" if end == len(level) else "within"
            seconds[where] += (end - start) / recording.sampling_rate
    return seconds


def in_steps(seconds: float) -> str:
    """Word an amount of silence in steps that double.

    >>> in_steps(0), in_steps(0.015), in_steps(0.5)
    ('none', '10 to 20 ms', '320 to 640 ms')
    """
    if seconds < SILENCE_S:
        return "none"
    low = SILENCE_S * 1000 * 2 ** math.floor(math.log2(seconds / SILENCE_S))
    return f"{low:.0f} to {2 * low:.0f} ms"


def is_clipped(samples: np.ndarray) -> bool:
    """Whether some samples in a row are at the recording's own peak: its tops are cut off.

    >>> is_clipped(np.array([[0.1], [0.9], [0.9], [0.9], [0.2]])), is_clipped(np.array([[0.1], [0.9], [0.2]]))
    (True, False)
    """
    level = np.abs(samples).max(axis=1)
    starts, ends = _runs((level > 0) & (level >= level.max()))
    return bool((ends - starts >= CLIPPED_FROM).any())


def _runs(flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of the runs of True."""
    steps = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    return np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)


def simple_cues(recording: Recording) -> np.ndarray:
    """Duration in seconds; mean, spread and maximum of the level in dB, frames of 25 ms every 10 ms: shape (4,)."""
    power = recording.samples.astype(np.float64).mean(axis=1) ** 2
    length, hop = (max(1, round(s * recording.sampling_rate)) for s in (_FRAME_S, _HOP_S))
    length = min(length, len(power))
    starts = np.arange(0, len(power) - length + 1, hop)
    summed = np.concatenate([[0.0], np.cumsum(power)])
    level_db = 10 * np.log10((summed[starts + length] - summed[starts]).clip(0) / length + _FLOOR)
    return np.array([recording.duration_s, level_db.mean(), level_db.std(), level_db.max()])


@dataclass(frozen=True, slots=True)
class Prediction:
    """How well one field predicts the emotion."""

    field: str
    uar: float  # expected for guesses from the field
    expected: float  # mean UAR of shuffled labels; less than chance, at times, as guessed utterances are not counted
    p: float  # share of draws that reach `uar`, times the number of fields, at most 1
    example: str  # the value and emotion that go together most, in words
    chance: float  # UAR of guessing without any field

    @property
    def is_certain(self) -> bool:
        """Whether the field predicts the emotion: above chance, and hardly ever so with shuffled labels."""
        return self.p <= P_AT_MOST and self.uar > self.chance

    def __str__(self) -> str:
        return f"UAR is {self.uar:.2f}, {self.expected:.2f} with shuffled labels (p {self.p:.3f})"


def predict(fields: pd.DataFrame, rows: pd.DataFrame, person: str, *, seed: int = 0) -> list[Prediction]:
    """Test how well each field (a column of words) predicts the emotion, and all fields together as one more field.

    `rows` has the same utterances with `emotion`, test `group` and their `person`. Fields of one value are left out.
    """

    def common(values: pd.Series) -> pd.Series:
        return values.where(values.isin(values.value_counts().index[:MOST_VALUES]), RARE)

    tested = fields.fillna("none").astype(str).apply(common)
    tested = tested.loc[:, tested.nunique() > 1]
    if len(tested.columns) > 1:
        tested = tested.assign(**{TOGETHER: common(tested.agg(", ".join, axis=1))})
    truth, groups, people = (pd.factorize(rows[name], sort=True)[0] for name in ("emotion", "group", person))
    draws = shuffled(truth, people, n=max(N_SHUFFLES, N_SHUFFLES_OF_FIELD * len(tested.columns)), seed=seed)
    found = []
    for name, values in tested.items():
        codes = pd.factorize(values, sort=True)[0]
        shape = (int(groups.max()) + 1, int(codes.max()) + 1, int(truth.max()) + 1)
        uar = float(_expected_uars(codes, groups, truth[None], shape)[0])
        at_once = max(1, _MOST_COUNTS // math.prod(shape))
        parts = (draws[i : i + at_once] for i in range(0, len(draws), at_once))  # for the memory of a large corpus
        by_chance = np.concatenate([_expected_uars(codes, groups, part, shape) for part in parts])
        p = float(1 + np.sum(by_chance >= uar - 1e-12)) / (1 + len(by_chance)) * len(tested.columns)
        example = _example(values, rows["emotion"])
        found.append(Prediction(str(name), uar, float(by_chance.mean()), min(1.0, p), example, 1 / shape[2]))
    return found


def shuffled(truth: np.ndarray, speakers: np.ndarray, *, n: int, seed: int) -> np.ndarray:
    """Shuffle labels within each speaker: codes of shape (n, n_utterances)."""
    rng = np.random.default_rng(seed)
    draws = np.tile(truth.astype(np.int16), (n, 1))
    for speaker in np.unique(speakers):
        own = np.flatnonzero(speakers == speaker)
        draws[:, own] = rng.permuted(draws[:, own], axis=1)
    return draws


def _expected_uars(codes: np.ndarray, groups: np.ndarray, draws: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """UAR expected for guesses from a field, for each draw of labels; `shape` counts groups, values and emotions."""
    n = math.prod(shape)
    places = (groups * shape[1] + codes) * shape[2] + draws + np.arange(len(draws))[:, None] * n
    counts = np.bincount(places.ravel(), minlength=len(draws) * n).reshape(len(draws), *shape)
    others = counts.sum(axis=1, keepdims=True) - counts
    share = others / np.maximum(others.sum(axis=2, keepdims=True), 1)
    of_value = share.sum(axis=3, keepdims=True)
    # A value that no other group has predicts nothing: each emotion is as likely.
    guessed = np.where(of_value > 0, share / np.where(of_value > 0, of_value, 1), 1 / shape[2])
    hits = (counts * guessed).sum(axis=(1, 2))
    return np.asarray((hits / counts.sum(axis=(1, 2))).mean(axis=1))


def _example(values: pd.Series, emotions: pd.Series) -> str:
    """Word the value and emotion that go together most."""
    table = pd.crosstab(values.to_numpy(), emotions.to_numpy())
    counts, totals = table.to_numpy(), table.to_numpy().sum(axis=0)
    rest, n_rest = counts.sum(axis=1, keepdims=True) - counts, totals.sum() - totals
    lift = counts / totals - rest / n_rest
    i, j = divmod(int(lift.argmax()), len(totals))
    value, emotion, others = table.index[i], table.columns[j], f"{rest[i, j]} of {n_rest[j]} of the others"
    return f"'{value}' in {counts[i, j]} of {totals[j]} of {emotion} and in {others}"


@dataclass(frozen=True, slots=True)
class Baseline:
    """UAR of simple cues alone over the test groups of a corpus, and what it was measured on."""

    uar: float
    emotions: tuple[str, ...]
    n_utterances: int
    n_groups: int


def simple_cue_baseline(rows: pd.DataFrame, task: EmotionTask) -> Baseline | None:
    """Test each group on an SVM of the simple cues of all others: rbf, C 1, balanced, cues standardised in training.

    It is measured on the emotions of `task` where the corpus has them all, else on all of its own; None where some
    group leaves fewer than two emotions to train on.
    """
    from sklearn.metrics import recall_score
    from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    mapped = rows["emotion"].map({source: target for target, sources in task.merges for source in sources})
    if set(mapped.dropna()) == set(task.emotions):
        rows = rows.assign(emotion=mapped)[mapped.notna()]
    truth, groups = rows["emotion"].to_numpy(str), rows["group"].to_numpy(str)
    if any(len(np.unique(truth[groups != group])) < 2 for group in np.unique(groups)):
        return None
    model = make_pipeline(StandardScaler(), SVC(class_weight="balanced"))
    said = cross_val_predict(model, np.stack(rows["cues"].tolist()), truth, groups=groups, cv=LeaveOneGroupOut())
    uar = float(recall_score(truth, said, average="macro"))
    return Baseline(uar, tuple(map(str, np.unique(truth))), len(truth), len(np.unique(groups)))
