"""Sentences of a paper against our numbers: supported, contradicted, or cannot tell; always with what led there.

A test looks at one or more groups of cells (a corpus each, mostly). A comparison *holds* where the sign-flip test of
Table 2 finds the difference (or the value) on the named side of the number that the sentence names: zero, a margin,
chance. It *fails* where the test finds it on the other side; else it is *undecided*. Tests are corrected for all
comparisons of a group. A group holds where all of its comparisons hold, and fails where one of them fails.

Of m groups of which at least n must hold, the claim is supported once n hold, whatever the others would say, and
contradicted once more than m - n fail; until then nobody can tell. As n may be reached by any of the groups, those
that hold must do so at the level over m - n + 1, and those that fail at the level over n (Benjamini and Heller,
Biometrics 2008, the partial conjunction by Bonferroni's rule). Groups without cells are undecided, and named.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from serbench.experiments.load import Claim, ClaimTest
from serbench.grid.cells import CELL_COLUMNS
from serbench.scores.statistics import ALPHA, Interval

SUPPORTED, CONTRADICTED, CANNOT_TELL, NOT_TESTED = "supported", "contradicted", "cannot tell", "not tested here"
Where = Mapping[str, Sequence[str]]
"""Column -> the values that it may have: a selection of cells."""


@dataclass(frozen=True, slots=True)
class Value:
    """One of our numbers: the fields of its cell, its interval over units, and what chance would give."""

    fields: Mapping[str, str]
    metric: str
    number: float
    interval: Interval | None
    chance: float | None = None

    def __str__(self) -> str:
        return " ".join(self.fields.get(column, "") for column in ("corpus", "features", "classifier"))


Pair = tuple[Value, Value | None]
"""A value, and what is taken off it: another one, or nothing."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """One of our numbers less another, or less nothing, against bounds.

    `tests` has for each bound the side that the difference is on (1 above, -1 below), and p after correction for all
    contrasts and bounds that were asked for together; p is None where nothing can be tested.
    """

    a: Value
    b: Value | None
    difference: float
    interval: Interval | None
    tests: tuple[tuple[int, float | None], ...]

    def is_on(self, side: int, bound: int, level: float) -> bool:
        """Whether the difference is on a side of the bound of a number, at a level."""
        found, p = self.tests[bound]
        return found == side and p is not None and p <= level


class Numbers(Protocol):
    """Our numbers, as a judge looks them up."""

    def values(self, where: Where, metric: str) -> list[Value]:
        """Return the values of the cells that a selection matches, by its own metrics if it names any."""

    def lacking(self, where: Where, metric: str) -> list[str]:
        """Return the reasons why values of a selection are missing."""

    def contrasts(self, pairs: Sequence[Pair], bounds: Sequence[Sequence[float]]) -> list[Contrast]:
        """Test each pair against its bounds, on what both test; all of them are one family of tests."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a group says: `holds`, `fails`, `undecided` or `missing`, in words with the numbers."""

    group: str
    state: str
    words: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a claim, and of each group what led to it."""

    verdict: str
    rulings: tuple[Ruling, ...] = ()
    at_least: int = 0

    def count(self, state: str) -> int:
        """How many groups have a state."""
        return sum(ruling.state == state for ruling in self.rulings)

    @property
    def why(self) -> str:
        """The numbers behind the verdict, group by group; groups without numbers together."""
        parts = [f"{r.group}: {r.words} ({r.state})".removeprefix(": ") for r in self.rulings if r.state != "missing"]
        missing: dict[str, list[str]] = {}
        for ruling in self.rulings:
            if ruling.state == "missing":
                missing.setdefault(ruling.words, []).append(ruling.group)
        parts += [f"{', '.join(of)}: no value, {why}".removeprefix(": ") for why, of in missing.items()]
        n = len(self.rulings)
        needed = "all" if self.at_least == n else f"at least {self.at_least}"
        counted = f"must hold on {needed} of {n}, holds on {self.count('holds')}: " if n > 1 else ""
        return counted + "; ".join(parts)


def judge(claim: Claim, numbers: Numbers, *, metric: str) -> Judgement:
    """Decide a claim; `metric` is that of the experiment."""
    test = claim.test
    if test is None:
        return Judgement(NOT_TESTED)
    n_groups = len(test.groups)
    least = test.at_least or n_groups
    levels = ALPHA / (n_groups - least + 1), ALPHA / least
    rulings = tuple(_rulings(test, numbers, test.metric or metric, levels))
    n_holding, n_failing = (sum(r.state == state for r in rulings) for state in ("holds", "fails"))
    if n_holding >= least:
        return Judgement(SUPPORTED, rulings, least)
    return Judgement(CONTRADICTED if n_failing > n_groups - least else CANNOT_TELL, rulings, least)


def _rulings(test: ClaimTest, numbers: Numbers, metric: str, levels: tuple[float, float]) -> Iterator[Ruling]:
    """Decide every group; `levels` are those at which a group holds, and at which it fails."""
    for group in test.groups:
        where = {**test.where, **{name: (value,) for name, value in group.items()}}
        selected = {**where, **test.cells}
        here, lacking = numbers.values(selected, metric), numbers.lacking(selected, metric)
        contrasts: list[Contrast] = []
        if here:
            compare = _against_number if isinstance(test.target, float) or test.target == "chance" else _against_cells
            contrasts, more = compare(test, numbers, where, here, metric)
            lacking += more
        name = " ".join(group.values())
        if not contrasts:
            own = [why.partition(": ")[2] if why.partition(": ")[0] in group.values() else why for why in lacking]
            words = "; ".join(dict.fromkeys(own)) or ("nothing to compare it with" if here else "not run")
            yield Ruling(name, "missing", words)
        else:
            yield Ruling(name, *_decided(test, contrasts, lacking, levels))


def _against_cells(
    test: ClaimTest, numbers: Numbers, where: Where, here: Sequence[Value], metric: str
) -> tuple[list[Contrast], list[str]]:
    """Compare cells of a group with all cells that the test names; say what is missing among these."""
    target = test.target if isinstance(test.target, tuple) else None  # else all others of the group
    against = [{**where, **of} for of in target] if target else [where]
    rivals = [rival for other in against for rival in numbers.values(other, metric) if rival not in here]
    lacking = [why for other in against for why in numbers.lacking(other, metric)]
    named = {*test.ignoring, "inner", *test.cells, *(column for of in target or () for column in of)}
    kept = [column for column in CELL_COLUMNS if column not in named]
    pairs = [
        (a, b) for a in here for b in rivals if not target or all(a.fields.get(c) == b.fields.get(c) for c in kept)
    ]
    lacking += [f"{a}: nothing to compare it with" for a in here if pairs and all(a is not of for of, _ in pairs)]
    family: list[Pair] = [*pairs, *([] if target else itertools.combinations(rivals, 2))]  # as in Table 2
    bounds = [bound for bound, _ in _bounds(test, 0.0)]
    return numbers.contrasts(family, [bounds] * len(family))[: len(pairs)], lacking


def _against_number(
    test: ClaimTest, numbers: Numbers, where: Where, here: Sequence[Value], metric: str
) -> tuple[list[Contrast], list[str]]:
    """Compare cells of a group with a number, or with chance."""
    known = [(a, a.chance if test.target == "chance" else float(str(test.target))) for a in here]
    lacking = [f"{a}: chance is not defined" for a, number in known if number is None]
    pairs = [(a, number) for a, number in known if number is not None]
    bounds = [[bound for bound, _ in _bounds(test, number)] for _, number in pairs]
    return numbers.contrasts([(a, None) for a, _ in pairs], bounds), lacking


def _bounds(test: ClaimTest, number: float) -> list[tuple[float, int]]:
    """Every bound of a difference or value, and the side of it that the test names."""
    above, below = (number - test.margin, 1), (number + test.margin, -1)
    return [above, below] if test.near is not None else [above if test.above is not None else below]


def _decided(
    test: ClaimTest, contrasts: Sequence[Contrast], lacking: Sequence[str], levels: tuple[float, float]
) -> tuple[str, str]:
    """Return the state of a group and its words; where some comparison cannot be made, it cannot hold."""
    sides = [side for _, side in _bounds(test, 0.0)]
    states = []
    for contrast in contrasts:
        holds = all(contrast.is_on(side, i, levels[0]) for i, side in enumerate(sides))
        fails = any(contrast.is_on(-side, i, levels[1]) for i, side in enumerate(sides))
        states.append("holds" if holds else "fails" if fails else "undecided")
    whole = not lacking and set(states) == {"holds"}
    state = "fails" if "fails" in states else "holds" if whole else "undecided"
    of_state = [c for c, own in zip(contrasts, states, strict=True) if own == state] or list(contrasts)
    favour = (lambda c: -abs(c.difference)) if len(sides) == 2 else (lambda c: sides[0] * c.difference)
    deciding = min(of_state, key=favour)
    a, b = deciding.a.fields, deciding.b.fields if deciding.b else deciding.a.fields
    varying = [c for c in CELL_COLUMNS if c != "inner" and len({other.a.fields.get(c) for other in contrasts}) > 1]
    which = "".join(f"{c} {a.get(c) or '(none)'}, " for c in varying if a.get(c) == b.get(c))
    words = which + _words(test, deciding)
    more = f", which decides among {len(contrasts)} comparisons" if len(contrasts) > 1 else ""
    lost = f"; others have no value: {'; '.join(dict.fromkeys(lacking))}" if lacking else ""
    return state, f"{words}{more}{lost}"


def _words(test: ClaimTest, contrast: Contrast) -> str:
    """Word a comparison: the values, the difference with its interval, and p."""
    a, b = contrast.a, contrast.b
    tested = [p for _, p in contrast.tests if p is not None]
    p = f", p {max(tested):.2g}" if tested else ""
    if b is None:
        number = f"chance {a.chance:.3f}" if test.target == "chance" else f"{test.target:g}"
        return f"{a.number:.3f}{_ends(contrast.interval)} against {number}{p}"
    differing = [c for c in CELL_COLUMNS if c != "inner" and a.fields.get(c) != b.fields.get(c)]
    names = []
    for value in (a, b):  # without the corpus that trains where it is the one that is tested
        is_own = len(differing) > 1 and value.fields.get("train") == value.fields.get("corpus")
        parts = [value.fields.get(c) for c in differing if not (is_own and c == "train")]
        names.append(" ".join(filter(None, [*parts, value.metric if a.metric != b.metric else ""])))
    gap = f"{contrast.difference:+.3f}{_ends(contrast.interval, sign='+')}{p}"
    return f"{names[0]} {a.number:.3f}, {names[1]} {b.number:.3f}: {gap}"


def _ends(interval: Interval | None, sign: str = "") -> str:
    if interval is None:
        return " without an interval"
    return f" [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"
