"""serbench put to the question: its scores on labels without meaning, held against what they must be.

The whole way from features to scores runs on a synthetic corpus whose features tell emotions well, 20 times, each
time with other labels: those of each speaker shuffled, for training and test alike. Predictions for a speaker then
know nothing of that speaker's labels, so that the UAR they reach on average is known exactly, and it is not 1 / n: it
is what the same predictions reach when the speaker's labels are dealt out at random. The 20 differences from it have
a mean of zero, unless something of the test leaks into training or tuning.

The rule `oracle` chooses settings on test data. It is the leak that this check has to find, or it is of no use.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from serbench.audit.setup import shuffled
from serbench.classifiers import CLASSIFIERS
from serbench.classifiers.spaces import Space
from serbench.corpora.entry import Corpus
from serbench.corpora.tasks import EmotionTask
from serbench.errors import SerbenchError
from serbench.features.table import FeatureTable, write_part
from serbench.grid.cells import GridOptions
from serbench.grid.fit import run_job
from serbench.grid.members import CorpusData, FeatureSource
from serbench.grid.run import plan_grid
from serbench.progress import Progress, silent
from serbench.scores.metrics import confusion_matrix, uar
from serbench.scores.outcomes import CellOutcomes, Outcome, load_outcomes
from serbench.store.files import write_frame, write_json
from serbench.store.results import Store

N_DRAWS = 20
P_AT_MOST = 0.001
"""p of the mean difference up to which serbench leaks, or loses labels."""
LEAK_P_AT_MOST = 0.01
"""p that the leak made on purpose must reach; its scores lie above what is expected by 0.04 of UAR or so."""
HONEST = ("nested", "default")
LEAKS = "oracle"
SPACES = {
    "knn": Space.of(CLASSIFIERS["knn"]),
    "logistic": Space("two", ({"C": 1e-2}, {"C": 1}), default=0),
}
"""Classifiers that are quick to fit, and their settings."""
EMOTIONS = ("anger", "fear", "neutral", "sadness")

_SPEAKERS = ("f1", "f2", "m1", "m2", "m3")
_TAKES = 5
_SEED = 20
_KEY = "shuffled-check"


@dataclass(frozen=True, slots=True)
class RuleCheck:
    """UARs of one rule and classifier over the draws, and their expectations, of shape (n_draws,) each; p by t-test."""

    classifier: str
    rule: str
    uars: np.ndarray
    expected: np.ndarray
    p: float

    @property
    def is_off(self) -> bool:
        """Whether the scores are not where labels without meaning put them."""
        return self.p <= (LEAK_P_AT_MOST if self.rule == LEAKS else P_AT_MOST)


@dataclass(frozen=True, slots=True)
class SelfCheck:
    """What shuffled labels gave, by classifier and rule."""

    rules: tuple[RuleCheck, ...]
    honest: tuple[str, ...] = HONEST

    @property
    def leaks(self) -> tuple[RuleCheck, ...]:
        """Honest rules whose scores are off."""
        return tuple(rule for rule in self.rules if rule.rule in self.honest and rule.is_off)

    @property
    def is_blind(self) -> bool:
        """Whether the leak that is there on purpose was missed."""
        return not any(rule.rule == LEAKS and rule.is_off for rule in self.rules)

    @property
    def is_sound(self) -> bool:
        """Whether serbench may be believed."""
        return not self.leaks and not self.is_blind

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        if self.leaks:
            return "do not believe serbench: it scores labels without meaning as if they had one"
        return "the check found not even the leak made on purpose" if self.is_blind else "sound"


def check_self(
    *,
    classifiers: Sequence[str] = tuple(SPACES),
    n_draws: int = N_DRAWS,
    make_features: Callable[[pd.DataFrame], np.ndarray] | None = None,
    progress: Progress = silent,
) -> SelfCheck:
    """Run serbench on shuffled labels and hold its scores against what they must be.

    Parameters
    ----------
    make_features : rows of a draw's index, its shuffled labels among them -> features of shape (n_utterances,
        n_features). For tests, which make features that leak; the default knows the true labels only.
    """
    index = _synthetic_index()
    features = _features(index)
    draws = [_relabelled(index, f"draw{i:02}", truth) for i, truth in enumerate(_draws(index, n_draws))]
    with tempfile.TemporaryDirectory(prefix="serbench-self-") as folder:
        store = Store(Path(folder))
        for draw in draws:
            _store_draw(draw, features if make_features is None else make_features(draw), store)
        _run(draws, classifiers, store, progress)
        cells = load_outcomes(store)
    return SelfCheck(tuple(_rule_check(cells, name, rule) for name in classifiers for rule in (*HONEST, LEAKS)))


def expected_uar(cell: CellOutcomes, outcome: Outcome) -> float:
    """UAR that an outcome's predictions reach on average when each speaker's labels are dealt out at random.

    A speaker with n utterances, a of an emotion and b predicted as it, has a * b / n hits on average.
    """
    utterances = sorted(outcome.predictions)
    truth, said = (np.array([codes[u] for u in utterances]) for codes in (cell.truth, outcome.predictions))
    speakers = np.array([cell.speakers[u] for u in utterances])
    n = len(cell.emotions)
    hits, totals = np.zeros(n), np.bincount(truth, minlength=n)
    for speaker in np.unique(speakers):
        own = speakers == speaker
        hits += np.bincount(truth[own], minlength=n) * np.bincount(said[own], minlength=n) / own.sum()
    return float((hits / totals).mean())


def _rule_check(cells: Sequence[CellOutcomes], classifier: str, rule: str) -> RuleCheck:
    from scipy.stats import ttest_1samp

    own = [cell for cell in cells if cell.cell["classifier"] == classifier]
    lost = [cell.reasons[rule] for cell in own if rule not in cell.outcomes]
    if lost:
        raise SerbenchError("self-check", f"{len(lost)} of {len(own)} draws have no result: {lost[0]}", "a result each")
    uars = np.array([_uar(cell, cell.outcomes[rule]) for cell in own])
    expected = np.array([expected_uar(cell, cell.outcomes[rule]) for cell in own])
    off = uars - expected
    p = float(ttest_1samp(off, 0).pvalue) if np.ptp(off) else float(np.allclose(off, 0))
    return RuleCheck(classifier, rule, uars, expected, p)


def _uar(cell: CellOutcomes, outcome: Outcome) -> float:
    utterances = sorted(outcome.predictions)
    truth, said = (np.array([codes[u] for u in utterances]) for codes in (cell.truth, outcome.predictions))
    return uar(confusion_matrix(truth, said, n_labels=len(cell.emotions)))


def _run(draws: Sequence[pd.DataFrame], classifiers: Sequence[str], store: Store, progress: Progress) -> None:
    """Plan and run all draws as one grid, in this process."""
    data = [CorpusData(_corpus(str(draw["corpus"].iloc[0])), draw, "") for draw in draws]
    task = EmotionTask("shuffled", tuple((emotion, (emotion,)) for emotion in EMOTIONS))
    source = FeatureSource("synthetic", _KEY, 0, {}, "synthetic")
    plan = plan_grid(data, [source], [CLASSIFIERS[name] for name in classifiers], SPACES, GridOptions(task), store)
    for cell in plan.cells:
        write_json(store.cell(cell.cell.name), cell.record)
    for done, job in enumerate(plan.todo, start=1):
        run_job(job.key, job.json, str(store.root))
        progress("shuffled labels", done, len(plan.todo), done / len(plan.todo))


def _synthetic_index() -> pd.DataFrame:
    """Speakers that say each emotion, one of them more often: dealt out labels are not of one size."""
    rows = [
        {"speaker": speaker, "emotion": emotion, "take": take}
        for speaker in _SPEAKERS
        for emotion in EMOTIONS
        for take in range(_TAKES + 3 * (emotion == "neutral"))
    ]
    names = [f"{row['speaker']}_{row['emotion']}_{row['take']}" for row in rows]
    index = pd.DataFrame(rows).assign(name=names, raw_label=lambda rows: rows["emotion"], duplicate=None, problem=None)
    gender = index["speaker"].str[0].map({"f": "female", "m": "male"})
    return index.assign(gender=gender, start_s=np.nan, end_s=np.nan, audio_hash=names)


def _draws(index: pd.DataFrame, n: int) -> list[np.ndarray]:
    truth, _ = pd.factorize(index["emotion"], sort=True)
    speakers, _ = pd.factorize(index["speaker"])
    return list(shuffled(truth, speakers, n=n, seed=_SEED))


def _relabelled(index: pd.DataFrame, corpus: str, truth: np.ndarray) -> pd.DataFrame:
    """Return the index as a corpus of its own, with other labels; names of utterances tell nothing of them."""
    utterances = [f"{corpus}/{i:03}" for i in range(len(index))]
    told = index.assign(
        corpus=corpus, utterance=utterances, file=utterances, emotion=[EMOTIONS[code] for code in truth]
    )
    return told.assign(raw_label=told["emotion"], speaker=f"{corpus}/" + told["speaker"])


def _features(index: pd.DataFrame) -> np.ndarray:
    """Make features in which emotions lie apart and speakers have ways of their own."""
    rng = np.random.default_rng(_SEED)
    emotions, speakers = (pd.factorize(index[name], sort=True)[0] for name in ("emotion", "speaker"))
    centres, ways = rng.normal(0, 1.5, (len(EMOTIONS), 8)), rng.normal(0, 0.7, (len(_SPEAKERS), 8))
    return np.asarray(centres[emotions] + ways[speakers] + rng.normal(0, 1, (len(index), 8)))


def _store_draw(draw: pd.DataFrame, features: np.ndarray, store: Store) -> None:
    corpus = str(draw["corpus"].iloc[0])
    columns = tuple(f"x{i}" for i in range(features.shape[1]))
    table = FeatureTable(tuple(draw["utterance"]), tuple(draw["audio_hash"]), columns, features.astype(np.float32))
    write_part(store.features(_KEY, corpus), table)
    write_frame(store.index(corpus), draw, metadata={"partial": ""})


def _corpus(name: str) -> Corpus:
    return Corpus.model_validate(
        {
            "name": name,
            "title": "shuffled labels",
            "language": "en",
            "licence": "CC0-1.0",
            "root": ".",
            "audio": "*.wav",
            "labels": {"from": "path", "pattern": r"(?P<speaker>\w+)_(?P<emotion>\w+)_"},
            "emotions": {emotion: emotion for emotion in EMOTIONS},
        }
    )
