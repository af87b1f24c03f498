"""Protocols: which utterances train, which are tested, and which choose settings.

A protocol is one entry of `PROTOCOLS`. It divides a table of utterances into folds of ids by labels and metadata, never
by features; a seed decides only which utterances are drawn. Training and test sets never share a person; those of
`within-text` share no text either.

The table has one row per utterance, sorted by `utterance`. Its columns are `corpus`, `corpus_language`, `group` (who is
tested together), `sex` (of the group, or `mixed`), `label`, and `tested` (whether the row may be tested). It has
`text_group` where texts are held out, and `person` (one name for each person) where corpora share people. Folds have
the order of the categories of `group`; `corpus` and `corpus_language` are categories too.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from serbench.errors import ProtocolError, UnknownNameError, did_you_mean
from serbench.protocols.groups import add_groups, independent_unit

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

__all__ = ["add_groups", "independent_unit"]

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
    """How settings are chosen: `all` groups, a number of neighbours on the ring, or `none` for a `reason`."""

    name: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Draw:
    """Utterances of the test corpus that are trained on too: how many, how much each weighs, and the seed."""

    k: int
    weight: float = 1.0
    seed: int = 0

    @property
    def title(self) -> str:
        """What tables call it: `k=20`, or `k=20 weight=0.5`."""
        return f"k={self.k}" + ("" if self.weight == 1 else f" weight={self.weight:g}")


@dataclass(frozen=True, slots=True)
class Protocol:
    """A protocol as the command line names it.

    Parameters
    ----------
    title, independence : for readers.
    meets : which corpora meet in a cell; see `pairings`.
    part : the column whose values validate in turn, where all that is not tested trains. Empty where each test group
        trains and validates the others.
    sees_target : whether utterances of a corpus that is tested may train; the plan is checked for this.
    diagonal : the protocol whose cells are shown where a corpus meets itself.
    needs : what a request must give: a `partition` of the corpora's entries, or `k` utterances to draw.
    holds_out_texts : whether the texts of the test are kept out of the training data.
    may_lose_emotions : whether a fold may train although all utterances of an emotion are in its test.
    """

    name: str
    title: str
    independence: str
    meets: Literal["none", "each other", "all others", "other languages"] = "none"
    part: Literal["", "group", "corpus", "corpus_language"] = ""
    sees_target: bool = True
    diagonal: str = ""
    needs: Literal["", "partition", "k"] = ""
    holds_out_texts: bool = False
    may_lose_emotions: bool = False

    @property
    def is_across(self) -> bool:
        """Whether several corpora meet in a cell."""
        return self.meets != "none"

    @property
    def is_pairwise(self) -> bool:
        """Whether one corpus trains and another is tested."""
        return self.meets == "each other"

    def pairings(self, languages: Sequence[str]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Return the cells of corpora in these languages: places of the corpora tested, and of the others that train.

        >>> PROTOCOLS["loco"].pairings(["de", "en", "de"]), PROTOCOLS["cross"].pairings(["de", "en"])
        ([((0,), (1, 2)), ((1,), (0, 2)), ((2,), (0, 1))], [((1,), (0,)), ((0,), (1,))])
        """
        every = range(len(languages))
        if self.is_pairwise:
            return [((tested,), (other,)) for other, tested in itertools.permutations(every, 2)]
        is_foreign = self.meets == "other languages"
        return [
            ((i,), tuple(j for j in every if self.is_across and j != i and not (is_foreign and languages[j] == of)))
            for i, of in enumerate(languages)
        ]

    def independence_of(self, person: str) -> str:
        """Word what a test has never met, where this field keeps people apart: it need not be the speaker."""
        if person == "speaker" or "speaker" not in self.independence:
            return self.independence
        unknown = "speakers are not known" + ("" if person == "voice" else " and may be in training and test")
        return f"{self.independence.replace('speaker', person)} ({unknown})"

    def rule(self, requested: str, rows: pd.DataFrame) -> InnerRule:
        """Resolve `--inner auto|all|K|none` for a table of utterances; `ProtocolError` as `inner_rule`."""
        if not self.part:
            return inner_rule(requested, rows["group"][rows["tested"]].nunique())
        return inner_rule(requested, rows[self._turns(rows)][~rows["tested"]].nunique(), in_turn=True)

    def folds(self, rows: pd.DataFrame, rule: InnerRule, draw: Draw | None = None) -> list[Fold]:
        """Divide a table of utterances (see the module) into folds, with settings chosen by a rule of `rule`.

        `draw` is for a protocol that needs `k`. `ProtocolError` where there is too little to test or to train on.
        """
        import numpy as np

        self._check_enough(rows)
        if self.needs == "k" and draw is None:
            raise ProtocolError("adapt", "no number of utterances", "how many to draw from the test corpus", "Give --k")
        ids, groups, turns = rows["utterance"].to_numpy(dtype=object), rows["group"].cat, rows[self._turns(rows)].cat
        people = rows["person"].to_numpy(dtype=object) if "person" in rows else None
        validating = {} if self.part else _validating(rows[rows["tested"]], rule)
        by = ["group", "text_group"] if self.holds_out_texts else ["group"]
        folds = []
        for _, test in rows[rows["tested"]].groupby(by, observed=True):
            key = tuple(str(test[column].iloc[0]) for column in by)
            is_test, is_drawn = np.zeros((2, len(rows)), dtype=bool)
            is_test[test.index] = True
            apart = [(rows[column] != test[column].iloc[0]).to_numpy() for column in by]
            trains = ~rows["tested"].to_numpy() if self.part else np.logical_and.reduce(apart)
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

            chosen = np.unique(part_of[trains]).tolist() if self.part else validating[key[0]]
            inner = []
            for part in chosen if rule.name != "none" else ():
                validates = trains & (part_of == part)
                if validates.any():
                    name = f"{names[part]} without {key[1]}" if len(key) > 1 else names[part]
                    train = training(trains & ~validates, validates | is_test)
                    inner.append(Validation(name, train, tuple(ids[validates])))
            folds.append(Fold("/".join(key), training(trains, is_test), tuple(ids[is_test]), tuple(inner)))
        return folds

    def _turns(self, rows: pd.DataFrame) -> str:
        """Return the column that validates in turn: where one language (or corpus) trains, that of corpora (groups)."""
        train, column = rows[~rows["tested"]], self.part or "group"
        if column == "corpus_language" and train[column].nunique() < 2:
            column = "corpus"
        return "group" if column == "corpus" and train[column].nunique() < 2 else column

    def _check_enough(self, rows: pd.DataFrame) -> None:
        """Check that there is something to test and to train on."""
        tested = rows[rows["tested"]]
        n_groups, n_train = tested["group"].nunique(), rows["group"][~rows["tested"]].nunique()
        if self.holds_out_texts and min(n_groups, tested["text_group"].nunique()) < 2:
            found = f"test groups with utterances: {n_groups}, groups of texts: {tested['text_group'].nunique()}"
            raise ProtocolError(self.name, found, "at least two people and two texts to keep apart")
        if not self.part and n_groups < 2:
            found = f"{n_groups} test group with utterances"
            raise ProtocolError(self.name, found, "at least two people to keep apart")
        if self.part and not (n_groups and n_train):
            found = f"{n_groups} groups with utterances to test, {n_train} to train on"
            todo = "For lolo, corpora in another language than the one tested are needed"
            raise ProtocolError("protocol", found, "some of both", todo)


_SPEAKERS, _CORPORA = "speaker-independent", "corpus-independent"
_TEXTS = "each test group's utterances of some texts against the others' of all other texts (fewer to train on)"
_HELD = "the speakers that a published partition holds out against those that it trains on"
_POOLED = "each test group against all corpora together, its own without it"
_LOLO, _FOREIGN = "each corpus against the corpora in all other languages", "corpus- and language-independent"
_ADAPT = "each test group on a model of another corpus and k utterances of its own corpus' other groups"
_ALL = (
    Protocol("within", "each test group against the rest of its corpus", _SPEAKERS, may_lose_emotions=True),
    Protocol("within-text", _TEXTS, "speaker- and text-independent", holds_out_texts=True),
    Protocol("holdout", _HELD, _SPEAKERS, part="group", needs="partition"),
    Protocol(
        "cross",
        "each corpus on a model of another one",
        _CORPORA,
        "each other",
        "group",
        sees_target=False,
        diagonal="within",
    ),
    Protocol("pooled", _POOLED, _SPEAKERS, "all others"),
    Protocol("loco", "each corpus against all other corpora", _CORPORA, "all others", "corpus", sees_target=False),
    Protocol("lolo", _LOLO, _FOREIGN, "other languages", "corpus_language", sees_target=False),
    Protocol("adapt", _ADAPT, _SPEAKERS, "each other", "group", needs="k"),
)
PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _ALL}
ALIASES = {"loso": "within"}  # leave one speaker out, as papers call it


def find_protocol(name: str) -> Protocol:
    """Return a protocol by name or alias; `UnknownNameError` suggests the nearest."""
    name = ALIASES.get(name.casefold(), name)
    if name not in PROTOCOLS:
        raise UnknownNameError("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def check_inner(requested: str) -> None:
    """Check that `--inner` is auto, all, none or an even number; `ProtocolError`: only an even ring is symmetric."""
    if requested not in ("auto", "all", "none") and not (requested.isdecimal() and int(requested) >= 2):
        todo = did_you_mean(requested, ("auto", "all", "none"))
        raise ProtocolError("--inner", f"'{requested}'", "auto, all, none, or an even number of groups", todo)
    if requested.isdecimal() and int(requested) % 2:
        raise ProtocolError("--inner", requested, "an even number, half of it on each side of the ring")


def inner_rule(requested: str, n_groups: int, *, in_turn: bool = False) -> InnerRule:
    """Resolve `--inner auto|all|K|none` for a number of groups, or of parts of training data that is not tested.

    `ProtocolError` where there is no such rule, or for a number `in_turn`: no part is tested, so there is no ring.

    >>> inner_rule("auto", 10), inner_rule("auto", 32).name
    (InnerRule(name='all', reason=''), '4')
    """
    check_inner(requested)
    if requested == "none":
        return InnerRule("none", "none was asked for (--inner none or --quick)")
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
    if not rule.name.isdecimal():
        return {group: [place[other] for other in sex_of if other != group] for group in sex_of}
    circle = ring(sex_of)
    steps = [step for k in range(1, int(rule.name) // 2 + 1) for step in (-k, k)]
    return {g: [place[circle[(i + step) % len(circle)]] for step in steps] for i, g in enumerate(circle)}


def drawn(rows: pd.DataFrame, test_group: str, draw: Draw) -> tuple[str, ...]:
    """Draw utterances of what is tested outside one of its groups, each label in proportion to its share; sorted.

    The order of the draw depends on the seed, the group and the ids alone, and those drawn for a smaller k are among
    those drawn for a larger one. `ProtocolError` where there are fewer.
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
