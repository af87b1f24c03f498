"""Matrices -> what can be concluded from them: each cell against the best of its corpus, ranks over corpora."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from serbench.report.matrices import Matrix, in_corpus_order
from serbench.scores.metrics import METRICS, uar_of_present
from serbench.scores.outcomes import CellOutcomes
from serbench.scores.scores import has_all_emotions, pool_confusion, unit_stack
from serbench.scores.statistics import ALPHA, SHARES, Comparison, Ranking, against_best, rank_over, smallest_p

RowName = tuple[str, str]
"""Feature set and classifier."""


@dataclass(frozen=True, slots=True)
class Contest:
    """The cells of one corpus by one metric: the best, and how each other differs, on the utterances all have.

    `references` are the rows that are no contenders: they are tested against all contenders, in families of their own.
    """

    corpus: str
    metric: str
    best: RowName
    others: Mapping[RowName, Comparison]
    n_utterances: int
    unit: str
    n_units: int
    references: frozenset[RowName] = frozenset()

    @property
    def is_testable(self) -> bool:
        """Whether so few units can tell anything apart."""
        return smallest_p(self.n_units) <= ALPHA

    @property
    def n_contenders(self) -> int:
        """Rows that stand against each other."""
        return len(self.others) + 1 - len(self.references)

    def n_tests(self, row: RowName) -> int:
        """Tests in the family of a row: all pairs of contenders, or a reference against each of them."""
        return self.n_contenders if row in self.references else math.comb(self.n_contenders, 2)

    def verdict(self, row: RowName) -> str:
        """`best`, `worse`, `tie` (cannot be told apart from the best) or `untestable`; empty for what takes no part.

        A reference that is above the best contender is `better`.
        """
        if row == self.best:
            return "best"
        if row not in self.others:
            return ""
        if not self.is_testable:
            return "untestable"
        if not self.others[row].is_different:
            return "tie"
        return "worse" if self.others[row].difference > 0 else "better"

    @property
    def sentence(self) -> str:
        """How many comparisons the verdicts rest on, or why there are none."""
        units = f"{self.n_units} {self.unit}{'s' if self.n_units > 1 else ''}"
        if not self.is_testable:
            return f"differences cannot be tested, as over {units} p cannot be below {smallest_p(self.n_units):.2g}"
        n, kind = math.comb(self.n_contenders, 2), "cells"
        if not n:
            n, kind = len(self.references), "a cell and a dummy"
        return f"{n} pair{'s' if n != 1 else ''} of {kind} compared, over {units}"


Contests = Mapping[str, Mapping[str, Contest]]
"""Metric -> corpus -> contest."""


def contests(matrix: Matrix) -> Contests:
    """Compare the nested values, and those of other systems, of every corpus that has at least two."""
    return {metric: _of_corpora(matrix, metric) for metric in SHARES}


def _of_corpora(matrix: Matrix, metric: str) -> dict[str, Contest]:
    found = {}
    for corpus in matrix.corpora:
        cells = {place[:2]: cell for place, cell in matrix.cells.items() if place[2] == corpus}
        taking_part = {row: cells[row] for row in matrix.rows if row in cells and cells[row].contender}
        common = matrix.common[corpus]
        if len(taking_part) > 1 and has_all_emotions(next(iter(taking_part.values())), common):
            found[corpus] = _contest(corpus, metric, taking_part, common)
    return found


def _contest(corpus: str, metric: str, cells: Mapping[RowName, CellOutcomes], common: Sequence[str]) -> Contest:
    stacks = {row: unit_stack(cell, contender, common) for row, cell in cells.items() if (contender := cell.contender)}
    references = frozenset(row for row, cell in cells.items() if cell.is_reference)
    references = references if len(references) < len(cells) else frozenset()  # alone, dummies are held against dummies
    best, others = against_best(stacks, metric, references=references)
    unit, n_units = cells[best].unit, len(stacks[best])
    return Contest(corpus, metric, best, others, len(common), unit, n_units, references)


def ranking(matrix: Matrix, metric: str) -> Ranking | None:
    """Rank the rows that have a nested value, or one of another system, in every corpus; references are left out."""
    values: dict[str, list[float]] = {}
    for row in matrix.rows:
        of_row = [matrix.cells.get((*row, corpus)) for corpus in matrix.corpora]
        cells = [(cell, cell.contender) for cell in of_row if cell is not None and cell.contender is not None]
        pools = [(*pair, matrix.common[corpus]) for pair, corpus in zip(cells, matrix.corpora, strict=False)]
        if any(cell.is_reference for cell, _ in cells):
            continue
        if len(cells) == len(matrix.corpora) and all(has_all_emotions(cell, common) for cell, _, common in pools):
            sums = [unit_stack(*pool).sum(axis=0) for pool in pools]
            values[" ".join(row)] = [METRICS[metric](total) for total in sums]
    return rank_over(values)


def difference_table(compared: Iterable[tuple[Matrix, Contests]]) -> pd.DataFrame:
    """One row per variant, corpus, metric and cell that is not the best: the difference, its interval and verdict."""
    rows = [row for matrix, found in compared for row in _difference_rows(matrix, found)]
    return pd.DataFrame(rows, columns=list(rows[0]) if rows else ["corpus", "metric"])


def _difference_rows(matrix: Matrix, found: Contests) -> Iterable[dict[str, Any]]:
    for contest in (contest for of_metric in found.values() for contest in of_metric.values()):
        for row, comparison in contest.others.items():
            interval = comparison.interval
            yield {
                "table": matrix.variant.title,
                "corpus": contest.corpus,
                "metric": contest.metric,
                "features": row[0],
                "classifier": row[1],
                "best_features": contest.best[0],
                "best_classifier": contest.best[1],
                "below_best": comparison.difference,
                "low": interval.low if interval else None,
                "high": interval.high if interval else None,
                "p": comparison.p,
                "verdict": contest.verdict(row),
                "n_comparisons": contest.n_tests(row),
                "unit": contest.unit,
                "n_units": contest.n_units,
                "n_utterances": contest.n_utterances,
            }


def claimed_gain(cell: CellOutcomes) -> float:
    """How much higher the UAR is when settings are chosen on the test data."""
    oracle, nested = (uar_of_present(pool_confusion(cell, cell.outcomes[rule])) for rule in ("oracle", "nested"))
    return float(oracle - nested)


def claim_sentence(matrix: Matrix) -> str:
    """How many points tuning on the test data would have added; empty where no cell has both rules."""
    gains = [(claimed_gain(cell), place) for place, cell in in_corpus_order(matrix) if _is_tuned(cell)]
    if not gains:
        return ""
    largest, (features, classifier, corpus) = max(gains)
    mean = sum(gain for gain, _ in gains) / len(gains)
    return (
        f"Settings tuned on the test data would have claimed {100 * mean:.1f} points more on average, "
        f"at most {100 * largest:.1f} ({corpus}, {features}, {classifier}): see rules.md."
        if largest > 0
        else ""
    )


def _is_tuned(cell: CellOutcomes) -> bool:
    """Whether there was something to choose, and it was chosen both ways."""
    return {"nested", "oracle"} <= set(cell.outcomes) and len(cell.record["settings"]) > 1
