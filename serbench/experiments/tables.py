"""Recorded experiments -> what the paper printed, ours and the difference; and verdicts on the paper's sentences.

A record (`results/experiments/NAME.json`) holds the description as it was run and names its cells, so that other
cells of the same results folder are never compared with a paper's values. Values are by the nested rule, on all
utterances that a cell has; where there is no nested value they are by the default setting, and marked.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from serbench.errors import ConfigError, SerbenchError, StoreError
from serbench.experiments.claims import Contrast, Pair, Value, Where, judge
from serbench.experiments.load import OF_EMOTION, Described, Experiment, Grid, find_experiment, read_experiment
from serbench.grid.cells import CELL_COLUMNS
from serbench.protocols import PROTOCOLS
from serbench.report.table import NOTHING, Entry, Table, bracketed, make_table, signed
from serbench.report.tables import DEFAULT_MARK, MARK_NOTES, transductive_note
from serbench.scores.metrics import BOUNDS, METRICS, confusions, names
from serbench.scores.predictions import CellPredictions
from serbench.scores.statistics import (
    Interval,
    Statistic,
    flip_p,
    gap_interval,
    gap_p,
    jackknife_interval,
    shares_of,
)
from serbench.store.files import read_json
from serbench.store.results import Store

_GONE = "its cell is not in the results folder; run it again"
_READING = (
    "Supported: by the sign-flip test of Table 2, the difference (or value) is on the side that the sentence names, in "
    "as many groups as the sentence needs. Contradicted: it is on the other side in so many groups that the sentence "
    "cannot hold any more. p is corrected for all comparisons of a group over the same people (step-down max-T; those "
    "between other people by Welch's test and Bonferroni; those with a dummy by themselves). Where n of m groups must "
    "hold, each group holds at the level 0.05 / (m - n + 1) and fails at 0.05 / n."
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
    def note(self) -> str:
        """What it is, which state of it, and which corpora took no part."""
        reasons: dict[str, list[str]] = {}
        for name, why in self.absent.items():
            reasons.setdefault(why, []).append(name)
        left_out = "; ".join(f"{', '.join(names)} ({why})" for why, names in reasons.items())
        changed = "; serbench brings another description under this name now, run it again" if self.is_changed else ""
        frozen = f"Experiment {self.described.name}, frozen as {self.described.digest}{changed}."
        absent = f" Took no part: {left_out}." if left_out else ""
        return f"{self.experiment.title}. {self.experiment.citation} {frozen}{absent}"


def read_recorded(store: Store) -> Iterator[Recorded]:
    """Read the experiments that were run on a results folder; one that cannot be read is left out with a warning."""
    for path in store.experiments:
        try:
            record = read_json(path)
            described = read_experiment(record["text"], record["name"])
        except (ConfigError, StoreError) as error:
            told = f"{path.name}: the record of an experiment cannot be used and is left out; run it again. {error}"
            warnings.warn(told, stacklevel=2)
            continue
        is_changed = False
        if record["is_built_in"]:
            try:
                is_changed = find_experiment(described.name).digest != described.digest
            except SerbenchError:
                is_changed = True
        yield Recorded(described, record["absent"], record["skipped"], tuple(record["cells"]), is_changed)


def experiment_tables(recorded: Sequence[Recorded], cells: Sequence[CellPredictions]) -> list[Table]:
    """Tables of all experiments: paper and ours, the verdicts on its sentences, and confusions as shares."""
    books = [Book(one, cells) for one in recorded]
    values = [value_table(book) for book in books if book.recorded.experiment.values]
    claims = [claim_table(book) for book in books if book.recorded.experiment.claims]
    return [*values, *claims, *(table for book in books for table in share_tables(book))]


# --- the numbers of an experiment --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Compared:
    """A difference with its interval, and what tests it against a bound.

    `units` names who is independent, `shares` is what each adds to the difference and `weights` what each adds to a
    difference of one. For cells that test other people these are empty, and `welch` gives p against a bound.
    """

    difference: float
    interval: Interval | None
    welch: Callable[[float], float] | None = None
    units: tuple[str, ...] = ()
    shares: np.ndarray = field(default_factory=lambda: np.empty(0))
    weights: np.ndarray = field(default_factory=lambda: np.empty(0))


class Book:
    """The numbers of a recorded experiment; see `serbench.experiments.claims.Numbers`.

    `gone` are the fields of cells that the record names and the results folder has no more, or not yet.
    """

    def __init__(self, recorded: Recorded, cells: Iterable[CellPredictions]) -> None:
        wanted = [dict(cell) for cell in recorded.cells]
        self.recorded = recorded
        self.cells = [cell for cell in cells if dict(cell.cell) in wanted]
        there = [dict(cell.cell) for cell in self.cells]
        self.gone = [fields for fields in wanted if fields not in there]

    @property
    def keys(self) -> list[str]:
        """Provenance keys of the cells behind its values."""
        return [cell.provenance.key for cell in self.cells if cell.with_values]

    @property
    def remarks(self) -> list[str]:
        """What its tables must say: copies that are partial, and scalings that have heard the test."""
        cells = [cell for cell in self.cells if cell.with_values]
        partials = {f"{n.partition('@')[0]}: {why}." for cell in cells for n, why in cell.record.partials.items()}
        heard = {transductive_note(cell.cell["scaling"]) for cell in cells if cell.is_transductive}
        return [*sorted(partials), *sorted(heard)]

    def values(self, where: Where, metric: str) -> list[Value]:
        """Return the values of the cells that a selection matches, by its own metrics if it names any."""
        metrics = where.get("metric", (metric,))
        found = (_value(cell, name) for name in metrics for cell in self._matching(where))
        return [value for value in found if value is not None]

    def lacking(self, where: Where, metric: str) -> list[str]:
        """Return why values are missing: of cells that a selection matches, of its corpora, or of its grids."""
        found = []
        for cell in self._matching(where):
            title = f"{cell.cell['corpus']} {cell.cell['features']} {cell.cell['classifier']}"
            if not cell.rule:
                found.append(f"{title}: {cell.reason}")
            elif not _has_all_emotions(cell.of(), cell):
                found.append(f"{cell.cell['corpus']}: an emotion has no utterance")
        for fields in self.gone:
            if _is_match(fields, where):
                found.append(f"{fields['corpus']} {fields['features']} {fields['classifier']}: {_GONE}")
        found += self._absent(where) or self._skipped(where)
        return found or [f"{m}: no value" for m in where.get("metric", (metric,)) if not self.values(where, m)]

    def _absent(self, where: Where) -> list[str]:
        """Corpora without a cell that a selection needs: those it names, or all where it crosses any of them."""
        named = {name for column in ("corpus", "train") for value in where.get(column, ()) for name in value.split("+")}
        is_any = "train" not in where and any(PROTOCOLS[name].is_across for name in where.get("protocol", ()))
        cells = self._matching(where)
        here = {name for cell in cells for c in ("corpus", "train") for name in str(cell.cell[c]).split("+")}
        absent = self.recorded.absent.items()
        return sorted(f"{name}: {why}" for name, why in absent if (is_any or name in named) and name not in here)

    def _skipped(self, where: Where) -> list[str]:
        """Why grids that a selection asks for were not run."""
        experiment, skipped = self.recorded.experiment, self.recorded.skipped
        asked = [grid.title for grid in experiment.grids if _may_give(grid, experiment, where)]
        return [skipped[title] for title in dict.fromkeys(asked) if title in skipped]

    def _matching(self, where: Where) -> list[CellPredictions]:
        return [cell for cell in self.cells if _is_match(cell.cell, where)]

    def cell(self, value: Value) -> CellPredictions:
        """Return the cell that a value is of."""
        return next(cell for cell in self.cells if _fields(cell) == value.fields)

    def contrasts(self, pairs: Sequence[Pair], bounds: Sequence[Sequence[float]]) -> list[Contrast]:
        """Test each pair against its bounds, all in one family of tests.

        Cells that test the same people are compared unit by unit, on the utterances that both have. What tests the
        same units is corrected together, but for references such as the dummy: each is a family of its own, as in
        Table 2. Cells that test other people are compared by Welch's test.
        """
        compared = [self._compared(a, b) for a, b in pairs]
        p: list[list[float | None]] = [[None] * len(of) for of in bounds]
        families: dict[tuple[object, ...], list[tuple[int, int]]] = {}
        for i, (one, pair) in enumerate(zip(compared, pairs, strict=True)):
            if one.interval is not None:  # an interval without width, or none, can test nothing
                references = tuple(str(v.fields) for v in pair if v is not None and self.cell(v).is_reference)
                families.setdefault((one.units, references), []).extend((i, j) for j in range(len(bounds[i])))
        for (units, _), places in families.items():
            if units:
                shifted = [compared[i].shares - bounds[i][j] * compared[i].weights for i, j in places]
                found = flip_p(np.stack(shifted, axis=1)).tolist()
            else:
                tests = [(compared[i].welch, bounds[i][j]) for i, j in places]
                found = [min(1.0, len(places) * welch(bound)) for welch, bound in tests if welch]
            for (i, j), value in zip(places, found, strict=True):
                p[i][j] = value
        sides = [[1 if one.difference > b else -1 for b in of] for one, of in zip(compared, bounds, strict=True)]
        return [
            Contrast(a, b, one.difference, one.interval, tuple(zip(sides[i], p[i], strict=True)))
            for i, ((a, b), one) in enumerate(zip(pairs, compared, strict=True))
        ]

    def _compared(self, a: Value, b: Value | None) -> _Compared:
        cell, statistic = self.cell(a), _statistic(self.cell(a), a.metric)
        low, high = BOUNDS.get(a.metric, (0, 1))
        if b is None:
            units, stack = _stack(cell.of(), cell)
            return _Compared(a.number, a.interval, None, units, *shares_of(stack, a.metric, statistic))
        other, b_statistic = self.cell(b), _statistic(self.cell(b), b.metric)
        if a.fields["corpus"] != b.fields["corpus"]:
            if a.metric.startswith(OF_EMOTION) and (a.metric != b.metric or cell.emotions != other.emotions):
                return _Compared(a.number - b.number, None)
            first, second = _stack(cell.of(), cell)[1], _stack(other.of(), other)[1]
            interval = _sound(gap_interval(first, second, statistic, bounds=(low - high, high - low)))
            return _Compared(a.number - b.number, interval, lambda bound: gap_p(first, second, statistic, bound))
        common = set(cell.of()["utterance"]) & set(other.of()["utterance"])
        mine, theirs = (of.of()[of.of()["utterance"].isin(common)] for of in (cell, other))
        if not common or not (_has_all_emotions(mine, cell) and _has_all_emotions(theirs, other)):
            return _Compared(float("nan"), None)
        (units, first), (_, second) = _stack(mine, cell), _stack(theirs, other)
        both = np.concatenate([first.reshape(len(first), -1), second.reshape(len(second), -1)], axis=1)
        width, shapes = first[0].size, (first.shape[1:], second.shape[1:])

        def difference(totals: np.ndarray) -> np.ndarray:
            one, two = totals[:, :width].reshape(-1, *shapes[0]), totals[:, width:].reshape(-1, *shapes[1])
            found: np.ndarray = statistic(one) - b_statistic(two)
            return found

        interval = _sound(jackknife_interval(both, difference, bounds=(low - high, high - low)))
        (own, weights), (taken, _) = (
            shares_of(first, a.metric, statistic),
            shares_of(second, b.metric, b_statistic),
        )
        value = float(difference(both.sum(axis=0, keepdims=True))[0])
        return _Compared(value, interval, None, units, own - taken, weights)


def _fields(cell: CellPredictions) -> dict[str, str]:
    return {name: str(cell.cell.get(name, "")) for name in CELL_COLUMNS}


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


def _stack(rows: pd.DataFrame, cell: CellPredictions) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of units, and their confusion matrices, shape (n_units, n_emotions, n_emotions)."""
    return tuple(names(rows, "unit")), confusions(rows, "unit", n_emotions=len(cell.emotions))


def _has_all_emotions(rows: pd.DataFrame, cell: CellPredictions) -> bool:
    return rows["truth"].nunique() == len(cell.emotions)


def _value(cell: CellPredictions, metric: str) -> Value | None:
    """One number of a cell; none where it has no predictions, misses an emotion, or never predicts it."""
    emotion = metric.partition(" ")[2] if metric.startswith(OF_EMOTION) else ""
    if not cell.rule or not _has_all_emotions(cell.of(), cell) or (emotion and emotion not in cell.emotions):
        return None
    _, stack = _stack(cell.of(), cell)
    total, statistic = stack.sum(axis=0), _statistic(cell, metric)
    number = float(statistic(total[np.newaxis])[0])
    if np.isnan(number):
        return None
    interval = _sound(jackknife_interval(stack, statistic, bounds=BOUNDS.get(metric, (0, 1))))
    n_of = total.sum(axis=1)
    # One emotion at random (UAR), always the most frequent one (WAR), no agreement (kappa); else not defined.
    chance = {"uar": 1 / len(n_of), "war": float(n_of.max() / n_of.sum()), "kappa": 0.0}.get(metric)
    return Value(_fields(cell), metric, number, interval, chance)


def _statistic(cell: CellPredictions, metric: str) -> Statistic:
    if not metric.startswith(OF_EMOTION):
        return METRICS[metric]
    kind, _, emotion = metric.partition(" ")
    code = cell.emotions.index(emotion)

    def share(totals: np.ndarray) -> np.ndarray:
        """Hits of an emotion among its utterances (recall), or among its predictions (precision)."""
        of_emotion = (totals[..., code, :] if kind == "recall" else totals[..., code]).sum(axis=-1)
        undefined = np.full(of_emotion.shape, np.nan)
        found: np.ndarray = np.divide(totals[..., code, code], of_emotion, out=undefined, where=of_emotion > 0)
        return found

    return share


def _sound(interval: Interval | None) -> Interval | None:
    """Leave out an interval that is undefined without some unit."""
    return interval if interval is not None and all(map(np.isfinite, interval.ends)) else None


# --- its tables --------------------------------------------------------------------------------------------------


def value_table(book: Book) -> Table:
    """Paper, ours with its interval, and ours less the paper's; notes give the reasons why values are missing."""
    experiment, name = book.recorded.experiment, book.recorded.described.name
    rows: list[tuple[Entry, ...]] = []
    differs: dict[str, list[str]] = {}
    missing: dict[str, list[str]] = {}
    is_marked = False
    for value in experiment.values:
        labels = Entry(value.row), Entry(value.column), Entry(f"{value.paper:.3f}")
        found = [] if value.needs else book.values(value.where, value.metric or experiment.metric)
        if len(found) == 1:
            mark = "" if book.cell(found[0]).is_chosen else DEFAULT_MARK
            is_marked |= bool(mark)
            ours = Entry(f"{found[0].number:.3f}{mark}", aside=bracketed(found[0].interval))
            rows.append((*labels, ours, Entry(signed(found[0].number - value.paper))))
        else:
            why = f"needs a {value.needs}" if value.needs else f"{len(found)} of our cells match; say more in `where`"
            if not found and not value.needs:
                why = "; ".join(dict.fromkeys(book.lacking(value.where, value.metric or experiment.metric)))
            missing.setdefault(why or "not run", []).append(f"{value.row}, {value.column}")
            rows.append((*labels, Entry(NOTHING), Entry(NOTHING)))
        if value.note:
            differs.setdefault(value.note, []).append(value.row)
    intervals = "In brackets: 95 % intervals of ours over speakers or sessions; papers give none."
    notes = [book.recorded.note, f"{experiment.about} {intervals}", *book.remarks]
    notes += [f"{', '.join(dict.fromkeys(of))}: {note}" for note, of in differs.items()]
    notes += [f"{NOTHING} {'; '.join(places)}: {why.rstrip('.')}." for why, places in missing.items()]
    notes += [MARK_NOTES[DEFAULT_MARK]] if is_marked else []
    metrics = dict.fromkeys(v.metric.split()[0] if v.metric else experiment.metric for v in experiment.values)
    title = f"Paper and ours: {name}, {', '.join(metrics)}"
    header = ("row", "column", "paper", "ours", "difference")
    facets = {"experiment": name}
    return make_table("experiment", title, header, rows, n_labels=2, notes=notes, cells=book.keys, facets=facets)


def claim_table(book: Book) -> Table:
    """The verdict on every claim with the number of groups behind it; sentences and numbers are in the notes."""
    experiment = book.recorded.experiment
    notes = [book.recorded.note, *([] if experiment.values else [experiment.about])]  # else with the values
    rows = []
    for claim in experiment.claims:
        judgement = judge(claim, book, metric=experiment.metric)
        n_open = judgement.count("undecided") + judgement.count("missing")
        counts = [str(judgement.count("holds")), str(judgement.count("fails")), str(n_open)]
        rows.append((claim.name, judgement.verdict, *(counts if judgement.rulings else [NOTHING] * 3)))
        why = (judgement.why or f"it needs a {claim.needs}").rstrip(".")
        note = f" {claim.note}" if claim.note else ""
        notes.append(f'{claim.name}: "{claim.says}" ({claim.source}).{note} {judgement.verdict.capitalize()}: {why}.')
    name, header = book.recorded.described.name, ("claim", "verdict", "holds", "fails", "open")
    notes += [*book.remarks, _READING]
    facets = {"experiment": name}
    return make_table(
        "claims", f"Claims: {name}", header, rows, n_labels=2, notes=notes, cells=book.keys, facets=facets
    )


def claims_frame(recorded: Sequence[Recorded], cells: Sequence[CellPredictions]) -> pd.DataFrame:
    """One row per experiment and claim: the sentence, the verdict, and the numbers behind it in words."""
    rows = []
    for one in recorded:
        book = Book(one, cells)
        for claim in one.experiment.claims:
            judgement = judge(claim, book, metric=one.experiment.metric)
            row: dict[str, Any] = {
                "experiment": one.described.name,
                "digest": one.described.digest,
                "claim": claim.name,
            }
            row |= {name: getattr(claim, name) for name in ("says", "source", "note")} | {"verdict": judgement.verdict}
            row |= {state: judgement.count(state) for state in ("holds", "fails", "undecided", "missing")}
            rows.append({**row, "at_least": judgement.at_least, "why": judgement.why})
    return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["experiment", "claim", "verdict", "why"])


def share_tables(book: Book) -> Iterator[Table]:
    """Confusion matrices as shares, of predictions or of the truth, where the experiment asks for them."""
    by = book.recorded.experiment.confusion
    for cell in (cell for cell in book.cells if by and cell.rule):
        confusion = _stack(cell.of(), cell)[1].sum(axis=0)
        totals = confusion.sum(axis=0 if by == "predictions" else 1, keepdims=True)
        shares = np.divide(confusion, totals, out=np.full(confusion.shape, np.nan), where=totals > 0)
        rows: list[list[Entry | str]] = []
        for i, (emotion, of) in enumerate(zip(cell.emotions, shares.tolist(), strict=True)):
            places = [Entry(NOTHING) if np.isnan(s) else Entry(f"{s:.2f}", "", i == j, s) for j, s in enumerate(of)]
            rows.append([emotion, *places])
        cut = "" if cell.cell["preprocessing"] == "none" else f", {cell.cell['preprocessing']}"
        named = f"{cell.cell['corpus']}, {cell.cell['features']}, {cell.cell['classifier']}{cut}"
        title = f"Confusion, shares of {by}: {book.recorded.described.name}, {named}"
        line = "Each column, what was predicted," if by == "predictions" else "Each row, what was said,"
        notes = (f"{line} adds up to 1; {NOTHING} where there is none.",)
        header = ("truth \\ prediction", *cell.emotions)
        key = cell.provenance.key
        yield make_table("confusion-shares", title, header, rows, n_labels=1, notes=notes, cells=[key])
