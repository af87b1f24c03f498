"""Does the recording set-up give the emotion away? What it is, and what it predicts; and the simple-cue baseline.

A field of the set-up is a word per recording: sampling rate, sample format, digital silence in steps, ... Each field is
made a predictor. For each test group an emotion is guessed from the field's value alone, each emotion as often as the
value is frequent in it (its share of the emotion's utterances, counted on all other groups). The expected UAR of such
guesses is compared with the same for labels shuffled within speakers: what a field says only of speakers is in both.
To guess the most frequent emotion instead would hinge on ties: 30 % of EmoDB's anger at 24 bit would pass unseen.
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

SILENCE_S = 0.01  # shortest run of zeros that counts as digital silence, in seconds
BESIDE_S = 0.005  # seconds next to a run of zeros in which something must be heard; else it is a quiet room at 16 bit
LEAST_HEARD = 2.5 / 32768  # level that is heard: three steps of 16 bit
CLIPPED_FROM = 3  # samples in a row at a recording's own peak that make it clipped
CUES = ("duration", "mean level", "spread of the level", "highest level")

N_SHUFFLES = 999  # draws of labels, at least: the least p is 1 / 1000
N_SHUFFLES_OF_FIELD = 200
"""Draws of labels per tested field, so that the least p times the number of fields stays below `P_AT_MOST`."""
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
    """Return what the audit keeps of a decoded utterance.

    Returns
    -------
    `setup`: fields of the set-up in words. `offset`: mean of the samples. `is_clipped`. `cues`: shape (4,), see `CUES`.
    `voice`: float16 at 4 kHz, shape (n_frames,), its peak 1. `fingerprint`: see `copies.fingerprint`.
    """
    voice = to_mono(recording, RATE)
    peak = float(np.abs(voice).max())
    return {
        "setup": setup_of(path, recording),
        "offset": float(recording.samples.mean(dtype=np.float64)),
        "is_clipped": is_clipped(recording.samples),
        "cues": simple_cues(recording),
        "voice": (voice / peak if peak else voice).astype(np.float16),
        "fingerprint": fingerprint(voice),
    }


def setup_of(path: Path, recording: Recording) -> dict[str, str]:
    """Return the set-up of a recording in words: its header, bits in use, digital silence."""
    header = read_header(path)
    return {
        "sampling rate": f"{header.sampling_rate} Hz",
        "container": header.container,
        "sample format": header.subtype,
        "bits in use": used_bits(recording.samples),
        "channels": str(header.channels),
        **{f"header {name}": text[:_LONGEST_TEXT] for name, text in read_header_text(path).items()},
        **{f"silence {where}": in_steps(s) for where, s in digital_silence_s(recording).items()},
    }


def used_bits(samples: np.ndarray) -> str:
    """Return the bits that the samples need: 16 for a file of 24 bit whose last eight are always zero.

    >>> used_bits(np.array([[0.5], [-0.25 + 2**-15]], dtype=np.float32))
    '16'
    """
    steps = np.abs(np.clip(samples, -1, 1).astype(np.float64) * 2.0**23).astype(np.int64)
    together = int(np.bitwise_or.reduce(steps, axis=None))
    return str(24 - ((together & -together).bit_length() - 1)) if together else "silent"


def digital_silence_s(recording: Recording) -> dict[str, float]:
    """Seconds of digital silence `before`, `after` and `within` the recorded voice.

    Zeros next to which next to nothing is heard are a quiet room at 16 bit, not silence that somebody inserted.
    """
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


def simple_cues(recording: Recording) -> np.ndarray:
    """Duration in seconds; mean, spread and maximum of the level in dB, frames of 25 ms every 10 ms: shape (4,)."""
    power = recording.samples.astype(np.float64).mean(axis=1) ** 2
    length, hop = (max(1, round(s * recording.sampling_rate)) for s in (_FRAME_S, _HOP_S))
    length = min(length, len(power))
    starts = np.arange(0, len(power) - length + 1, hop)
    summed = np.concatenate([[0.0], np.cumsum(power)])
    level_db = 10 * np.log10((summed[starts + length] - summed[starts]).clip(0) / length + _FLOOR)
    return np.array([recording.duration_s, level_db.mean(), level_db.std(), level_db.max()])


def _runs(flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of the runs of True."""
    steps = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    return np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)


@dataclass(frozen=True, slots=True)
class Labels:
    """Codes of the emotion, test group and speaker of each utterance, shape (n_utterances,); the emotions by code."""

    emotions: tuple[str, ...]
    truth: np.ndarray
    groups: np.ndarray
    speakers: np.ndarray

    @staticmethod
    def of(rows: pd.DataFrame, person: str) -> Labels:
        """Take the columns `emotion`, `group` and `person` of a table of utterances."""
        truth, emotions = pd.factorize(rows["emotion"], sort=True)
        groups, speakers = (pd.factorize(rows[name], sort=True)[0] for name in ("group", person))
        return Labels(tuple(map(str, emotions)), truth, groups, speakers)


@dataclass(frozen=True, slots=True)
class Prediction:
    """How well one field predicts the emotion.

    `uar`: expected for guesses from the field. `expected`: mean UAR of shuffled labels. `p`: share of draws that reach
    `uar`, times the number of fields, at most 1. `example`: the value and emotion that go together most, in words.
    `chance`: UAR of guessing without any field.
    """

    field: str
    uar: float
    expected: float
    p: float
    example: str
    chance: float

    @property
    def is_certain(self) -> bool:
        """Whether the field predicts the emotion: above chance, and hardly ever so with shuffled labels.

        Shuffled labels may give less than chance, because the guessed utterances are not in the counts.
        """
        return self.p <= P_AT_MOST and self.uar > self.chance

    @property
    def is_much(self) -> bool:
        """Whether the difference is enough to move a table."""
        return self.uar - self.expected >= UAR_ABOVE


def predict(fields: pd.DataFrame, labels: Labels, *, seed: int = 0) -> list[Prediction]:
    """Test how well each field predicts the emotion, and all fields together as one more field.

    Parameters
    ----------
    fields : one row per utterance, one column of words per field. Fields with one value only are left out.
    """
    columns = {str(name): _common(fields[name]) for name in fields}
    tested = {name: values for name, values in columns.items() if values.nunique() > 1}
    if not tested:
        return []
    if len(tested) > 1:
        joined = pd.DataFrame(tested).agg(", ".join, axis=1)
        tested[TOGETHER] = _common(joined)
    n = max(N_SHUFFLES, N_SHUFFLES_OF_FIELD * len(tested))
    draws = shuffled(labels.truth, labels.speakers, n=n, seed=seed)
    return [_predicted(name, values, labels, draws, n_fields=len(tested)) for name, values in tested.items()]


def _common(values: pd.Series) -> pd.Series:
    """Replace the rarer of too many values by one word, and what is missing by another."""
    values = values.fillna("none").astype(str)
    return values.where(values.isin(values.value_counts().index[:MOST_VALUES]), RARE)


def shuffled(truth: np.ndarray, speakers: np.ndarray, *, n: int, seed: int) -> np.ndarray:
    """Shuffle labels within each speaker: codes of shape (n, n_utterances).

    >>> shuffled(np.array([0, 1, 2, 2]), np.array([0, 0, 1, 1]), n=3, seed=0).sum(axis=1).tolist()
    [5, 5, 5]
    """
    rng = np.random.default_rng(seed)
    draws = np.tile(truth.astype(np.int16), (n, 1))
    for speaker in np.unique(speakers):
        own = np.flatnonzero(speakers == speaker)
        draws[:, own] = rng.permuted(draws[:, own], axis=1)
    return draws


def _predicted(field: str, values: pd.Series, labels: Labels, draws: np.ndarray, *, n_fields: int) -> Prediction:
    codes, names = pd.factorize(values, sort=True)
    found = float(_expected_uars(codes, labels, labels.truth[None])[0])
    at_once = max(1, _MOST_COUNTS // ((int(labels.groups.max()) + 1) * len(names) * len(labels.emotions)))
    parts = (draws[i : i + at_once] for i in range(0, len(draws), at_once))  # for the memory of a large corpus
    by_chance = np.concatenate([_expected_uars(codes, labels, part) for part in parts])
    p = float(1 + np.sum(by_chance >= found - 1e-12)) / (1 + len(by_chance))
    example = _example(names, codes, labels)
    return Prediction(field, found, float(by_chance.mean()), min(1.0, p * n_fields), example, 1 / len(labels.emotions))


def _expected_uars(codes: np.ndarray, labels: Labels, draws: np.ndarray) -> np.ndarray:
    """UAR expected for guesses from a field, for each draw of labels; shape (n_draws,).

    It follows from how often each value meets each emotion in each test group.
    """
    shape = len(draws), int(labels.groups.max()) + 1, int(codes.max()) + 1, len(labels.emotions)
    places = (labels.groups * shape[2] + codes) * shape[3] + draws + np.arange(len(draws))[:, None] * np.prod(shape[1:])
    counts = np.bincount(places.ravel(), minlength=int(np.prod(shape))).reshape(shape)
    others = counts.sum(axis=1, keepdims=True) - counts
    share = others / np.maximum(others.sum(axis=2, keepdims=True), 1)
    of_value = share.sum(axis=3, keepdims=True)
    # A value that no other group has predicts nothing: each emotion is as likely.
    guessed = np.where(of_value > 0, share / np.where(of_value > 0, of_value, 1), 1 / shape[3])
    hits = (counts * guessed).sum(axis=(1, 2))
    return np.asarray((hits / counts.sum(axis=(1, 2))).mean(axis=1))


def _example(names: pd.Index, codes: np.ndarray, labels: Labels) -> str:
    """Word the value and emotion that go together most."""
    counts = np.zeros((len(names), len(labels.emotions)))
    np.add.at(counts, (codes, labels.truth), 1)
    totals = counts.sum(axis=0)
    rest = counts.sum(axis=1, keepdims=True) - counts
    lift = counts / totals - rest / (totals.sum() - totals)
    value, emotion = map(int, np.unravel_index(int(lift.argmax()), lift.shape))
    has, all_, others = counts[value, emotion], totals[emotion], rest[value, emotion]
    return (
        f"'{names[value]}' in {has:.0f} of {all_:.0f} of {labels.emotions[emotion]} "
        f"and in {others:.0f} of {totals.sum() - all_:.0f} of the others"
    )


@dataclass(frozen=True, slots=True)
class Baseline:
    """UAR of simple cues alone over the test groups of a corpus, and what it was measured on."""

    uar: float
    emotions: tuple[str, ...]
    n_utterances: int
    n_groups: int
    chance: float


def simple_cue_baseline(cues: np.ndarray, labels: Labels) -> Baseline | None:
    """Test each group on an SVM of the simple cues of all others: rbf, C 1, balanced, cues standardised in training.

    The cues are cues of emotion. A high value is no fault of a corpus; it is what features must be better than.

    Parameters
    ----------
    cues : shape (n_utterances, 4), see `CUES`.

    Returns
    -------
    None where some group leaves fewer than two emotions to train on.
    """
    from sklearn.metrics import recall_score
    from sklearn.model_selection import LeaveOneGroupOut, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    truth, groups = labels.truth, labels.groups
    if any(len(np.unique(truth[groups != group])) < 2 for group in np.unique(groups)):
        return None
    model = make_pipeline(StandardScaler(), SVC(class_weight="balanced"))
    said = cross_val_predict(model, cues, truth, groups=groups, cv=LeaveOneGroupOut())
    uar = float(recall_score(truth, said, average="macro"))
    return Baseline(uar, labels.emotions, len(truth), len(np.unique(groups)), 1 / len(labels.emotions))
