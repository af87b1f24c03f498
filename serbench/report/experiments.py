"""Recorded experiments -> what the paper printed beside ours, and what our numbers say of its sentences.

A record (`results/experiments/NAME.json`) holds the description as it was run and names its cells, so that other
cells of the same results folder never stand beside a paper's values. Values are by the nested rule, on all utterances
that a cell has; where there is no nested value they are by the default setting, and marked.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serbench.errors import ConfigError, SerbenchError, StoreError
from serbench.experiments import Claim, Described, Experiment, Grid, PaperValue, find_experiment, read_experiment
from serbench.experiments.claims import Judgement, Measured, Selection, judge
from serbench.experiments.load import PRECISION, RECALL
from serbench.experiments.record import CELL_COLUMNS
from serbench.metrics import BOUNDS, METRICS
from serbench.protocols import PROTOCOLS
from serbench.report.colours import step_of
from serbench.report.formats import Entry, Table
from serbench.report.outcomes import CellOutcomes
from serbench.report.provenance import Origin, origin_of
from serbench.report.scores import has_all_emotions, pool_confusion, unit_stack
from serbench.report.tables import DEFAULT_MARK, MARK_NOTES, NOTHING, bracketed, signed, transductive_note
from serbench.sealed import read_json
from serbench.stats import ALPHA, STATISTICS, TINY, Interval, Statistic, gap_interval, jackknife_interval
from serbench.store import Store

STEMS = ("experiment", "claims", "confusion-shares")
"""Kinds of tables that experiments have."""


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


def read_recorded(store: Store) -> Iterator[Recorded]:
    """Read the experiments that were run on a results folder, by name; one that cannot be read is told and left out."""
    for path in store.experiments:
        try:
            yield _recorded(path)
        except (ConfigError, StoreError) as error:
            told = f"{path.name}: the record of an experiment cannot be used and is left out; run it again. {error}"
            warnings.warn(told, stacklevel=2)


def _recorded(path: Path) -> Recorded:
    record = read_json(path)
    described = read_experiment(record["text"], record["name"])
    is_changed = bool(record["is_built_in"]) and _digest_now(described.name) != described.digest
    return Recorded(described, record["absent"], record["skipped"], tuple(record["cells"]), is_changed)


def _digest_now(name: str) -> str | None:
    """Digest of the experiment of a name that comes with this serbench; none where it cannot be read."""
    try:
        return find_experiment(name).digest
    except SerbenchError:
        return None


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
    def origin(self) -> Origin:
        """What made its values."""
        return origin_of(cell.provenance for cell in self.cells if cell.outcomes)

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

    def gap(self, a: Measured, b: Measured, n_comparisons: int) -> tuple[float, Interval | None]:
        """Return a less b, with an interval that holds together with those of so many other comparisons.

        Cells that test the same corpus are compared on the utterances that both have, unit by unit; others test
        other people, so that each is jackknifed by itself.
        """
        sides = (self.cell(a), a.metric), (self.cell(b), b.metric)
        level = 1 - ALPHA / n_comparisons
        if a.cell["corpus"] == b.cell["corpus"]:
            return _gap_within(*sides, level)
        return a.value - b.value, _gap_between(*sides, level)

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
    """Leave out an interval that is undefined without some unit, or has no width: of equal units, which say nothing."""
    if interval is None or not all(map(np.isfinite, interval.ends)):
        return None
    return interval if interval.high - interval.low > TINY else None


Side = tuple[CellOutcomes, str]
"""A cell and the metric that is looked at."""


def _gap_between(a: Side, b: Side, level: float) -> Interval | None:
    """Interval of the difference between cells that test other people; none where they ask for other emotions."""
    if _emotion_of(a[1]) and (a[1] != b[1] or a[0].emotions != b[0].emotions):
        return None
    first, second = (unit_stack(cell, cell.headline) for cell, _ in (a, b) if cell.headline is not None)
    low, high = _bounds(a[1])
    return _sound(gap_interval(first, second, _statistic(*a), bounds=(low - high, high - low), level=level))


def _gap_within(a: Side, b: Side, level: float) -> tuple[float, Interval | None]:
    """Difference between cells that test the same people, on the utterances of both; leaves out one unit of both."""
    common = sorted(set(a[0].truth) & set(b[0].truth))
    if not common or not all(has_all_emotions(cell, common) for cell, _ in (a, b)):
        return float("nan"), None
    stacks = [unit_stack(cell, cell.headline, common) for cell, _ in (a, b) if cell.headline is not None]
    both = np.concatenate([stack.reshape(len(stack), -1) for stack in stacks], axis=1)
    width = stacks[0][0].size

    def difference(totals: np.ndarray) -> np.ndarray:
        parts = totals[:, :width], totals[:, width:]
        shaped = [part.reshape(-1, *stack.shape[1:]) for part, stack in zip(parts, stacks, strict=True)]
        found: np.ndarray = _statistic(*a)(shaped[0]) - _statistic(*b)(shaped[1])
        return found

    low, high = _bounds(a[1])
    interval = jackknife_interval(both, difference, bounds=(low - high, high - low), level=level)
    return float(difference(both.sum(axis=0, keepdims=True))[0]), _sound(interval)


def experiment_tables(recorded: Sequence[Recorded], cells: Sequence[CellOutcomes]) -> list[Table]:
    """Tables of all experiments: the paper's values beside ours, and the verdicts on its sentences."""
    books = [CellBook(one, cells) for one in recorded]
    values = [value_table(book) for book in books if book.recorded.experiment.values]
    claims = [claim_table(book) for book in books if book.recorded.experiment.claims]
    return [*values, *claims, *(table for book in books for table in share_tables(book))]


def share_tables(book: CellBook) -> Iterator[Table]:
    """Confusion matrices as shares, of predictions or of the truth, where the experiment asks for them."""
    by = book.recorded.experiment.confusion
    for cell in book.cells if by else ():
        if cell.headline is not None:
            yield _share_table(book, cell, pool_confusion(cell, cell.headline), by or "")


def _share_table(book: CellBook, cell: CellOutcomes, confusion: np.ndarray, by: str) -> Table:
    totals = confusion.sum(axis=0 if by == "predictions" else 1, keepdims=True)
    shares = np.divide(confusion, totals, out=np.full(confusion.shape, np.nan), where=totals > 0)
    rows = [
        (Entry(emotion), *(_share(share, is_right=i == j) for j, share in enumerate(shares[i])))
        for i, emotion in enumerate(cell.emotions)
    ]
    cut = "" if cell.cell["preprocessing"] == "none" else f", {cell.cell['preprocessing']}"
    named = f"{cell.cell['corpus']}, {cell.cell['features']}, {cell.cell['classifier']}{cut}"
    title = f"Confusion, shares of {by}: {book.recorded.described.name}, {named}"
    line = "Each column, what was predicted," if by == "predictions" else "Each row, what was said,"
    notes = (f"{line} adds up to 1; {NOTHING} where there is none.",)
    header = ("truth \\ prediction", *cell.emotions)
    return Table("confusion-shares", title, header, tuple(rows), notes, 1, origin_of([cell.provenance]))


def _share(share: float, *, is_right: bool) -> Entry:
    return Entry(NOTHING) if np.isnan(share) else Entry(f"{share:.2f}", is_right, step=step_of(float(share), 0, 1))


def value_table(book: CellBook) -> Table:
    """Paper, ours with its interval, and ours less the paper's; what is missing is told in the notes."""
    experiment = book.recorded.experiment
    beside = [_beside(book, value) for value in experiment.values]
    rows = [_value_row(one) for one in beside]
    is_marked = any(one.mark for one in beside)
    notes = [book.recorded.note, _about(experiment), *book.remarks, *_value_notes(beside)]
    notes += [MARK_NOTES[DEFAULT_MARK]] if is_marked else []
    title = f"Paper and ours: {book.recorded.described.name}, {_metric_title(experiment)}"
    header = ("row", "column", "paper", "ours", "difference")
    return Table("experiment", title, header, tuple(rows), tuple(notes), 2, book.origin)


@dataclass(frozen=True, slots=True)
class Beside:
    """A value of the paper with ours beside it, or why there is none."""

    value: PaperValue
    ours: Measured | None
    why: str
    mark: str


def _beside(book: CellBook, value: PaperValue) -> Beside:
    ours, why = _ours(book, value)
    return Beside(value, ours, why, DEFAULT_MARK if ours is not None and _is_default(book, ours) else "")


def _value_row(one: Beside) -> tuple[Entry, ...]:
    labels = Entry(one.value.row), Entry(one.value.column), Entry(f"{one.value.paper:.3f}")
    if one.ours is None:
        return (*labels, Entry(NOTHING), Entry(NOTHING))
    shown = Entry(f"{one.ours.value:.3f}{one.mark}", aside=bracketed(one.ours.interval))
    return (*labels, shown, Entry(signed(one.ours.value - one.value.paper)))


def _value_notes(beside: Sequence[Beside]) -> list[str]:
    """What differs between the paper's values and ours, and why some of ours are missing; each once."""
    differs: dict[str, list[str]] = {}
    missing: dict[str, list[str]] = {}
    for one in beside:
        if one.value.note:
            differs.setdefault(one.value.note, []).append(one.value.row)
        if one.ours is None:
            missing.setdefault(one.why, []).append(f"{one.value.row}, {one.value.column}")
    told = [f"{', '.join(dict.fromkeys(rows))}: {note}" for note, rows in differs.items()]
    return told + [f"{NOTHING} {'; '.join(places)}: {why.rstrip('.')}." for why, places in missing.items()]


def _about(experiment: Experiment) -> str:
    return f"{experiment.about} In brackets: 95 % intervals of ours over speakers or sessions; papers give none."


def _metric_title(experiment: Experiment) -> str:
    names = dict.fromkeys(value.metric.split()[0] if value.metric else experiment.metric for value in experiment.values)
    return ", ".join(names)


def _ours(book: CellBook, value: PaperValue) -> tuple[Measured | None, str]:
    """Our number beside one of the paper's, or why there is none."""
    if value.needs:
        return None, f"needs a {value.needs}"
    found = book.select(value.where, value.metric or book.recorded.experiment.metric)
    if len(found) == 1:
        return found[0], ""
    if found:
        return None, f"{len(found)} of our cells match; say more in `where`"
    return None, "; ".join(dict.fromkeys(book.lacking(value.where))) or "not run"


def _is_default(book: CellBook, measured: Measured) -> bool:
    outcome = book.cell(measured).headline
    return outcome is not None and outcome.rule == "default"


def claim_table(book: CellBook) -> Table:
    """The verdict on every claim with the number of columns behind it; sentences and numbers are in the notes."""
    experiment = book.recorded.experiment
    rows, notes = (
        [],
        [book.recorded.note, *([] if experiment.values else [experiment.about])],
    )  # beside values elsewhere
    for claim, judgement in judgements(book):
        counts = [str(judgement.count(state)) for state in ("holds", "fails")]
        open_ = judgement.count("undecided") + judgement.count("missing")
        counts = [*counts, str(open_)] if judgement.rulings else [NOTHING] * 3
        rows.append((Entry(claim.name), Entry(judgement.verdict), *map(Entry, counts)))
        notes.append(_claim_note(claim, judgement))
    notes += [*book.remarks, _READING]
    title = f"Claims: {book.recorded.described.name}"
    header = ("claim", "verdict", "holds", "fails", "open")
    return Table("claims", title, header, tuple(rows), tuple(notes), 2, book.origin)


_READING = (
    "Supported: the whole 95 % interval of the difference (or value) lies on the side that the sentence names, in as "
    "many corpora or other columns as it needs; contradicted: on the other side in so many that it cannot hold any "
    "more. Where a column takes several comparisons, intervals are widened to hold together (Bonferroni)."
)


def judgements(book: CellBook) -> list[tuple[Claim, Judgement]]:
    """Every claim of an experiment with the verdict on it."""
    experiment = book.recorded.experiment
    return [(claim, judge(claim, book, metric=experiment.metric)) for claim in experiment.claims]


def _claim_note(claim: Claim, judgement: Judgement) -> str:
    why = judgement.why or f"it needs a {claim.needs}"
    note = f" {claim.note}" if claim.note else ""
    return f'{claim.name}: "{claim.says}" ({claim.source}).{note} {judgement.verdict.capitalize()}: {why.rstrip(".")}.'


def claims_frame(recorded: Sequence[Recorded], cells: Sequence[CellOutcomes]) -> pd.DataFrame:
    """One row per experiment and claim: the sentence, the verdict, and the numbers behind it in words."""
    rows = [
        {
            "experiment": one.described.name,
            "digest": one.described.digest,
            "claim": claim.name,
            "says": claim.says,
            "source": claim.source,
            "note": claim.note,
            "verdict": judgement.verdict,
            "holds": judgement.count("holds"),
            "fails": judgement.count("fails"),
            "undecided": judgement.count("undecided"),
            "missing": judgement.count("missing"),
            "least": judgement.least,
            "why": judgement.why,
        }
        for one in recorded
        for claim, judgement in judgements(CellBook(one, cells))
    ]
    return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["experiment", "claim", "verdict", "why"])
