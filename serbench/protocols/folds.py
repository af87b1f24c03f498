"""A table of utterances -> folds: ids to train on, to test on, and to choose settings on.

The table has one row per utterance, sorted by `utterance`. Its columns are `corpus`, `corpus_language`, `group` (who is
tested together), `sex` (of the group, or `mixed`), `label`, and `tested` (whether the row may be tested). It has
`text_group` where texts are held out, and `person` (one name for each person) where corpora share people. Folds have
the order of the categories of `group`; `corpus` and `corpus_language` are categories too.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from serbench.errors import ProtocolError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

    from serbench.protocols import Protocol

INNER_ALL_UP_TO, INNER_ABOVE = 12, 4
"""Groups up to which `--inner auto` validates every group; above, the neighbours that it validates."""
INNER_NEEDS, TURNS_NEED = 3, 2
"""Groups that inner validation needs: to test, to validate and to train on; without the test where that is apart."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Sorted utterance ids to train on, and their weights (None: all the same)."""

    utterances: tuple[str, ...]
    weights: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Validation:
    """An inner validation: train without the test of its fold, predict `test` to compare settings."""

    name: str
    train: TrainingSet
    test: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fold:
    """One test group: what is trained on, what is tested, and the validations that choose its setting."""

    name: str
    train: TrainingSet
    test: tuple[str, ...]
    inner: tuple[Validation, ...]


@dataclass(frozen=True, slots=True)
class InnerRule:
    """How settings are chosen: `all` groups, so many `neighbours` on the ring, or `none` for a `reason`."""

    name: str
    reason: str = ""

    @property
    def neighbours(self) -> int | None:
        """Groups each group is validated on, or None for all."""
        return int(self.name) if self.name.isdecimal() else None


@dataclass(frozen=True, slots=True)
class Draw:
    """Utterances of the test corpus that are trained on too: how many, how much each weighs, and the seed."""

    k: int
    weight: float = 1.0
    seed: int = 0

    @property
    def title(self) -> str:
        """What tables call it.

        >>> Draw(20).title, Draw(20, 0.5).title
        ('k=20', 'k=20 weight=0.5')
        """
        return f"k={self.k}" + ("" if self.weight == 1 else f" weight={self.weight:g}")


Mask: TypeAlias = "Callable[[pd.DataFrame, pd.DataFrame], pd.Series]"
"""Table of utterances, rows of one test -> which rows train."""


def rest(rows: pd.DataFrame, test: pd.DataFrame) -> pd.Series:
    """Train on all other groups, without the texts of the test where texts are held out."""
    trains: pd.Series[bool] = rows["group"] != test["group"].iloc[0]
    return trains & (rows["text_group"] != test["text_group"].iloc[0]) if "text_group" in rows else trains


def others(rows: pd.DataFrame, test: pd.DataFrame) -> pd.Series:
    """Train on what is never tested."""
    return ~rows["tested"]


def make_folds(rows: pd.DataFrame, protocol: Protocol, rule: InnerRule, draw: Draw | None = None) -> list[Fold]:
    """Divide a table of utterances into folds.

    Parameters
    ----------
    rows : see the module; sorted by utterance.
    rule : how settings are chosen; see `Protocol.rule`.
    draw : what to draw of the corpus that is tested, for a protocol that needs `k`.

    Raises
    ------
    ProtocolError : there is too little to test or to train on.
    """
    _check_enough(rows, protocol)
    if protocol.needs == "k" and draw is None:
        raise ProtocolError("adapt", "no number of utterances", "how many to draw from the test corpus", "Give --k")
    ids, groups = rows["utterance"].to_numpy(dtype=object), rows["group"].cat
    people = rows["person"].to_numpy(dtype=object) if "person" in rows else None
    turns = rows[part_column(rows[~rows["tested"]], protocol.part or "group")].cat
    validating = {} if protocol.part else _validating(rows[rows["tested"]], rule)
    folds = []
    by = ["group", "text_group"] if protocol.holds_out_texts else ["group"]
    for _, test in rows[rows["tested"]].groupby(by, observed=True):
        key = tuple(str(test[column].iloc[0]) for column in by)
        trains = protocol.trains(rows, test).to_numpy()
        is_test, is_drawn = np.zeros((2, len(rows)), dtype=bool)
        is_test[test.index] = True
        part_of, names = turns.codes.to_numpy(), list(turns.categories)
        if draw:
            is_drawn[rows["utterance"].isin(drawn(rows, key[0], draw))] = True
            trains, part_of = trains | is_drawn, np.where(is_drawn, len(names) + groups.codes, part_of)
            names += [f"{group} drawn for {key[0]}" for group in groups.categories]
        weights = np.where(is_drawn, draw.weight, 1.0) if draw and draw.weight != 1 else None

        def training(mask: np.ndarray, held_out: np.ndarray, weights: np.ndarray | None = weights) -> TrainingSet:
            if people is not None:  # who is tested or validates does not train under another name
                mask = mask & ~np.isin(people, people[held_out])
            return TrainingSet(tuple(ids[mask]), None if weights is None else tuple(weights[mask].tolist()))

        chosen = np.unique(part_of[trains]).tolist() if protocol.part else validating[key[0]]
        inner = []
        for part in chosen if rule.name != "none" else ():
            validates = trains & (part_of == part)
            if validates.any():
                name = f"{names[part]} without {key[1]}" if len(key) > 1 else names[part]
                train = training(trains & ~validates, validates | is_test)
                inner.append(Validation(name, train, tuple(ids[validates])))
        folds.append(Fold("/".join(key), training(trains, is_test), tuple(ids[is_test]), tuple(inner)))
    return folds


def part_column(train: pd.DataFrame, column: str) -> str:
    """Return the column whose values validate in turn: where one language (or corpus) trains, corpora (or groups)."""
    if column == "corpus_language" and train["corpus_language"].nunique() < 2:
        column = "corpus"
    return "group" if column == "corpus" and train["corpus"].nunique() < 2 else column


def _check_enough(rows: pd.DataFrame, protocol: Protocol) -> None:
    """Check that there is something to test and to train on."""
    tested = rows[rows["tested"]]
    n_groups, n_train = tested["group"].nunique(), rows["group"][~rows["tested"]].nunique()
    if protocol.holds_out_texts and min(n_groups, tested["text_group"].nunique()) < 2:
        found = f"test groups with utterances: {n_groups}, groups of texts: {tested['text_group'].nunique()}"
        raise ProtocolError(protocol.name, found, "at least two people and two texts to keep apart")
    if not protocol.part and n_groups < 2:
        found = f"{n_groups} test group with utterances"
        raise ProtocolError(protocol.name, found, "at least two people to keep apart")
    if protocol.part and not (n_groups and n_train):
        found = f"{n_groups} groups with utterances to test, {n_train} to train on"
        todo = "For lolo, corpora in another language than the one tested are needed"
        raise ProtocolError("protocol", found, "some of both", todo)


def check_inner(requested: str) -> None:
    """Check that `--inner` is auto, all, none or an even number.

    Raises
    ------
    ProtocolError : anything else, or an odd number: only an even ring is symmetric.
    """
    if requested not in ("auto", "all", "none") and not (requested.isdecimal() and int(requested) >= 2):
        todo = did_you_mean(requested, ("auto", "all", "none"))
        raise ProtocolError("--inner", f"'{requested}'", "auto, all, none, or an even number of groups", todo)
    if requested.isdecimal() and int(requested) % 2:
        raise ProtocolError("--inner", requested, "an even number, half of it on each side of the ring")


def inner_rule(requested: str, n_groups: int, *, in_turn: bool = False) -> InnerRule:
    """Resolve `--inner auto|all|K|none` for a number of groups, or of parts of training data that is not tested.

    Raises
    ------
    ProtocolError : no such rule, or a number of groups `in_turn`: there is no ring, as no part is tested.

    >>> inner_rule("auto", 10), inner_rule("auto", 32).neighbours
    (InnerRule(name='all', reason=''), 4)
    """
    check_inner(requested)
    if requested == "none":
        return InnerRule("none", "--inner none")
    if in_turn and requested.isdecimal():
        todo = "Use --inner auto: validating each part of the training data costs one fit only"
        raise ProtocolError("--inner", f"{requested}, for training data that is not tested", "auto, all or none", todo)
    if in_turn and n_groups < TURNS_NEED:
        return InnerRule("none", f"{n_groups} group to train on; choosing settings needs {TURNS_NEED}")
    if not in_turn and n_groups < INNER_NEEDS:
        return InnerRule("none", f"{n_groups} test groups; choosing settings needs {INNER_NEEDS}")
    if requested == "auto":
        requested = "all" if in_turn or n_groups <= INNER_ALL_UP_TO else str(INNER_ABOVE)
    return InnerRule("all" if requested.isdecimal() and int(requested) >= n_groups - 1 else requested)


def ring(sex_of: Mapping[str, str]) -> list[str]:
    """Order groups on a ring: by name within each sex, the sexes interleaved evenly.

    >>> ring({"a": "female", "b": "female", "c": "male"})
    ['a', 'c', 'b']
    """
    placed = []
    for sex in sorted(set(sex_of.values())):
        same = sorted(group for group in sex_of if sex_of[group] == sex)
        placed += [((i + 0.5) / len(same), sex, group) for i, group in enumerate(same)]
    return [group for *_, group in sorted(placed)]


def _validating(tested: pd.DataFrame, rule: InnerRule) -> dict[str, list[int]]:
    """Return the groups that validate the settings for each group, as their places among the categories."""
    place = {group: i for i, group in enumerate(tested["group"].cat.categories)}
    sex_of = {str(group): str(sex) for group, sex in tested.groupby("group", observed=True)["sex"].first().items()}
    if rule.neighbours is None:
        return {group: [place[other] for other in sex_of if other != group] for group in sex_of}
    circle = ring(sex_of)
    steps = [step for k in range(1, rule.neighbours // 2 + 1) for step in (-k, k)]
    return {g: [place[circle[(i + step) % len(circle)]] for step in steps] for i, g in enumerate(circle)}


def drawn(rows: pd.DataFrame, test_group: str, draw: Draw) -> tuple[str, ...]:
    """Draw utterances of what is tested outside one of its groups, each label in proportion to its share; sorted.

    The order of the draw depends on the seed, the group and the ids alone, and those drawn for a smaller k are among
    those drawn for a larger one.

    Raises
    ------
    ProtocolError : there are fewer.
    """
    pool = rows[rows["tested"] & (rows["group"] != test_group)]
    if draw.k > len(pool):
        corpus = rows["corpus"][rows["tested"]].iloc[0]
        found = f"--k {draw.k}, where {len(pool)} utterances of {corpus} are outside {test_group}"
        raise ProtocolError("adapt", found, "at most as many", "Give a smaller --k")

    def shuffled(text: str) -> str:
        return hashlib.sha256(f"{draw.seed} {test_group} {text}".encode()).hexdigest()

    placed = []
    for label, of_label in pool.groupby("label", observed=True)["utterance"]:
        ordered = sorted(of_label, key=shuffled)
        placed += [((i + 0.5) / len(ordered), shuffled(str(label)), u) for i, u in enumerate(ordered)]
    return tuple(sorted(u for *_, u in sorted(placed)[: draw.k]))


Pairing = tuple[tuple[int, ...], tuple[int, ...]]
"""Places of the corpora that a cell tests, and of the others that it trains on."""

Pairings = Callable[[Sequence[str]], list[Pairing]]
"""Languages of the corpora at hand -> which cells there are."""


def alone(languages: Sequence[str]) -> list[Pairing]:
    """Test each corpus, train on no other."""
    return [((i,), ()) for i in range(len(languages))]


def each_other(languages: Sequence[str]) -> list[Pairing]:
    """Test each corpus on each other one."""
    return [((b,), (a,)) for a, b in itertools.permutations(range(len(languages)), 2)]


def all_others(languages: Sequence[str]) -> list[Pairing]:
    """Test each corpus, train on all others."""
    every = range(len(languages))
    return [((i,), tuple(j for j in every if j != i)) for i in every]


def other_languages(languages: Sequence[str]) -> list[Pairing]:
    """Test each corpus, train on those in other languages."""
    every = range(len(languages))
    return [((i,), tuple(j for j in every if languages[j] != languages[i])) for i in every]


def all_at_once(languages: Sequence[str]) -> list[Pairing]:
    """Test all corpora in one cell."""
    return [(tuple(range(len(languages))), ())]
