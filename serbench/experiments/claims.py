"""Sentences of a paper against our numbers: supported, contradicted, or cannot tell; always with what led there.

A test looks at one or more columns (corpora, mostly). A column *holds* where the whole 95 % interval lies on the side
that the sentence names, *fails* where the whole interval lies on the other side, and is *undecided* where the interval
includes both; a numerical difference alone decides nothing. Where a column takes several comparisons (the best of
nine others), their intervals are widened to hold together (Bonferroni), and all of them must lie on the named side.

Of m columns of which at least n must hold, the claim is supported once n hold, whatever the others would say, and
contradicted once more than m - n fail; until then nobody can tell. Columns without cells are undecided, and named.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from serbench.experiments.record import CELL_COLUMNS, Claim, Trial

if TYPE_CHECKING:
    from serbench.stats import Interval

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


class Book(Protocol):
    """Our numbers, as a judge looks them up."""

    def select(self, where: Selection, metric: str) -> list[Measured]:
        """Return the values of the cells that a selection matches."""

    def lacking(self, where: Selection) -> list[str]:
        """Reasons why there is no value: of cells that a selection matches, of its corpora, or of its grids."""

    def gap(self, a: Measured, b: Measured, n_comparisons: int) -> tuple[float, Interval | None]:
        """Return a less b on what both test, with an interval that holds together with so many others."""


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
    rulings = tuple(_rulings(test, book, test.metric or metric))
    least = test.least or len(rulings)
    n_holding, n_failing = (sum(r.state == state for r in rulings) for state in ("holds", "fails"))
    if n_holding >= least:
        return Judgement(SUPPORTED, rulings, least)
    return Judgement(CONTRADICTED if n_failing > len(rulings) - least else CANNOT_TELL, rulings, least)


def _rulings(test: Trial, book: Book, metric: str) -> Iterator[Ruling]:
    rule = _rule_on_differences if test.than or test.kind == "best" else _rule_on_values
    for values in itertools.product(*test.each.values()):
        where = {**test.where, **{name: (value,) for name, value in zip(test.each, values, strict=True)}}
        here = _found(book, {**where, **test.this}, metric)
        if here:
            yield Ruling(" ".join(values), *rule(test, book, where, here, metric))
        else:
            reasons = book.lacking(_cells_of({**where, **test.this}))
            yield Ruling(" ".join(values), "missing", _joined(_without(values, reasons)) or "not run")


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


def _rule_on_differences(
    test: Trial, book: Book, where: Selection, here: Sequence[Measured], metric: str
) -> tuple[str, str]:
    """Return the state of a column and its words: every difference must lie on the side that the test names."""
    against = [where] if test.kind == "best" else [{**where, **than} for than in test.than]
    rivals = [rival for other in against for rival in _found(book, other, metric) if rival not in here]
    lacking = [why for of in ({**where, **test.this}, *against) for why in _lacking(book, of, metric)]
    pairs = [(a, b) for a in here for b in rivals if test.kind == "best" or _agree(a, b, _named(test))]
    if not pairs:
        return "missing", _joined(lacking) or "nothing to hold it against"
    lacking += [f"{_words_of(a)}: nothing to hold it against" for a in here if all(a is not of for of, _ in pairs)]
    gaps = [(a, b, *book.gap(a, b, len(pairs))) for a, b in pairs]
    states = [_side(test, interval) for _, _, _, interval in gaps]
    state = _together(states, is_whole=not lacking)
    deciding = _deciding(test, gaps, states, state)
    words = _varying(deciding[0], [a for a, _ in pairs], but=deciding[1]) + _difference_words(deciding)
    more = f", which decides among {len(pairs)} comparisons" if len(pairs) > 1 else ""
    return state, f"{words}{more}{_lost(lacking)}"


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


def _lost(lacking: Sequence[str]) -> str:
    return f"; others have no value: {_joined(lacking)}" if lacking else ""


def _cells_of(where: Selection) -> Selection:
    return {column: values for column, values in where.items() if column != "metric"}


def _agree(a: Measured, b: Measured, named: set[str]) -> bool:
    """Whether two cells differ only in what the test is about."""
    return all(a.cell.get(column) == b.cell.get(column) for column in CELL_COLUMNS if column not in named)


Gap = tuple[Measured, Measured, float, "Interval | None"]


def _side(test: Trial, interval: Interval | None) -> str:
    """State of one difference by its interval: wholly on the side of the test, wholly off it, or neither."""
    if interval is None:
        return "undecided"
    low, high = interval.ends
    if test.kind == "similar":
        return _within(low, high, test.margin or 0.0)
    if test.kind == "not_below":
        low, high = low + (test.margin or 0.0), high + (test.margin or 0.0)
    if test.kind == "below":
        low, high = -high, -low
    return "holds" if low > 0 else "fails" if high < 0 else "undecided"


def _within(low: float, high: float, margin: float) -> str:
    if -margin <= low and high <= margin:
        return "holds"
    return "fails" if low > margin or high < -margin else "undecided"


def _together(states: Sequence[str], *, is_whole: bool) -> str:
    """State of a column in which every comparison must hold; where some cannot be made, it cannot hold."""
    if "fails" in states:
        return "fails"
    return "holds" if is_whole and all(state == "holds" for state in states) else "undecided"


def _deciding(test: Trial, gaps: Sequence[Gap], states: Sequence[str], state: str) -> Gap:
    """The difference that speaks most against the test, among those that have the state of the column if any does."""
    favours = {"below": lambda gap: -gap[2], "similar": lambda gap: -abs(gap[2])}.get(test.kind, lambda gap: gap[2])
    of_state = [gap for gap, own in zip(gaps, states, strict=True) if own == state]
    return min(of_state or gaps, key=favours)


def _difference_words(gap: Gap) -> str:
    a, b, difference, interval = gap
    differing = [c for c in CELL_COLUMNS if c != "inner" and a.cell.get(c) != b.cell.get(c)]
    names = [" ".join(filter(None, _told(m, differing))) for m in (a, b)]
    if a.metric != b.metric:
        names = [f"{name} {m.metric}".strip() for name, m in zip(names, (a, b), strict=True)]
    return f"{names[0]} {a.value:.3f}, {names[1]} {b.value:.3f}: {difference:+.3f}{_ends(interval, sign=True)}"


def _told(measured: Measured, columns: Sequence[str]) -> list[str | None]:
    """Values of columns of a cell; not of `train` beside another where the corpus is trained on itself."""
    is_own = len(columns) > 1 and measured.cell.get("train") == measured.cell.get("corpus")
    return [measured.cell.get(c) for c in columns if not (is_own and c == "train")]


def _ends(interval: Interval | None, *, sign: bool = False) -> str:
    if interval is None:
        return " without an interval"
    low, high = (f"{end:+.3f}" if sign else f"{end:.3f}" for end in interval.ends)
    return f" [{low}, {high}]"


def _rule_on_values(
    test: Trial, book: Book, where: Selection, here: Sequence[Measured], metric: str
) -> tuple[str, str]:
    """Return the state of a column and its words: every value must lie on the side of a number that the test names."""
    lacking = _lacking(book, {**where, **test.this}, metric)
    states = [_side_of_number(test, measured) for measured in here]
    state = _together(states, is_whole=not lacking)
    of_state = [m for m, own in zip(here, states, strict=True) if own == state] or here
    worst = max(of_state, key=lambda m: m.value) if test.side == "below" else min(of_state, key=lambda m: m.value)
    more = f", which decides among {len(here)} cells" if len(here) > 1 else ""
    words = f"{_varying(worst, here)}{worst.value:.3f}{_ends(worst.interval)}{_number_words(test, worst)}"
    return state, f"{words}{more}{_lost(lacking)}"


def _number_words(test: Trial, measured: Measured) -> str:
    if test.value is not None:
        return f" against {test.value:g}"
    return "; chance is not defined" if measured.chance is None else f" against chance {measured.chance:.3f}"


def _side_of_number(test: Trial, measured: Measured) -> str:
    number = measured.chance if test.kind == "chance" else test.value
    if measured.interval is None or number is None:
        return "undecided"
    low, high = (end - number for end in measured.interval.ends)
    if test.side == "at":
        return _within(low, high, test.margin or 0.0)
    if test.side == "below":
        return "holds" if high < 0 else "fails" if low > 0 else "undecided"
    reached = low >= 0 if test.kind == "at_least" else low > 0
    return "holds" if reached else "fails" if high < 0 else "undecided"
