"""Our numbers of an experiment, and verdicts on the paper's sentences: supported, contradicted, or cannot tell.

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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from serbench.experiments.load import OF_EMOTION, Claim, ClaimTest, Described, Experiment, Grid
from serbench.grid.cells import CELL_COLUMNS
from serbench.protocols import PROTOCOLS
from serbench.scores.metrics import BOUNDS, METRICS, confusions, names
from serbench.scores.predictions import CellPredictions
from serbench.scores.statistics import (
    ALPHA,
    Interval,
    Statistic,
    flip_p,
    gap_interval,
    gap_p,
    jackknife_interval,
    shares_of,
)

SUPPORTED, CONTRADICTED, CANNOT_TELL, NOT_TESTED = "supported", "contradicted", "cannot tell", "not tested here"
GONE = "its cell is not in the results folder; run it again"
AXES = [column for column in CELL_COLUMNS if column != "inner"]
"""Columns that tell the cells of a comparison apart; the rule of inner validation may always differ."""
Where = Mapping[str, Sequence[str]]
"""Column -> the values that it may have: a selection of cells."""


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

    `tests` has for each bound the side that the difference is on (1 above, -1 below), and p after correction for all
    contrasts and bounds that were asked for together; p is None where nothing can be tested.
    """

    a: Value
    b: Value | None
    difference: float
    interval: Interval | None
    tests: tuple[tuple[int, float | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a claim, and the numbers behind it in words.

    `groups` has the name of each group, its state (`holds`, `fails`, `undecided` or `missing`), and the words for it.
    """

    verdict: str
    why: str
    groups: Sequence[tuple[str, str, str]] = ()
    at_least: int = 0

    def count(self, state: str) -> int:
        """Count the groups of a state."""
        return sum(own == state for _, own, _ in self.groups)


@dataclass(frozen=True)
class Book:
    """An experiment as it was run, with its cells.

    `absent` corpora and `skipped` grids have the reason. `gone` are the fields of cells that were recorded and are no
    more in the results folder, or not yet. `is_changed` where serbench brings another description under this name.
    """

    described: Described
    cells: Sequence[CellPredictions]
    absent: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    gone: Sequence[Mapping[str, Any]] = ()
    is_changed: bool = False

    def values(self, where: Where, metric: str) -> list[Value]:
        """Return the values of the cells that a selection matches, by its own metrics if it names any."""
        cells = [cell for cell in self.cells if cell.rule and _is_match(cell.cell, where)]
        found = [_value(cell, name) for name in where.get("metric", (metric,)) for cell in cells]
        return [value for value in found if not np.isnan(value.number)]

    def lacking(self, where: Where, metric: str) -> list[str]:
        """Return why values of a selection are missing: of its cells, and of its corpora or its grids."""
        cells = [cell for cell in self.cells if _is_match(cell.cell, where)]
        reasons = [(cell.cell, cell.reason) for cell in cells if not cell.rule]
        reasons += [(dict(fields), GONE) for fields in self.gone if _is_match(fields, where)]
        found = [f"{of['corpus']} {of['features']} {of['classifier']}: {why}" for of, why in reasons]
        # A selection needs the corpora that it names, or all where it crosses any of them.
        named = {name for column in ("corpus", "train") for value in where.get(column, ()) for name in value.split("+")}
        is_any = "train" not in where and any(PROTOCOLS[name].is_across for name in where.get("protocol", ()))
        here = {name for cell in cells for column in ("corpus", "train") for name in cell.cell[column].split("+")}
        needed = {name: why for name, why in self.absent.items() if is_any or name in named}
        absent = sorted(f"{name}: {why}" for name, why in needed.items() if name not in here)
        experiment = self.described.experiment
        asked = dict.fromkeys(grid.title for grid in experiment.grids if _may_give(grid, experiment, where))
        found += absent or [self.skipped[title] for title in asked if title in self.skipped]
        return found or [f"{m}: no value" for m in where.get("metric", (metric,)) if not self.values(where, m)]

    def contrasts(
        self, pairs: Sequence[tuple[Value, Value | None]], bounds: Sequence[Sequence[float]]
    ) -> list[Contrast]:
        """Test each pair against its bounds, all in one family of tests.

        What tests the same units is corrected together, but for references such as the dummy: each is a family of its
        own, as in Table 2.
        """
        compared = [_compare(a, b) for a, b in pairs]
        families: dict[tuple[tuple[str, ...], tuple[str, ...]], list[tuple[int, float]]] = {}
        for i, ((contrast, units, _), pair) in enumerate(zip(compared, pairs, strict=True)):
            if contrast.interval is not None:  # an interval without width, or none, can test nothing
                references = tuple(str(v.fields) for v in pair if v is not None and v.cell.is_reference)
                families.setdefault((units, references), []).extend((i, bound) for bound in bounds[i])
        p: dict[tuple[int, float], float] = {}
        for (units, _), places in families.items():
            found = [compared[i][2](bound) for i, bound in places]
            corrected = flip_p(np.stack(found, axis=1)).tolist() if units else [min(1.0, len(found) * p) for p in found]
            p |= zip(places, corrected, strict=True)
        tested = []
        for i, (contrast, _, _) in enumerate(compared):
            tests = [(1 if contrast.difference > bound else -1, p.get((i, bound))) for bound in bounds[i]]
            tested.append(replace(contrast, tests=tuple(tests)))
        return tested


def _is_match(fields: Mapping[str, Any], where: Where) -> bool:
    return all(str(fields.get(name, "")) in values for name, values in where.items() if name != "metric")


def _may_give(grid: Grid, experiment: Experiment, where: Where) -> bool:
    """Whether a selection asks for cells of a grid, by the columns that its description names."""
    named: dict[str, Iterable[str]] = {
        "protocol": [grid.protocol],
        "corpus": grid.corpora or experiment.corpora,
        "features": grid.features,
        "classifier": grid.classifiers,
        "scaling": [grid.scaling],
        "seed": map(str, grid.seeds),
    }
    task = grid.target or grid.task
    if task and not grid.where:  # filters are part of what a cell calls its task
        named["task"] = [task]
    parts = {column: {part for value in values for part in value.split("+")} for column, values in where.items()}
    return all(parts[column] & set(named[column]) for column in parts if column in named)


def _value(cell: CellPredictions, metric: str) -> Value:
    """One number of a cell; NaN where it has no such emotion, or never predicts it."""
    fields = {name: str(cell.cell[name]) for name in CELL_COLUMNS}
    if metric.startswith(OF_EMOTION) and metric.partition(" ")[2] not in cell.emotions:
        return Value(fields, metric, float("nan"), None, None, cell)
    stack, statistic = _stack(cell.of(), cell)[1], _statistic(cell, metric)
    total = stack.sum(axis=0)
    interval = jackknife_interval(stack, statistic, bounds=BOUNDS.get(metric, (0, 1)))
    n_of = total.sum(axis=1)
    # One emotion at random (UAR), always the most frequent one (WAR), no agreement (kappa); else not defined.
    chance = {"uar": 1 / len(n_of), "war": float(n_of.max() / n_of.sum()), "kappa": 0.0}.get(metric)
    return Value(fields, metric, float(statistic(total[np.newaxis])[0]), interval, chance, cell)


def _stack(rows: pd.DataFrame, cell: CellPredictions) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of units, and their confusion matrices, shape (n_units, n_emotions, n_emotions)."""
    return tuple(names(rows, "unit")), confusions(rows, "unit", n_emotions=len(cell.emotions))


def _statistic(cell: CellPredictions, metric: str) -> Statistic:
    """Return a metric; that of an emotion is the share of hits in its row (recall) or its column (precision)."""
    kind, _, emotion = metric.partition(" ")
    if not emotion:
        return METRICS[metric]
    code = cell.emotions.index(emotion)

    def share(totals: np.ndarray) -> np.ndarray:
        of_emotion = totals.sum(axis=-1 if kind == "recall" else -2)[..., code]
        undefined = np.full(of_emotion.shape, np.nan)
        return np.asarray(np.divide(totals[..., code, code], of_emotion, out=undefined, where=of_emotion > 0))

    return share


def _compare(a: Value, b: Value | None) -> tuple[Contrast, tuple[str, ...], Callable[[float], Any]]:
    """Take another value, or nothing, off a value; return also who is independent, and a test against a bound.

    Cells of one corpus are compared unit by unit, on the utterances that both have: the test gives what each unit adds.
    Cells of two corpora are compared by Welch's test, which gives p; no unit is named.
    """
    statistic = _statistic(a.cell, a.metric)
    if b is None:
        units, stack = _stack(a.cell.of(), a.cell)
        shares, weights = shares_of(stack, a.metric, statistic)
        return Contrast(a, None, a.number, a.interval), units, lambda bound: shares - bound * weights
    low, high = BOUNDS.get(a.metric, (0, 1))
    bounds = low - high, high - low
    if a.fields["corpus"] != b.fields["corpus"]:
        first, second = (_stack(of.cell.of(), of.cell)[1] for of in (a, b))
        interval = None
        if not a.metric.startswith(OF_EMOTION) or (a.metric, a.cell.emotions) == (b.metric, b.cell.emotions):
            interval = gap_interval(first, second, statistic, bounds=bounds)
        return Contrast(a, b, a.number - b.number, interval), (), lambda bound: gap_p(first, second, statistic, bound)
    common = set(a.cell.of()["utterance"]) & set(b.cell.of()["utterance"])
    rows = [of.cell.of()[of.cell.of()["utterance"].isin(common)] for of in (a, b)]
    if not common or not all(of.has_all_emotions(own) for of, own in zip((a.cell, b.cell), rows, strict=True)):
        return Contrast(a, b, float("nan"), None), (), lambda bound: float("nan")
    (units, first), (_, second) = map(_stack, rows, (a.cell, b.cell))
    of_b = _statistic(b.cell, b.metric)

    def difference(totals: np.ndarray) -> np.ndarray:
        one, two = np.split(totals, [first[0].size], axis=1)
        return np.asarray(statistic(one.reshape(-1, *first.shape[1:])) - of_b(two.reshape(-1, *second.shape[1:])))

    both = np.concatenate([first.reshape(len(first), -1), second.reshape(len(second), -1)], axis=1)
    interval = jackknife_interval(both, difference, bounds=bounds)
    shares, weights = shares_of(first, a.metric, statistic)
    gaps = shares - shares_of(second, b.metric, of_b)[0]
    value = float(difference(both.sum(axis=0, keepdims=True))[0])
    return Contrast(a, b, value, interval), units, lambda bound: gaps - bound * weights


def judge(claim: Claim, book: Book, *, metric: str) -> Judgement:
    """Decide a claim; `metric` is that of the experiment."""
    test = claim.test
    if test is None:
        return Judgement(NOT_TESTED, f"it needs a {claim.needs}")
    n_groups = len(test.groups)
    least = test.at_least or n_groups
    levels = ALPHA / (n_groups - least + 1), ALPHA / least
    groups = [
        (" ".join(of.values()), *_judge_group(test, book, of, test.metric or metric, levels)) for of in test.groups
    ]
    n_holding, n_failing = (sum(own == state for _, own, _ in groups) for state in ("holds", "fails"))
    verdict = SUPPORTED if n_holding >= least else CONTRADICTED if n_failing > n_groups - least else CANNOT_TELL
    needed = "all" if least == n_groups else f"at least {least}"
    counted = f"must hold on {needed} of {n_groups}, holds on {n_holding}: " if n_groups > 1 else ""
    parts = [f"{group}: {words} ({state})" for group, state, words in groups if state != "missing"]
    missing: dict[str, list[str]] = {}
    for group, state, words in groups:
        if state == "missing":
            missing.setdefault(words, []).append(group)
    parts += [f"{', '.join(of)}: no value, {why}" for why, of in missing.items()]
    return Judgement(verdict, counted + "; ".join(part.removeprefix(": ") for part in parts), groups, least)


def _judge_group(
    test: ClaimTest, book: Book, group: Mapping[str, str], metric: str, levels: tuple[float, float]
) -> tuple[str, str]:
    """Return the state of a group and its words; `levels` are those at which it holds, and at which it fails."""
    where = {**test.where, **{name: (value,) for name, value in group.items()}}
    selected = {**where, **test.cells}
    here, lacking = book.values(selected, metric), book.lacking(selected, metric)
    contrasts: list[Contrast] = []
    if here and (isinstance(test.target, float) or test.target == "chance"):
        numbers = [a.chance if test.target == "chance" else float(str(test.target)) for a in here]
        lacking += [f"{a}: chance is not defined" for a, number in zip(here, numbers, strict=True) if number is None]
        bounds = {i: test.bounds(number) for i, number in enumerate(numbers) if number is not None}
        contrasts = book.contrasts([(here[i], None) for i in bounds], list(bounds.values()))
    elif here:
        contrasts, of_others = _against_cells(test, book, where, here, metric)
        lacking += of_others
    if contrasts:
        return _decided(test, contrasts, list(dict.fromkeys(lacking)), levels)
    own = [why.partition(": ")[2] if why.partition(": ")[0] in group.values() else why for why in lacking]
    return "missing", "; ".join(dict.fromkeys(own)) or ("nothing to compare it with" if here else "not run")


def _decided(
    test: ClaimTest, contrasts: Sequence[Contrast], lacking: Sequence[str], levels: tuple[float, float]
) -> tuple[str, str]:
    """Return the state of a group and its words; where some comparison cannot be made, it cannot hold."""
    by_state: dict[str, list[Contrast]] = {}
    for contrast in contrasts:
        tests = [(side * found, p) for side, (found, p) in zip(test.sides, contrast.tests, strict=True)]
        holds = all(towards == 1 and p is not None and p <= levels[0] for towards, p in tests)
        fails = any(towards == -1 and p is not None and p <= levels[1] for towards, p in tests)
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


def _against_cells(
    test: ClaimTest, book: Book, where: Where, here: Sequence[Value], metric: str
) -> tuple[list[Contrast], list[str]]:
    """Compare cells of a group with all cells that the test names; return also what is missing among these."""
    target = test.target if isinstance(test.target, tuple) else None  # else all others of the group
    against = [{**where, **of} for of in target] if target else [where]
    rivals = [rival for other in against for rival in book.values(other, metric) if rival not in here]
    lacking = [why for other in against for why in book.lacking(other, metric)]
    named = {*test.ignoring, *test.cells, *(column for of in target or () for column in of)}
    kept = [column for column in AXES if column not in named]
    pairs = [(a, b) for a in here for b in rivals if not target or all(a.fields[c] == b.fields[c] for c in kept)]
    lacking += [f"{a}: nothing to compare it with" for a in here if pairs and all(a is not of for of, _ in pairs)]
    family = [*pairs, *([] if target else itertools.combinations(rivals, 2))]  # as in Table 2
    return book.contrasts(family, [test.bounds(0.0)] * len(family))[: len(pairs)], lacking


def _words(test: ClaimTest, contrast: Contrast) -> str:
    """Word a comparison: the values, the difference with its interval, and p."""
    a, b, interval = contrast.a, contrast.b, contrast.interval
    tested = [p for _, p in contrast.tests if p is not None]
    p = f", p {max(tested):.2g}" if tested else ""
    sign = "+" if b else ""
    ends = f" [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]" if interval else " without an interval"
    if b is None:
        number = f"chance {a.chance:.3f}" if test.target == "chance" else f"{test.target:g}"
        return f"{a.number:.3f}{ends} against {number}{p}"
    differing = [column for column in AXES if a.fields[column] != b.fields[column]]
    names = []
    for value in (a, b):  # without the corpus that trains where it is the one that is tested
        is_own = len(differing) > 1 and value.fields["train"] == value.fields["corpus"]
        parts = [value.fields[column] for column in differing if not (is_own and column == "train")]
        names.append(" ".join(filter(None, [*parts, value.metric if a.metric != b.metric else ""])))
    return f"{names[0]} {a.number:.3f}, {names[1]} {b.number:.3f}: {contrast.difference:+.3f}{ends}{p}"
