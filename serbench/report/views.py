"""Matrices -> views: a heat map for every metric and rule, on the utterances that all cells of a corpus have.

Page and figures show the same views. The nested ones of Table 2's metrics are Table 2, with its marks and notes; the
others carry no marks, as only nested values are tested. What is by the oracle says that it is tuned on the test data.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from serbench.report.comparisons import Contests
from serbench.report.matrices import Matrix, Place
from serbench.report.table import NOTHING, Entry, Table, bracketed, make_table
from serbench.report.tables import DEFAULT_MARK, MARKS, SHORT_MARK, TITLES
from serbench.scores.metrics import FOLD_METRICS, METRICS
from serbench.scores.outcomes import GIVEN, RULES, CellOutcomes
from serbench.scores.scores import has_all_emotions, score_table
from serbench.scores.statistics import Interval

if TYPE_CHECKING:
    from serbench.report import Report

METRIC_NAMES = {
    **{metric: f"{title[0].upper()}{title[1:]}" for metric, title in TITLES.items()},
    "macro_f1": "Macro F1",
    "uar_folds": "UAR, mean over folds",
    "war_folds": "Accuracy (WAR), mean over folds",
}
"""Every metric in words."""

RULE_NAMES = {
    "nested": "settings chosen by nested validation",
    "default": "default settings",
    "oracle": "oracle, settings tuned on the test data",
    GIVEN: "predictions from outside",
}
"""How settings were chosen, in words."""

_RULE_SENTENCES = {
    "nested": "Settings are chosen by {validation}",
    "default": "Every classifier has its default setting",
    "oracle": "Oracle: the one setting that is best on the test data of each cell, so that most values are too high",
}


@dataclass(frozen=True, slots=True)
class Score:
    """A value with its interval, and for a mean over folds their standard deviation."""

    value: float
    interval: Interval | None
    sd: float | None


@dataclass(frozen=True, slots=True)
class Shown:
    """What one place of a table shows; `score` None is missing."""

    text: str
    score: Score | None = None
    best: bool = False
    mark: str = ""

    @property
    def interval(self) -> str:
        """The interval in little room."""
        return bracketed(self.score.interval) if self.score else ""


@dataclass(frozen=True, slots=True)
class Block:
    """A matrix with what was concluded from it and its Table 2 by metric."""

    matrix: Matrix
    contests: Contests
    tables: Mapping[str, Table]

    @property
    def labels(self) -> list[tuple[Entry, ...]]:
        """Feature set and classifier of every row, as Table 2 words them, below its row of chance."""
        return [row[:2] for row in self.tables["kappa"].rows[1:]]


Scores = Mapping[tuple[Place, str, str], Score]
"""Place, rule and metric -> score."""


def blocks(compared: Sequence[tuple[Matrix, Contests]], tables: Iterable[Table]) -> list[Block]:
    """Put matrices and their Table 2 together; the tables of each metric stand in the order of the matrices."""
    made = list(tables)
    by_metric = {metric: [table for table in made if table.stem == f"table2-{metric}"] for metric in TITLES}
    return [
        Block(matrix, found, {metric: of_metric[i] for metric, of_metric in by_metric.items()})
        for i, (matrix, found) in enumerate(compared)
    ]


def scored_tables(report: Report) -> list[Table]:
    """Make Table 2 of every matrix by every metric and rule, with what the page chooses by."""
    return [table for block in blocks(report.compared, report.tables) for table in _tables(block, report.scores)]


def _tables(block: Block, scores: pd.DataFrame) -> Iterator[Table]:
    known, matrix, variant = common_scores(block.matrix, scores), block.matrix, block.matrix.variant
    setup = f"{variant.scaling_title}, inner {variant.inner}{variant.title.partition(f', inner {variant.inner}')[2]}"
    facets = {"protocol": variant.protocol_title, "task": variant.task_title, "setup": setup}
    for metric, rule in itertools.product((*METRICS, *FOLD_METRICS), RULES):
        columns = [_column(block, known, (metric, rule), corpus) for corpus in matrix.corpora]
        rows = list(zip(*columns, strict=True))
        table = _table(block, metric, rule, rows, _chance(block, metric))
        top = len(table.body) - len(rows)
        values = pd.DataFrame(np.nan, index=table.body.index, columns=table.body.columns)
        keys = pd.DataFrame("", index=table.body.index, columns=table.body.columns)
        for (y, row), (x, corpus) in itertools.product(enumerate(matrix.rows), enumerate(matrix.corpora)):
            score, cell = rows[y][x].score, matrix.cells.get((*row, corpus))
            values.iloc[y + top, x + 2] = score.value if score else np.nan
            keys.iloc[y + top, x + 2] = cell.provenance.key if cell else ""
        yield replace(table, facets={**facets, "metric": metric, "rule": rule}, values=values, keys=keys)


def common_scores(matrix: Matrix, scores: pd.DataFrame) -> Scores:
    """Return the scores of cells on the utterances that all cells of their corpus have."""
    found: dict[tuple[Place, str, str], Score] = {}
    for place, cell in matrix.cells.items():
        common = matrix.scored_on(place)
        if cell.outcomes and has_all_emotions(cell, common):
            of_cell = scores[scores["provenance"] == cell.provenance.key]
            table = of_cell if len(common) == len(cell.truth) else score_table([cell.on(common)])
            found |= {(place, rule, metric): score for (rule, metric), score in read_scores(table).items()}
    return found


def read_scores(table: pd.DataFrame) -> dict[tuple[str, str], Score]:
    """Read a cell's scores by rule and metric from its rows of the score table."""
    return {
        (str(row["rule"]), str(row["metric"])): _score(row)
        for row in table.to_dict("records")
        if not pd.isna(row["value"])
    }


def _score(row: Mapping[Any, Any]) -> Score:
    value, low, high, sd = (float(row[name]) for name in ("value", "low", "high", "sd"))
    interval = None if math.isnan(low) else Interval(low, high, int(row["n_units"]))
    return Score(value, interval, None if math.isnan(sd) else sd)


def _column(block: Block, scores: Scores, wanted: tuple[str, str], corpus: str) -> list[Shown]:
    metric, rule = wanted
    places = [(*row, corpus) for row in block.matrix.rows]
    by = {place: _rule_of(block.matrix.cells.get(place), rule) for place in places}
    own = {place: scores[place, by[place], metric] for place in places if (place, by[place], metric) in scores}
    short = {place: SHORT_MARK for place, cell in block.matrix.cells.items() if cell.is_short}
    best = max((score.value for place, score in own.items() if place not in short), default=None)
    contest = block.contests.get(metric, {}).get(corpus) if rule == "nested" else None
    column = []
    for place in places:
        if place in own:
            is_best = own[place].value == best and place not in short
            verdict = contest.verdict(place[:2]) if contest else "best" if is_best else ""
            mark = short.get(place, MARKS[verdict])
            column.append(Shown(f"{own[place].value:.3f}", own[place], is_best, mark))
        elif rule == "nested" and (place, "default", metric) in scores:
            score = scores[place, "default", metric]
            column.append(Shown(f"{score.value:.3f}", score, mark=DEFAULT_MARK + short.get(place, "")))
        else:
            column.append(Shown(NOTHING))
    return column


def _rule_of(cell: CellOutcomes | None, rule: str) -> str:
    """Predictions of another system stand beside nested ones, as in Table 2."""
    return GIVEN if rule == "nested" and cell is not None and cell.is_outside else rule


def _chance(block: Block, metric: str) -> tuple[str, ...]:
    """The row of chance of Table 2; other metrics have none."""
    rows = block.tables[metric].rows if metric in block.tables else ()
    return tuple(entry.text for entry in rows[0][2:]) if rows and rows[0][0].text == "chance" else ()


def _table(block: Block, metric: str, rule: str, rows: Sequence[Sequence[Shown]], chance: Sequence[str]) -> Table:
    """Put a view into a table for readers; Table 2 itself where it is the same."""
    if rule == "nested" and metric in block.tables:
        return block.tables[metric]
    like = block.tables["kappa"]  # without marks, as only UAR and WAR are tested
    body: list[tuple[Entry, ...]] = [
        (*labels, *map(_entry, row)) for labels, row in zip(block.labels, rows, strict=True)
    ]
    top = [(Entry("chance"), Entry(""), *map(Entry, chance))] if chance else []
    title = f"{METRIC_NAMES.get(metric, metric)}, {RULE_NAMES[rule]}: {block.matrix.variant.title}"
    chosen = _RULE_SENTENCES[rule].format(validation=block.matrix.validation)
    first = f"{block.matrix.description} {chosen}; values are {_pooled(metric)}."
    others = (note for note in like.notes[1:] if rule == "nested" or not note.startswith(DEFAULT_MARK))
    stem, shown = f"table2-{metric}-{rule}", [*top, *body]
    return make_table(stem, title, like.header, shown, n_labels=2, notes=[first, *others], cells=like.cells)


def _entry(shown: Shown) -> Entry:
    if shown.score is None:
        return Entry(NOTHING)
    text = shown.text + "".join(mark for mark in shown.mark if mark in (DEFAULT_MARK, SHORT_MARK))
    return Entry(text, shown.interval, shown.best)


def _pooled(metric: str) -> str:
    return (
        "means over folds, each over the emotions it has"
        if metric in FOLD_METRICS
        else "pooled over all test utterances"
    )
