"""Sentences of a paper against our numbers: supported, contradicted, or cannot tell; always with what led there.

A test looks at one or more columns (corpora, mostly). A comparison *holds* where the sign-flip test of Table 2 tells
the difference (or the value) from the number that the sentence names (zero, a margin, chance) and it lies on the named
side; it *fails* where it lies on the other side; else it is *undecided*. Tests are corrected for all comparisons of a
column. A column holds where all of its comparisons hold, and fails where one of them fails.

Of m columns of which at least n must hold, the claim is supported once n hold, whatever the others would say, and
contradicted once more than m - n fail; until then nobody can tell. As n may be reached by any of the columns, those
that hold must do so at the level over m - n + 1, and those that fail at the level over n (Benjamini and Heller,
Biometrics 2008, the partial conjunction by Bonferroni's rule). Columns without cells are undecided, and named.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from serbench.experiments.record import Claim, Trial
from serbench.grid.cells import CELL_COLUMNS
from serbench.scores.statistics import ALPHA

if TYPE_CHECKING:
    from serbench.scores.statistics import Interval

SUPPORTED = "supported"
CONTRADICTED = "contradicted"
CANNOT_TELL = "cannot tell"
NOT_TESTED = "not tested here"

Selection = Mapping[str, Sequence[str]]
"""Column -> the values that it may have."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One of our numbers: the cell that it is of, by column, its interval over units, and what chance would give."""

    cell: Mapping[str, str]
    metric: str
    value: float
    interval: Interval | None
    chance: float | None = None


@dataclass(frozen=True, slots=True)
class Contrast:
    """One of our numbers less another, or less nothing, held against bounds.

    `tests` has for each bound the side that the difference lies on (1 above, -1 below), and p after correction for
    all contrasts and bounds that were asked for together; p is None where there is nothing to tell it by.
    """

    a: Measured
    b: Measured | None
    difference: float
    interval: Interval | None
    tests: tuple[tuple[int, float | None], ...]

    def lies(self, side: int, bound: int, level: float) -> bool:
        """Whether the difference lies on a side of the bound of a number, at a level."""
        found, p = self.tests[bound]
        return found == side and p is not None and p <= level


class Book(Protocol):
    """Our numbers, as a judge looks them up."""

    def select(self, where: Selection, metric: str) -> list[Measured]:
        """Return the values of the cells that a selection matches."""

    def lacking(self, where: Selection) -> list[str]:
        """Reasons why there is no value: of cells that a selection matches, of its corpora, or of its grids."""

    def contrasts(self, pairs: Sequence[Pair], bounds: Sequence[Sequence[float]]) -> list[Contrast]:
        """Hold each pair against its bounds, on what both test; all of them are one family of tests."""


Pair = tuple[Measured, Measured | None]
"""A value, and what is taken off it: another one, or nothing."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a column says: `holds`, `fails`, `undecided` or `missing`, in words with the numbers."""

    column: str
    state: str
    words: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a claim, and of each column what led to it."""

    verdict: str
    rulings: tuple[Ruling, ...] = ()
    least: int = 0

    def count(self, state: str) -> int:
        """How many columns have a state."""
        return sum(ruling.state == state for ruling in self.rulings)

    @property
    def why(self) -> str:
        """The numbers behind the verdict, column by column; columns without numbers together."""
        if not self.rulings:
            return ""
        told = [f"{_prefix(r.column)}{r.words} ({r.state})" for r in self.rulings if r.state != "missing"]
        columns: dict[str, list[str]] = {}
        for ruling in self.rulings:
            if ruling.state == "missing":
                columns.setdefault(ruling.words, []).append(ruling.column)
        told += [f"{_prefix(', '.join(filter(None, of)))}no value, {why}" for why, of in columns.items()]
        return f"{self._counted}{'; '.join(told)}"

    @property
    def _counted(self) -> str:
        n = len(self.rulings)
        needed = "all" if self.least == n else f"at least {self.least}"
        return f"must hold on {needed} of {n}, holds on {self.count('holds')}: " if n > 1 else ""


def _prefix(column: str) -> str:
    return f"{column}: " if column else ""


def judge(claim: Claim, book: Book, *, metric: str) -> Judgement:
    """Decide a claim; `metric` is that of the experiment."""
    test = claim.test
    if test is None:
        return Judgement(NOT_TESTED)
    least = test.least or test.n_columns
    levels = ALPHA / (test.n_columns - least + 1), ALPHA / least
    rulings = tuple(_rulings(test, book, test.metric or metric, levels))
    n_holding, n_failing = (sum(r.state == state for r in rulings) for state in ("holds", "fails"))
    if n_holding >= least:
        return Judgement(SUPPORTED, rulings, least)
    return Judgement(CONTRADICTED if n_failing > len(rulings) - least else CANNOT_TELL, rulings, least)


def _rulings(test: Trial, book: Book, metric: str, levels: tuple[float, float]) -> Iterator[Ruling]:
    """Decide every column; `levels` are those at which a column holds, and at which it fails."""
    for values in itertools.product(*test.each.values()):
        where = {**test.where, **{name: (value,) for name, value in zip(test.each, values, strict=True)}}
        here = _found(book, {**where, **test.this}, metric)
        if not here:
            reasons = book.lacking(_cells_of({**where, **test.this}))
            yield Ruling(" ".join(values), "missing", _joined(_without(values, reasons)) or "not run")
            continue
        compare = _differences if test.than or test.kind == "best" else _values
        contrasts, lacking = compare(test, book, where, here, metric)
        yield Ruling(" ".join(values), *_decided(test, contrasts, lacking, levels))


def _without(names: Sequence[str], reasons: Iterable[str]) -> Iterator[str]:
    """Leave out of reasons the corpus that the column is called by anyway."""
    for reason in reasons:
        corpus, _, why = reason.partition(": ")
        yield why if corpus in names else reason


def _found(book: Book, where: Selection, metric: str) -> list[Measured]:
    names = where.get("metric", (metric,))
    return [measured for name in names for measured in book.select(_cells_of(where), name)]


def _joined(reasons: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(reasons))


def _differences(
    test: Trial, book: Book, where: Selection, here: Sequence[Measured], metric: str
) -> tuple[list[Contrast], list[str]]:
    """Compare the cells that a column is about with all that they must be held against; say what is lacking."""
    against = [where] if test.kind == "best" else [{**where, **than} for than in test.than]
    rivals = [rival for other in against for rival in _found(book, other, metric) if rival not in here]
    lacking = [why for of in ({**where, **test.this}, *against) for why in _lacking(book, of, metric)]
    pairs = [(a, b) for a in here for b in rivals if test.kind == "best" or _agree(a, b, _named(test))]
    if pairs:
        lacking += [f"{_words_of(a)}: nothing to hold it against" for a in here if all(a is not of for of, _ in pairs)]
    family: list[Pair] = [*pairs, *(itertools.combinations(rivals, 2) if test.kind == "best" else ())]  # as in Table 2
    return book.contrasts(family, [_bounds(test, 0.0)] * len(family))[: len(pairs)], lacking


def _values(
    test: Trial, book: Book, where: Selection, here: Sequence[Measured], metric: str
) -> tuple[list[Contrast], list[str]]:
    """Hold the cells that a column is about against a number."""
    lacking = _lacking(book, {**where, **test.this}, metric)
    numbers = [measured.chance if test.kind == "chance" else test.value for measured in here]
    known = [(measured, number) for measured, number in zip(here, numbers, strict=True) if number is not None]
    lacking += [f"{_words_of(m)}: chance is not defined" for m, n in zip(here, numbers, strict=True) if n is None]
    return book.contrasts([(m, None) for m, _ in known], [_bounds(test, number) for _, number in known]), lacking


def _bounds(test: Trial, number: float) -> tuple[float, ...]:
    """What a difference or value is held against: a number, or both ends of a margin around it."""
    margin = test.margin or 0.0
    if test.kind == "similar" or test.side == "at":
        return number - margin, number + margin
    return (number - margin,) if test.kind == "not_below" else (number,)


def _decided(
    test: Trial, contrasts: Sequence[Contrast], lacking: Sequence[str], levels: tuple[float, float]
) -> tuple[str, str]:
    """Return the state of a column and its words; where some comparison cannot be made, it cannot hold."""
    if not contrasts:
        return "missing", _joined(lacking) or "nothing to hold it against"
    states = [_state(test, contrast, levels) for contrast in contrasts]
    whole = not lacking and all(state == "holds" for state in states)
    state = "fails" if "fails" in states else "holds" if whole else "undecided"
    of_state = [c for c, own in zip(contrasts, states, strict=True) if own == state] or list(contrasts)
    deciding = min(of_state, key=_favour(test))
    words = _varying(deciding.a, [c.a for c in contrasts], but=deciding.b) + _contrast_words(test, deciding)
    kind = "cells" if deciding.b is None else "comparisons"
    more = f", which decides among {len(contrasts)} {kind}" if len(contrasts) > 1 else ""
    lost = f"; others have no value: {_joined(lacking)}" if lacking else ""
    return state, f"{words}{more}{lost}"


def _state(test: Trial, contrast: Contrast, levels: tuple[float, float]) -> str:
    """State of one comparison: on the side of its bounds that the test names, on the other, or neither."""
    holding, failing = levels
    if len(contrast.tests) == 2:
        if contrast.lies(1, 0, holding) and contrast.lies(-1, 1, holding):
            return "holds"
        return "fails" if contrast.lies(-1, 0, failing) or contrast.lies(1, 1, failing) else "undecided"
    side = -1 if test.kind == "below" or test.side == "below" else 1
    if contrast.lies(side, 0, holding):
        return "holds"
    return "fails" if contrast.lies(-side, 0, failing) else "undecided"


def _favour(test: Trial) -> Callable[[Contrast], float]:
    """How far a comparison speaks for the test."""
    if test.kind == "below" or test.side == "below":
        return lambda contrast: -contrast.difference
    if test.kind == "similar":
        return lambda contrast: -abs(contrast.difference)
    return lambda contrast: contrast.difference


def _words_of(measured: Measured) -> str:
    return " ".join(measured.cell.get(column, "") for column in ("corpus", "features", "classifier"))


def _lacking(book: Book, where: Selection, metric: str) -> list[str]:
    """Why a selection has not all of its values; by metric where nothing else is known."""
    cells = _cells_of(where)
    none = [name for name in where.get("metric", (metric,)) if not book.select(cells, name)]
    return book.lacking(cells) or [f"{name}: no value" for name in none]


def _named(test: Trial) -> set[str]:
    """Columns that cells may differ in which are held against each other."""
    return {*test.ignoring, "inner", *test.this, *(column for than in test.than for column in than)}


def _varying(one: Measured, of: Sequence[Measured], *, but: Measured | None = None) -> str:
    """Say which of several cells one is: its columns that vary, but for those that are told anyway."""
    columns = [c for c in CELL_COLUMNS if any(m.cell.get(c) != one.cell.get(c) for m in of)]
    told = [c for c in columns if c != "inner" and (but is None or but.cell.get(c) == one.cell.get(c))]
    return "".join(f"{c} {one.cell.get(c) or '(none)'}, " for c in told)


def _cells_of(where: Selection) -> Selection:
    return {column: values for column, values in where.items() if column != "metric"}


def _agree(a: Measured, b: Measured, named: set[str]) -> bool:
    """Whether two cells differ only in what the test is about."""
    return all(a.cell.get(column) == b.cell.get(column) for column in CELL_COLUMNS if column not in named)


def _contrast_words(test: Trial, contrast: Contrast) -> str:
    """Word a comparison: the values, the difference with its interval, and p."""
    a, b = contrast.a, contrast.b
    tested = [p for _, p in contrast.tests if p is not None]
    p = f", p {max(tested):.2g}" if tested else ""
    if b is None:
        number = f"{test.value:g}" if test.value is not None else f"chance {a.chance:.3f}"
        return f"{a.value:.3f}{_ends(contrast.interval)} against {number}{p}"
    differing = [c for c in CELL_COLUMNS if c != "inner" and a.cell.get(c) != b.cell.get(c)]
    names = [" ".join(filter(None, _told(m, differing))) for m in (a, b)]
    if a.metric != b.metric:
        names = [f"{name} {m.metric}".strip() for name, m in zip(names, (a, b), strict=True)]
    gap = f"{contrast.difference:+.3f}{_ends(contrast.interval, sign=True)}{p}"
    return f"{names[0]} {a.value:.3f}, {names[1]} {b.value:.3f}: {gap}"


def _told(measured: Measured, columns: Sequence[str]) -> list[str | None]:
    """Values of columns of a cell; not of `train` beside another where the corpus is trained on itself."""
    is_own = len(columns) > 1 and measured.cell.get("train") == measured.cell.get("corpus")
    return [measured.cell.get(c) for c in columns if not (is_own and c == "train")]


def _ends(interval: Interval | None, *, sign: bool = False) -> str:
    if interval is None:
        return " without an interval"
    low, high = (f"{end:+.3f}" if sign else f"{end:.3f}" for end in interval.ends)
    return f" [{low}, {high}]"
