"""The numbers of a recorded experiment, for the tests of its claims: values of its cells, what lacks, differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from serbench.experiments import Described, Experiment, Grid
from serbench.experiments.claims import Contrast, Measured, Pair, Selection
from serbench.experiments.load import PRECISION, RECALL
from serbench.grid.cells import CELL_COLUMNS
from serbench.protocols import PROTOCOLS
from serbench.report.tables import transductive_note
from serbench.scores.metrics import BOUNDS, METRICS
from serbench.scores.outcomes import CellOutcomes
from serbench.scores.scores import has_all_emotions, unit_stack
from serbench.scores.statistics import (
    STATISTICS,
    Interval,
    Statistic,
    flip_p,
    gap_interval,
    gap_p,
    jackknife_interval,
    shares_of,
)


@dataclass(frozen=True)
class Recorded:
    """An experiment as it was run: its description then, corpora left out with the reason, and its cells' fields."""

    described: Described
    absent: Mapping[str, str]
    skipped: Mapping[str, str]
    cells: tuple[Mapping[str, Any], ...]
    is_changed: bool

    @property
    def experiment(self) -> Experiment:
        """What was run."""
        return self.described.experiment

    @property
    def left_out(self) -> str:
        """Corpora that took no part, by reason."""
        reasons: dict[str, list[str]] = {}
        for name, why in self.absent.items():
            reasons.setdefault(why, []).append(name)
        return "; ".join(f"{', '.join(names)} ({why})" for why, names in reasons.items())

    @property
    def note(self) -> str:
        """What it is, and which state of it."""
        name, digest = self.described.name, self.described.digest
        absent = f" Took no part: {self.left_out}." if self.absent else ""
        changed = "; serbench brings another description under this name now, run it again" if self.is_changed else ""
        frozen = f"Experiment {name}, frozen as {digest}{changed}."
        return f"{self.experiment.title}. {self.experiment.citation} {frozen}{absent}"


class CellBook:
    """The numbers of a recorded experiment, for `serbench.experiments.claims`.

    `gone` are the fields of cells that the record names and the results folder has no more, or not yet.
    """

    def __init__(self, recorded: Recorded, cells: Iterable[CellOutcomes]) -> None:
        wanted = [dict(cell) for cell in recorded.cells]
        self.recorded = recorded
        self.cells = [cell for cell in cells if dict(cell.cell) in wanted]
        there = [dict(cell.cell) for cell in self.cells]
        self.gone = [fields for fields in wanted if fields not in there]

    @property
    def keys(self) -> list[str]:
        """What made its values."""
        return [cell.provenance.key for cell in self.cells if cell.outcomes]

    @property
    def remarks(self) -> list[str]:
        """What its tables must say: copies that are partial, and scalings that have heard the test."""
        cells = [cell for cell in self.cells if cell.outcomes]
        partials = [item for cell in cells for item in cell.record.get("partials", {}).items()]
        partial = {f"{stored.partition('@')[0]}: {lacks}." for stored, lacks in partials}
        heard = {transductive_note(cell.cell["scaling"]) for cell in cells if cell.is_transductive}
        return [*sorted(partial), *sorted(heard)]

    def select(self, where: Selection, metric: str) -> list[Measured]:
        """Return the values of the cells that a selection matches."""
        return [found for cell in self._matching(where) if (found := _measured(cell, metric)) is not None]

    def lacking(self, where: Selection) -> list[str]:
        """Reasons why there is no value: of cells that a selection matches, of its corpora, or of its grids."""
        without = [why for cell in self._matching(where) if (why := _why_none(cell))]
        gone = [f"{_title(fields)}: {_GONE}" for fields in self.gone if _is_match(fields, where)]
        return [*without, *gone, *(self._absent(where) or self._skipped(where))]

    def _absent(self, where: Selection) -> list[str]:
        """Corpora without a cell that a selection needs: those it names, or all where it crosses any of them."""
        named = {name for column in ("corpus", "train") for value in where.get(column, ()) for name in value.split("+")}
        is_any = "train" not in where and any(name in _ACROSS for name in where.get("protocol", ()))
        here = {name for cell in self._matching(where) for name in _corpora_of(cell)}
        absent = self.recorded.absent.items()
        return sorted(f"{name}: {why}" for name, why in absent if (is_any or name in named) and name not in here)

    def _skipped(self, where: Selection) -> list[str]:
        """Why grids that a selection asks for were not run."""
        experiment, skipped = self.recorded.experiment, self.recorded.skipped
        asked = [grid.title for grid in experiment.grids if _may_give(grid, experiment, where)]
        return [skipped[title] for title in dict.fromkeys(asked) if title in skipped]

    def contrasts(self, pairs: Sequence[Pair], bounds: Sequence[Sequence[float]]) -> list[Contrast]:
        """Hold each pair against its bounds, all in one family of tests.

        Cells that test the same people are compared unit by unit, on the utterances that both have; what tests the
        same units is corrected together, but for references such as the dummy: each is a family of its own, as in
        Table 2. Cells that test other people are told apart by Welch's test.
        """
        compared = [self._compared(a, b) for a, b in pairs]
        p = _p_values(compared, bounds)
        return [
            Contrast(a, b, one.difference, one.interval, tuple(zip(_sides(one.difference, of), p_of, strict=True)))
            for (a, b), one, of, p_of in zip(pairs, compared, bounds, p, strict=True)
        ]

    def _compared(self, a: Measured, b: Measured | None) -> Compared:
        if b is None:
            found = _compared_alone((self.cell(a), a.metric))
        elif a.cell["corpus"] == b.cell["corpus"]:
            found = _compared_within((self.cell(a), a.metric), (self.cell(b), b.metric))
        else:
            gap = _gap_between((self.cell(a), a.metric), (self.cell(b), b.metric))
            found = Compared(a.value - b.value, *gap)
        references = [tuple(m.cell.values()) for m in (a, b) if m is not None and self.cell(m).is_reference]
        return replace(found, references=tuple(references))

    def _matching(self, where: Selection) -> list[CellOutcomes]:
        return [cell for cell in self.cells if _is_match(cell.cell, where)]

    def cell(self, measured: Measured) -> CellOutcomes:
        """Return the cell that a value is of."""
        return next(cell for cell in self.cells if _fields(cell) == measured.cell)


_ACROSS = [name for name, protocol in PROTOCOLS.items() if protocol.is_across]


_GONE = "its cell is not in the results folder; run it again"


def _is_match(fields: Mapping[str, Any], where: Selection) -> bool:
    return all(str(fields.get(name, "")) in values for name, values in where.items())


def _title(fields: Mapping[str, Any]) -> str:
    return f"{fields['corpus']} {fields['features']} {fields['classifier']}"


def _fields(cell: CellOutcomes) -> dict[str, str]:
    return {name: str(cell.cell.get(name, "")) for name in CELL_COLUMNS}


def _corpora_of(cell: CellOutcomes) -> set[str]:
    return {name for column in ("corpus", "train") for name in str(cell.cell[column]).split("+")}


def _may_give(grid: Grid, experiment: Experiment, where: Selection) -> bool:
    """Whether a selection asks for cells of a grid, by the columns that its description tells."""
    told: dict[str, Iterable[str]] = {
        "protocol": [grid.protocol],
        "corpus": grid.corpora or experiment.corpora,
        "features": grid.features,
        "classifier": grid.classifiers,
        "scaling": [grid.scaling],
        "seed": map(str, grid.seeds),
    }
    task = grid.target or grid.task
    if task and not grid.where:  # filters are part of what a cell calls its task
        told["task"] = [task]
    parts = {column: {part for value in values for part in value.split("+")} for column, values in where.items()}
    return all(parts[column] & set(told[column]) for column in parts if column in told)


def _why_none(cell: CellOutcomes) -> str:
    if cell.headline is None:
        return f"{_title(cell.cell)}: {cell.record['refused'] or cell.reason}"
    return "" if has_all_emotions(cell, cell.truth) else f"{cell.cell['corpus']}: an emotion has no utterance"


def _measured(cell: CellOutcomes, metric: str) -> Measured | None:
    """One number of a cell; none where it has no predictions, lacks an emotion, or does not know or predict it."""
    outcome = cell.headline
    if outcome is None or not has_all_emotions(cell, cell.truth):
        return None
    if (emotion := _emotion_of(metric)) and emotion not in cell.emotions:
        return None
    stack = unit_stack(cell, outcome)
    total = stack.sum(axis=0)
    value = float(_statistic(cell, metric)(total[np.newaxis])[0]) if emotion else METRICS[metric](total)
    if np.isnan(value):
        return None
    interval = _sound(jackknife_interval(stack, _statistic(cell, metric), bounds=_bounds(metric)))
    return Measured(_fields(cell), metric, value, interval, _chance(total, metric))


def _emotion_of(metric: str) -> str:
    """Name the emotion that a metric is of; empty for those of all emotions."""
    return metric.partition(" ")[2] if metric.startswith((RECALL, PRECISION)) else ""


def _chance(confusion: np.ndarray, metric: str) -> float | None:
    """One emotion at random (UAR), always the most frequent one (WAR), no agreement (kappa); else not defined."""
    totals = confusion.sum(axis=1)
    known = {"uar": 1 / len(totals), "war": float(totals.max() / totals.sum()), "kappa": 0.0}
    return known.get(metric)


def _statistic(cell: CellOutcomes, metric: str) -> Statistic:
    if not (emotion := _emotion_of(metric)):
        return STATISTICS[metric]
    code = cell.emotions.index(emotion)

    def share(totals: np.ndarray) -> np.ndarray:
        """Hits of an emotion among its utterances (recall), or among its predictions (precision)."""
        of_emotion = (totals[..., code, :] if metric.startswith(RECALL) else totals[..., code]).sum(axis=-1)
        undefined = np.full(of_emotion.shape, np.nan)
        found: np.ndarray = np.divide(totals[..., code, code], of_emotion, out=undefined, where=of_emotion > 0)
        return found

    return share


def _bounds(metric: str) -> tuple[float, float]:
    return BOUNDS.get(metric, (0, 1))


def _sound(interval: Interval | None) -> Interval | None:
    """Leave out an interval that is undefined without some unit."""
    return interval if interval is not None and all(map(np.isfinite, interval.ends)) else None


Side = tuple[CellOutcomes, str]
"""A cell and the metric that is looked at."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A difference with its interval, and what tells it from a bound.

    `units` names who is independent, `shares` is what each adds to the difference and `weights` what each adds to a
    difference of one. For cells that test other people these are empty, and `welch` gives p against a bound.
    `references` are the cells of the two that are references.
    """

    difference: float
    interval: Interval | None
    welch: Callable[[float], float] | None = None
    units: tuple[str, ...] = ()
    shares: np.ndarray = field(default_factory=lambda: np.empty(0))
    weights: np.ndarray = field(default_factory=lambda: np.empty(0))
    references: tuple[tuple[str, ...], ...] = ()


def _sides(difference: float, bounds: Sequence[float]) -> list[int]:
    return [1 if difference > bound else -1 for bound in bounds]


def _p_values(compared: Sequence[Compared], bounds: Sequence[Sequence[float]]) -> list[list[float | None]]:
    """P of every difference against each of its bounds; an interval without width, or none, tells nothing."""
    found: list[list[float | None]] = [[None] * len(of) for of in bounds]
    families: dict[tuple[tuple[str, ...], tuple[tuple[str, ...], ...]], list[tuple[int, int]]] = {}
    for i, one in enumerate(compared):
        if one.interval is not None:
            families.setdefault((one.units, one.references), []).extend((i, j) for j in range(len(bounds[i])))
    for (units, _), places in families.items():
        if units:
            shifted = [compared[i].shares - bounds[i][j] * compared[i].weights for i, j in places]
            p = flip_p(np.stack(shifted, axis=1)).tolist()
        else:
            p = [min(1.0, len(places) * welch(bounds[i][j])) for i, j in places if (welch := compared[i].welch)]
        for (i, j), value in zip(places, p, strict=True):
            found[i][j] = value
    return found


def _gap_between(a: Side, b: Side) -> tuple[Interval | None, Callable[[float], float] | None]:
    """Interval of the difference between cells that test other people, and its test; none for other emotions."""
    if _emotion_of(a[1]) and (a[1] != b[1] or a[0].emotions != b[0].emotions):
        return None, None
    first, second = (unit_stack(cell, cell.headline) for cell, _ in (a, b) if cell.headline is not None)
    low, high = _bounds(a[1])
    interval = _sound(gap_interval(first, second, _statistic(*a), bounds=(low - high, high - low)))
    return interval, lambda bound: gap_p(first, second, _statistic(*a), bound)


def _compared_within(a: Side, b: Side) -> Compared:
    """Compare cells that test the same people, on the utterances of both."""
    common = sorted(set(a[0].truth) & set(b[0].truth))
    if not common or not all(has_all_emotions(cell, common) for cell, _ in (a, b)):
        return Compared(float("nan"), None)
    stacks = [unit_stack(cell, cell.headline, common) for cell, _ in (a, b) if cell.headline is not None]
    both = np.concatenate([stack.reshape(len(stack), -1) for stack in stacks], axis=1)
    width = stacks[0][0].size

    def difference(totals: np.ndarray) -> np.ndarray:
        parts = totals[:, :width], totals[:, width:]
        shaped = [part.reshape(-1, *stack.shape[1:]) for part, stack in zip(parts, stacks, strict=True)]
        found: np.ndarray = _statistic(*a)(shaped[0]) - _statistic(*b)(shaped[1])
        return found

    low, high = _bounds(a[1])
    interval = _sound(jackknife_interval(both, difference, bounds=(low - high, high - low)))
    value = float(difference(both.sum(axis=0, keepdims=True))[0])
    (first, weights), (second, _) = (
        shares_of(s, side[1], _statistic(*side)) for s, side in zip(stacks, (a, b), strict=True)
    )
    return Compared(value, interval, None, _units(a[0], common), first - second, weights)


def _compared_alone(a: Side) -> Compared:
    """Take a cell by itself, on all of its utterances."""
    cell, metric = a
    assert cell.headline is not None
    stack, statistic = unit_stack(cell, cell.headline), _statistic(*a)
    interval = _sound(jackknife_interval(stack, statistic, bounds=_bounds(metric)))
    value = float(statistic(stack.sum(axis=0, keepdims=True))[0])
    return Compared(value, interval, None, _units(cell, cell.truth), *shares_of(stack, metric, statistic))


def _units(cell: CellOutcomes, utterances: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({cell.units[u] for u in utterances}))
