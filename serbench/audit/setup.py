"""Does the recording set-up give the emotion away? Each of its fields is made a predictor, and held against chance.

For each test group an emotion is guessed from a field's value alone, each as often as that value is frequent in it (its
share of the emotion's utterances, counted on all other groups). The UAR to be expected of such guesses is held against
the same with labels shuffled within speakers: what a field says of speakers alone is in those too. To guess the most
frequent emotion instead would hinge on ties: 30 % of EmoDB's anger at 24 bit would pass unseen.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

N_SHUFFLES = 999
"""Draws of labels, at least: the least p is 1 / 1000."""
N_SHUFFLES_OF_FIELD = 200
"""Draws of labels per field that is tested, so that the least p times the number of fields stays below `P_AT_MOST`."""
P_AT_MOST = 0.01
"""p of a field, times the number of fields that vary (Bonferroni), up to which it predicts the emotion."""
UAR_ABOVE = 0.02
"""UAR above that of shuffled labels from which a field that predicts the emotion is an error."""
MOST_VALUES = 30
"""Values of a field that are told apart, the most frequent."""
TOGETHER = "all fields together"
RARE = "(rarer values)"

_MOST_COUNTS = 2**20
"""Counts (draws x test groups x values x emotions) that are made at once."""


@dataclass(frozen=True, slots=True)
class Labels:
    """What is known of each utterance: codes of its emotion, test group and speaker, of shape (n_utterances,)."""

    emotions: tuple[str, ...]
    truth: np.ndarray
    groups: np.ndarray
    speakers: np.ndarray


@dataclass(frozen=True, slots=True)
class GivenAway:
    """How well one field predicts the emotion.

    `uar`: to be expected of guesses from it. `expected`: mean UAR of shuffled labels. `p`: share of draws that reach
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

        Shuffled labels may give less than chance, because the counts of the other groups lack what is guessed.
        """
        return self.p <= P_AT_MOST and self.uar > self.chance

    @property
    def is_much(self) -> bool:
        """Whether it is enough to move a table."""
        return self.uar - self.expected >= UAR_ABOVE


def varying(setup: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Return the fields that are not the same in all recordings, one value per utterance, rare values as one."""
    names = dict.fromkeys(name for one in setup for name in one)
    columns = {name: _common([one.get(name, "none") for one in setup]) for name in names}
    return {name: values for name, values in columns.items() if len(set(values)) > 1}


def give_away(columns: Mapping[str, Sequence[str]], labels: Labels, *, seed: int = 0) -> list[GivenAway]:
    """Test each field, and where there are several all of them together as one, for predicting the emotion."""
    tested = dict(columns)
    if len(columns) > 1:
        tested[TOGETHER] = _common([", ".join(values) for values in zip(*columns.values(), strict=True)])
    n = max(N_SHUFFLES, N_SHUFFLES_OF_FIELD * len(tested))
    draws = shuffled(labels.truth, labels.speakers, n=n, seed=seed)
    return [_test(name, values, labels, draws, n_fields=len(tested)) for name, values in tested.items()]


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


def _test(field: str, values: Sequence[str], labels: Labels, draws: np.ndarray, *, n_fields: int) -> GivenAway:
    names, codes = np.unique(np.asarray(values, dtype=object).astype(str), return_inverse=True)
    found = float(_uars(codes, labels, labels.truth[None])[0])
    at_once = max(1, _MOST_COUNTS // ((int(labels.groups.max()) + 1) * len(names) * len(labels.emotions)))
    parts = (draws[i : i + at_once] for i in range(0, len(draws), at_once))  # for the memory of a large corpus
    by_chance = np.concatenate([_uars(codes, labels, part) for part in parts])
    p = (1 + np.sum(by_chance >= found - 1e-12)) / (1 + len(by_chance))
    example = _example(names, codes, labels)
    chance = 1 / len(labels.emotions)
    return GivenAway(field, found, float(by_chance.mean()), min(1.0, float(p) * n_fields), example, chance)


def _uars(codes: np.ndarray, labels: Labels, draws: np.ndarray) -> np.ndarray:
    """UAR to be expected of guesses from a field, for each draw of labels; shape (n_draws,).

    All follows from how often each value meets each emotion in each test group.
    """
    shape = len(draws), int(labels.groups.max()) + 1, int(codes.max()) + 1, len(labels.emotions)
    places = (labels.groups * shape[2] + codes) * shape[3] + draws + np.arange(len(draws))[:, None] * np.prod(shape[1:])
    counts = np.bincount(places.ravel(), minlength=int(np.prod(shape))).reshape(shape)
    others = counts.sum(axis=1, keepdims=True) - counts
    share = others / np.maximum(others.sum(axis=2, keepdims=True), 1)
    of_value = share.sum(axis=3, keepdims=True)
    # Of a value that no other group has, nothing is known: each emotion is as likely.
    guessed = np.where(of_value > 0, share / np.where(of_value > 0, of_value, 1), 1 / shape[3])
    hits = (counts * guessed).sum(axis=(1, 2))
    return np.asarray((hits / counts.sum(axis=(1, 2))).mean(axis=1))


def _example(names: np.ndarray, codes: np.ndarray, labels: Labels) -> str:
    """Word the value and emotion that go together most."""
    counts = np.zeros((len(names), len(labels.emotions)))
    np.add.at(counts, (codes, labels.truth), 1)
    totals = counts.sum(axis=0)
    rest = counts.sum(axis=1, keepdims=True) - counts
    lift = counts / totals - rest / (totals.sum() - totals)
    value, emotion = np.unravel_index(int(lift.argmax()), lift.shape)
    has, all_, others = counts[value, emotion], totals[emotion], rest[value, emotion]
    return (
        f"'{names[value]}' in {has:.0f} of {all_:.0f} of {labels.emotions[emotion]} "
        f"and in {others:.0f} of {totals.sum() - all_:.0f} of the others"
    )


def _common(values: Sequence[str]) -> list[str]:
    """Put the rarer of too many values together."""
    kept = {value for value, _ in Counter(values).most_common(MOST_VALUES)}
    return [value if value in kept else RARE for value in values]
