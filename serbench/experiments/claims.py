"""Our numbers of an experiment, and verdicts on the paper's sentences: supported, contradicted, or cannot tell.

A comparison *holds* where the sign-flip test of Table 2 finds A on the named side of B, *fails* where the test finds A
on the other side, and else is *undecided*. Tests are corrected for all comparisons of a group of cells. A group holds
where all of its comparisons hold, and fails where one of them fails.

Of m groups of which at least n must hold, the claim is supported once n hold, and contradicted once more than m - n
fail. As n may be reached by any of the groups, those that hold must do so at the level over m - n + 1, and those that
fail at the level over n (Benjamini and Heller, Biometrics 2008). Groups without cells are undecided, and named.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from serbench.experiments.load import OF_EMOTION, Claim, ClaimTest, Described, Grid
from serbench.grid.cells import CELL_COLUMNS
from serbench.protocols import PROTOCOLS, find_protocol
from serbench.scores.metrics import METRICS, Metric
from serbench.scores.predictions import CellPredictions
from serbench.scores.statistics import (
    ALPHA,
    Interval,
    flip_p,
    gap_interval,
    gap_p,
    interval_of,
    jackknife,
    jackknife_interval,
    shares_of,
)

GONE = "its cell is not in the results folder; run it again"
AXES = [column for column in CELL_COLUMNS if column != "inner"]
"""Columns that tell the cells of a comparison apart; the rule of inner validation may always differ."""
Where = Mapping[str, Sequence[str]]  # column -> the values that it may have: a selection of cells


@dataclass(frozen=True, slots=True)
class Value:
    """One of our numbers: the fields of its cell, its interval over units, what chance would give, and its cell."""

    fields: Mapping[str, str]
    metric: str
    number: float
    interval: Interval | None
    chance: float | None
    cell: CellPredictions = field(repr=False)

    def __str__(self) -> str:
        return " ".join(self.fields[column] for column in ("corpus", "features", "classifier"))


@dataclass(frozen=True, slots=True)
class Contrast:
    """One of our numbers less another, or less nothing.

    `tests` has for each bound the side of the difference (1 above, -1 below), and p after correction for all contrasts
    of a family; p is NaN where nothing can be tested.
    """

    a: Value
    b: Value | None
    difference: float
    interval: Interval | None
    tests: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a claim, why, and of each group its name, state (holds, fails, undecided, missing) and words."""

    verdict: str
    why: str
    groups: Sequence[tuple[str, str, str]] = ()

    def count(self, state: str) -> int:
        """Count the groups of a state."""
        return sum(own == state for _, own, _ in self.groups)


@dataclass(frozen=True)
class Book:
    """An experiment as it was run, with its cells.

    `absent` corpora and `skipped` grids have the reason. `gone` are the fields of cells that were recorded and are no
    more in the results folder, or not yet.
    """

    described: Described
    cells: Sequence[CellPredictions]
    absent: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    gone: Sequence[Mapping[str, Any]] = ()

    def values(self, where: Where, metric: str) -> list[Value]:
        """Return the values of the cells that a selection matches, by its own metrics if it names any."""
        cells = [cell for cell in self.cells if cell.rule and _is_match(cell.cell, where)]
        asked = [(cell, name) for name in where.get("metric", (metric,)) for cell in cells]
        found = [_value(*of) for of in asked if of[1].partition(" ")[2] in ("", *of[0].emotions)]
        return [value for value in found if not np.isnan(value.number)]

    def lacking(self, where: Where, metric: str) -> list[str]:
        """Return why values of a selection are missing: of its cells, and of its corpora or its grids.

        A selection needs the corpora that it names, or all where it crosses any of them.
        """
        cells = [cell.cell | {"why": cell.reason, "has": cell.rule} for cell in self.cells]
        cells += [{**fields, "why": GONE, "has": ""} for fields in self.gone]
        cells = [cell for cell in cells if _is_match(cell, where)]
        found = [f"{of['corpus']} {of['features']} {of['classifier']}: {of['why']}" for of in cells if not of["has"]]
        here = {name for cell in cells if cell["why"] != GONE for name in _parts([cell["train"], cell["corpus"]])}
        is_any = "train" not in where and any(PROTOCOLS[name].is_across for name in where.get("protocol", ()))
        named = {*_parts([*where.get("corpus", ()), *where.get("train", ())]), *(self.absent if is_any else ())}
        absent = [f"{name}: {why}" for name, why in sorted(self.absent.items()) if name in named - here]
        grids = {grid.title: grid for grid in self.described.experiment.grids}
        skipped = [why for title, why in self.skipped.items() if title in grids and _may_give(grids[title], where)]
        found += absent or skipped
        return found or [f"{m}: no value" for m in where.get("metric", (metric,)) if not self.values(where, m)]

    def contrasts(
        self, pairs: Sequence[tuple[Value, Value | None]], bounds: Sequence[Sequence[float]]
    ) -> list[Contrast]:
        """Test each pair against its bounds; pairs with the same units are one family, as in Table 2.

        References such as the dummy are families of their own. An interval without width, or none, can test nothing.
        """
        compared = [_compare(a, b) for a, b in pairs]
        families: dict[tuple[tuple[str, ...], tuple[str, ...]], list[tuple[int, float]]] = {}
        for i, (contrast, units, _) in enumerate(compared):
            references = tuple(str(of.fields) for of in pairs[i] if of is not None and of.cell.is_reference)
            if contrast.interval is not None:
                families.setdefault((units, references), []).extend((i, bound) for bound in bounds[i])
        p: dict[tuple[int, float], float] = {}
        for (units, _), places in families.items():
            found = [compared[i][2](bound) for i, bound in places]
            corrected = flip_p(np.stack(found, axis=1)).tolist() if units else [min(1.0, len(found) * p) for p in found]
            p |= zip(places, corrected, strict=True)
        tested = []
        for i, (contrast, _, _) in enumerate(compared):
            tests = [(1 if contrast.difference > bound else -1, p.get((i, bound), np.nan)) for bound in bounds[i]]
            tested.append(replace(contrast, tests=tuple(tests)))
        return tested


def _parts(joined: Sequence[str]) -> set[str]:
    return {name for value in joined for name in value.split("+")}


def _is_match(fields: Mapping[str, Any], where: Where) -> bool:
    return all(str(fields.get(name, "")) in values for name, values in where.items() if name != "metric")


def _may_give(grid: Grid, where: Where) -> bool:
    """Whether a selection asks for cells of a grid, by the columns that its description names."""
    named = {"protocol": [find_protocol(grid.protocol).name], "features": grid.features, "classifier": grid.classifiers}
    named |= {"scaling": [grid.scaling], "seed": [str(seed) for seed in grid.seeds], "corpus": grid.corpora or ()}
    named |= {"task": [grid.target] if grid.target else [grid.task] if grid.task and not grid.where else ()}
    return all(set(where[column]) & set(values) for column, values in named.items() if values and column in where)


def _value(cell: CellPredictions, metric: str) -> Value:
    """One number of a cell; NaN where it never predicts the emotion."""
    fields = {name: str(cell.cell[name]) for name in CELL_COLUMNS}
    stack, of = cell.stack("unit"), _metric(cell, metric)
    total = stack.sum(axis=0)
    interval = jackknife_interval(stack, of, bounds=of.bounds)
    return Value(fields, metric, float(of(total[np.newaxis])[0]), interval, of.chance(total.sum(axis=1)), cell)


def _metric(cell: CellPredictions, name: str) -> Metric:
    """Return a metric; that of an emotion is the share of hits in its row (recall) or its column (precision)."""
    kind, _, emotion = name.partition(" ")
    if not emotion:
        return METRICS[name]
    code, axis = cell.emotions.index(emotion), -1 if kind == "recall" else -2

    def share(totals: np.ndarray) -> np.ndarray:
        of_emotion = totals.sum(axis=axis)[..., code]
        undefined = np.full(of_emotion.shape, np.nan)
        return np.asarray(np.divide(totals[..., code, code], of_emotion, out=undefined, where=of_emotion > 0))

    return Metric(share, name, name)


def _compare(a: Value, b: Value | None) -> tuple[Contrast, tuple[str, ...], Callable[[float], Any]]:
    """Take another value, or nothing, off a value; return also who is independent, and a test against a bound.

    Cells of one corpus are compared on the utterances that both have: the test gives what each unit adds. Cells of two
    corpora are compared by Welch's test, which gives p; no unit is named.
    """
    one, of_a = a.cell, _metric(a.cell, a.metric)
    low, high = of_a.bounds
    if b is None:
        shares, weights = shares_of(one.stack("unit"), of_a)
        units = tuple(one.values("unit"))
        return Contrast(a, None, a.number, a.interval), units, lambda bound: shares - bound * weights
    other, of_b = b.cell, _metric(b.cell, b.metric)
    if a.fields["corpus"] != b.fields["corpus"]:
        first, second = one.stack("unit"), other.stack("unit")
        interval = None
        if not a.metric.startswith(OF_EMOTION) or (a.metric, one.emotions) == (b.metric, other.emotions):
            interval = gap_interval(first, second, of_a, bounds=(low - high, high - low))
        return Contrast(a, b, a.number - b.number, interval), (), lambda bound: gap_p(first, second, of_a, bound)
    if one.utterances.names != other.utterances.names:
        common = one.utterances.names & other.utterances.names
        one, other = one.on(common), other.on(common)
        if not (one.has_all_emotions() and other.has_all_emotions()):
            return Contrast(a, b, float("nan"), None), (), lambda bound: float("nan")
    first, second = one.stack("unit"), other.stack("unit")
    (value, left), (of_other, left_of_other) = jackknife(first, of_a), jackknife(second, of_b)
    interval = interval_of(value - of_other, left - left_of_other, bounds=(low - high, high - low))
    shares, weights = shares_of(first, of_a)
    gaps = shares - shares_of(second, of_b)[0]
    units = tuple(one.values("unit"))
    return Contrast(a, b, value - of_other, interval), units, lambda bound: gaps - bound * weights


def judge(claim: Claim, book: Book, *, metric: str) -> Judgement:
    """Decide a claim; `metric` is that of the experiment."""
    test = claim.test
    if test is None:
        return Judgement("not tested here", f"it needs a {claim.needs}")
    n_groups, least = len(test.groups), test.at_least or len(test.groups)
    levels = ALPHA / (n_groups - least + 1), ALPHA / least
    groups = [
        (" ".join(of.values()), *_judge_group(test, book, of, test.metric or metric, levels)) for of in test.groups
    ]
    n_holding, n_failing = (sum(own == state for _, own, _ in groups) for state in ("holds", "fails"))
    verdict = "supported" if n_holding >= least else "contradicted" if n_failing > n_groups - least else "cannot tell"
    needed = "all" if least == n_groups else f"at least {least}"
    counted = f"must hold on {needed} of {n_groups}, holds on {n_holding}: " if n_groups > 1 else ""
    parts = [f"{name}: {words} ({state})".removeprefix(": ") for name, state, words in groups]
    return Judgement(verdict, counted + "; ".join(parts), groups)


def _judge_group(
    test: ClaimTest, book: Book, group: Mapping[str, str], metric: str, levels: tuple[float, float]
) -> tuple[str, str]:
    """Return the state of a group and its words; `levels` are those at which it holds, and at which it fails.

    Where some comparison cannot be made, the group cannot hold.
    """
    where = {**test.where, **{name: (value,) for name, value in group.items()}}
    contrasts, lacking = _contrasts(test, book, where, metric)
    if not contrasts:
        return "missing", f"no value, {'; '.join(lacking) or 'not run'}"
    by_state: dict[str, list[Contrast]] = {}
    for contrast in contrasts:
        tests = [(side * found, p) for side, (found, p) in zip(test.sides, contrast.tests, strict=True)]
        holds = all(towards == 1 and p <= levels[0] for towards, p in tests)
        fails = any(towards == -1 and p <= levels[1] for towards, p in tests)
        by_state.setdefault("holds" if holds else "fails" if fails else "undecided", []).append(contrast)
    holds = not lacking and set(by_state) == {"holds"}
    state = "fails" if "fails" in by_state else "holds" if holds else "undecided"
    favour = (lambda c: -abs(c.difference)) if len(test.sides) == 2 else (lambda c: test.sides[0] * c.difference)
    deciding = min(by_state.get(state, contrasts), key=favour)
    a, b = deciding.a.fields, (deciding.b or deciding.a).fields
    varying = [column for column in AXES if len({contrast.a.fields[column] for contrast in contrasts}) > 1]
    which = "".join(f"{column} {a[column] or '(none)'}, " for column in varying if a[column] == b[column])
    more = f", which decides among {len(contrasts)} comparisons" if len(contrasts) > 1 else ""
    lost = f"; others have no value: {'; '.join(lacking)}" if lacking else ""
    return state, f"{which}{_words(test, deciding)}{more}{lost}"


def _contrasts(test: ClaimTest, book: Book, where: Where, metric: str) -> tuple[list[Contrast], list[str]]:
    """Compare the cells A of a group with B; return also why values of either are missing."""
    here = book.values({**where, **test.cells}, metric)
    lacking = book.lacking({**where, **test.cells}, metric)
    if test.target == "chance" or isinstance(test.target, float):
        number = test.target if isinstance(test.target, float) else None  # else what chance gives each cell
        numbers = [a.chance if number is None else number for a in here]
        lacking += [f"{a}: chance is not defined" for a, number in zip(here, numbers, strict=True) if number is None]
        alone = [(a, test.bounds(number)) for a, number in zip(here, numbers, strict=True) if number is not None]
        return book.contrasts([(a, None) for a, _ in alone], [bounds for _, bounds in alone]), lacking
    target = test.target if isinstance(test.target, tuple) else ()  # nothing for all others of the group
    against: list[Where] = [{**where, **of} for of in target] or [where]
    lacking += [why for other in against for why in book.lacking(other, metric)]
    rivals = [rival for other in against for rival in book.values(other, metric) if rival not in here]
    named = {*test.ignoring, *test.cells, *(column for of in target for column in of)}
    kept = [column for column in AXES if column not in named]
    pairs = [(a, b) for a in here for b in rivals if not target or all(a.fields[c] == b.fields[c] for c in kept)]
    lacking += [f"{a}: nothing to compare it with" for a in here if all(a is not of for of, _ in pairs)]
    family: list[tuple[Value, Value | None]] = [
        *pairs,
        *([] if target else itertools.combinations(rivals, 2)),
    ]  # as in Table 2
    return book.contrasts(family, [test.bounds(0.0)] * len(family))[: len(pairs)], list(dict.fromkeys(lacking))


def _words(test: ClaimTest, contrast: Contrast) -> str:
    """Word a comparison: the values, the difference with its interval, and p."""
    a, b, interval = contrast.a, contrast.b, contrast.interval
    p = f", p {max(p for _, p in contrast.tests):.2g}" if interval else ""
    sign = "+" if b else ""
    ends = f" [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]" if interval else " without an interval"
    if b is None:
        number = f"chance {a.chance:.3f}" if test.target == "chance" else f"{test.target:g}"
        return f"{a.number:.3f}{ends} against {number}{p}"
    differing = [column for column in AXES if a.fields[column] != b.fields[column]]
    named = []
    for value in (a, b):  # without the corpus that trains where it is the one that is tested
        is_own = len(differing) > 1 and value.fields["train"] == value.fields["corpus"]
        parts = [value.fields[column] for column in differing if not (is_own and column == "train")]
        named.append(" ".join(filter(None, [*parts, value.metric if a.metric != b.metric else ""])))
    return f"{named[0]} {a.number:.3f}, {named[1]} {b.number:.3f}: {contrast.difference:+.3f}{ends}{p}"
