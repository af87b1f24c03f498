"""Metrics, each defined once, on stacks of confusion matrices.

A confusion matrix has the truth as rows and the predictions as columns. Every metric takes any number of matrices,
shape (..., n_emotions, n_emotions), and returns an array of shape (...): of a cell, of each fold, or of each pool
without one speaker. UAR and macro F1 average over the emotions that have utterances; an empty pool has NaN. A new
metric is a function and its entry in `METRICS`, where tables, the page and the command line have its names from.

=========  ====================================================  ==========================================
uar        unweighted average recall, the headline                Schuller et al., INTERSPEECH 2009
war        weighted average recall, that is accuracy              Schuller et al., INTERSPEECH 2009
kappa      Cohen's kappa, agreement beyond chance                 Cohen, Educ. and Psychol. Measurement 1960
macro_f1   F1 of each emotion, averaged without weights           Opitz and Burst, arXiv:1911.03347 (F-bar)
=========  ====================================================  ==========================================
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from serbench.errors import ScoreError

Coded = tuple[np.ndarray, list[str]]
"""A column as codes of its values, -1 for none, and the values."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A function of confusion matrices, to be called as one, and all that a report must know of it.

    Parameters
    ----------
    function : confusion matrices, shape (..., n_emotions, n_emotions) -> values, shape (...); a number for one matrix.
    name, short_name : what titles of tables call the metric, and what the page calls it.
    bounds : the least and the largest value, where intervals end.
    has_chance : the value of always predicting the most frequent emotion is what chance gives.
    is_table : Table 2 by this metric is a file of the report; by the others it is on the page only.
    is_over_folds : its mean over folds is a metric too, called `KEY_folds`.
    shares : stack, shape (n_units, n_emotions, n_emotions) -> what each unit adds to the value of the pool. Only sums
        over units have them, and only these have tests: flipping the sign of a difference swaps two predictions there.
    """

    function: Callable[[np.ndarray], Any]
    name: str
    short_name: str
    bounds: tuple[float, float] = (0, 1)
    has_chance: bool = False
    is_table: bool = False
    is_over_folds: bool = False
    shares: Callable[[np.ndarray], np.ndarray] | None = None

    def __call__(self, confusion: np.ndarray) -> Any:
        """Return the values of confusion matrices."""
        return self.function(confusion)

    def chance(self, counts: np.ndarray) -> float | None:
        """Return what chance gives for so many utterances of each emotion; None where that is not defined."""
        guessed = np.zeros((len(counts), len(counts)), dtype=np.int64)
        guessed[:, np.argmax(counts)] = counts
        return float(self(guessed)) if self.has_chance else None


def confusions(rows: pd.DataFrame, *by: str, n_emotions: int) -> np.ndarray:
    """Count predictions by the values of columns such as `unit` or `fold`, by truth and by prediction.

    Truth and prediction are codes 0 .. n_emotions - 1. Rows without a value in a column are left out; values come in
    the order of their categories, others sorted. The shape is (n_values of each column ..., n_emotions,
    n_emotions).

    >>> rows = pd.DataFrame({"unit": ["b", "a", "b"], "truth": [0, 0, 1], "prediction": [0, 1, 1]})
    >>> confusions(rows, "unit", n_emotions=2).tolist()
    [[[0, 1], [0, 0]], [[1, 0], [0, 1]]]
    """
    columns = [coded(rows[name]) for name in by]
    truth, prediction = (rows[name].to_numpy(np.int64) for name in ("truth", "prediction"))
    return count_pairs(truth, prediction, columns, n_emotions)


def count_pairs(truth: np.ndarray, prediction: np.ndarray, by: Sequence[Coded], n_emotions: int) -> np.ndarray:
    """Count pairs of codes as `confusions` does, by columns as `coded` returns them."""
    for name, of in (("truth", truth), ("prediction", prediction)):
        if len(of) and not 0 <= of.min() <= of.max() < n_emotions:
            raise ScoreError("scoring", f"{name} codes {of.min()}..{of.max()}", f"0..{n_emotions - 1}")
    axes: list[np.ndarray] = [*(codes for codes, _ in by), truth, prediction]
    if any(-1 in codes for codes, _ in by):
        there = np.all([codes >= 0 for codes, _ in by], axis=0)
        axes = [axis[there] for axis in axes]
    shape = (*(len(values) for _, values in by), n_emotions, n_emotions)
    index: np.ndarray = np.ravel_multi_index(axes, shape) if len(axes[0]) else axes[0][:0]
    return np.bincount(index, minlength=math.prod(shape)).reshape(shape)


def coded(column: pd.Series) -> Coded:
    """Return where the value of each row is among those of a column that occur, -1 for none, and the values."""
    if not isinstance(column.dtype, pd.CategoricalDtype):
        places, values = pd.factorize(column, sort=True)
        return places, [str(value) for value in values]
    codes = column.cat.codes.to_numpy()
    used = np.unique(codes[codes >= 0])
    place = np.full(len(column.cat.categories) + 1, -1)  # its last for the code -1
    place[used] = np.arange(len(used))
    return place[codes], [str(value) for value in column.cat.categories[used]]


def recalls(confusion: np.ndarray) -> Any:
    """Recall of each emotion, NaN for one that has no utterance; shape (..., n_emotions)."""
    return _ratio(_hits(confusion), confusion.sum(axis=-1))


def uar(confusion: np.ndarray) -> Any:
    """Unweighted average recall; chance is 1 / n_emotions.

    The value of a single matrix is the number nearest to the exact one, so that equal values are equal numbers.

    >>> uar(np.array([[1, 1], [0, 2]]))
    0.75
    """
    if confusion.ndim == 2:
        return uar_of_each(confusion[np.newaxis])[0]
    totals = confusion.sum(axis=-1)
    return _ratio(_ratio(_hits(confusion), totals, nothing=0).sum(axis=-1), (totals > 0).sum(axis=-1))


def uar_of_each(stack: np.ndarray) -> list[float]:
    """UAR of each matrix of a stack, shape (n, n_emotions, n_emotions), as exact as that of a single matrix."""
    values = []
    for hits, totals in zip(_hits(stack).tolist(), stack.sum(axis=-1).tolist(), strict=True):
        present = [(hit, n) for hit, n in zip(hits, totals, strict=True) if n]
        whole = math.lcm(*(n for _, n in present))
        total = sum(hit * (whole // n) for hit, n in present)
        values.append(total / (whole * len(present)) if present else math.nan)
    return values


def war(confusion: np.ndarray) -> Any:
    """Weighted average recall, that is accuracy.

    >>> float(war(np.array([[1, 1], [0, 2]])))
    0.75
    """
    return _ratio(_hits(confusion).sum(axis=-1), confusion.sum(axis=(-2, -1)))


def kappa(confusion: np.ndarray) -> Any:
    """Cohen's kappa; 0 when truth and prediction are one and the same single emotion.

    >>> round(float(kappa(np.array([[20, 5], [10, 15]]))), 3)
    0.4
    """
    pairs = (confusion.sum(axis=-1) * confusion.sum(axis=-2)).sum(axis=-1)
    expected = _ratio(pairs, confusion.sum(axis=(-2, -1)).astype(float) ** 2)
    return np.nan_to_num(_ratio(war(confusion) - expected, 1 - expected))


def macro_f1(confusion: np.ndarray) -> Any:
    """F1 averaged over the emotions that have utterances.

    >>> round(float(macro_f1(np.array([[1, 1], [0, 2]]))), 3)
    0.733
    """
    totals = confusion.sum(axis=-1)
    f1 = _ratio(2 * _hits(confusion), totals + confusion.sum(axis=-2), nothing=0)
    return _ratio((f1 * (totals > 0)).sum(axis=-1), (totals > 0).sum(axis=-1))


def uar_shares(stack: np.ndarray) -> np.ndarray:
    """What each unit adds to the pooled UAR: their sum is the UAR; shape (n_units,)."""
    totals = stack.sum(axis=(0, 2))
    if not totals.all():
        raise ScoreError("testing", f"no utterance of label {int(np.argmin(totals))}", "every emotion in the pool")
    return np.asarray((np.diagonal(stack, axis1=1, axis2=2) / totals).sum(axis=1) / len(totals))


def war_shares(stack: np.ndarray) -> np.ndarray:
    """What each unit adds to the pooled accuracy; shape (n_units,)."""
    return np.asarray(np.diagonal(stack, axis1=1, axis2=2).sum(axis=1) / stack.sum())


def _hits(confusion: np.ndarray) -> np.ndarray:
    return np.diagonal(confusion, axis1=-2, axis2=-1)


def _ratio(above: Any, below: Any, *, nothing: float = math.nan) -> Any:
    """Divide; `nothing` where there is nothing to divide by."""
    return np.divide(above, below, out=np.full(np.shape(below), float(nothing)), where=below != 0)[()]


METRICS = {
    "uar": Metric(
        uar,
        "Unweighted average recall (UAR)",
        "UAR",
        has_chance=True,
        is_table=True,
        is_over_folds=True,
        shares=uar_shares,
    ),
    "war": Metric(
        war, "Accuracy (WAR)", "Accuracy (WAR)", has_chance=True, is_table=True, is_over_folds=True, shares=war_shares
    ),
    "kappa": Metric(kappa, "Cohen's kappa", "Cohen's kappa", bounds=(-1, 1), has_chance=True, is_table=True),
    "macro_f1": Metric(macro_f1, "Macro F1", "Macro F1"),
}
"""Metrics of the pool of a cell's test utterances."""
FOLD_METRICS = {
    f"{key}_folds": replace(metric, name=of_folds, short_name=of_folds, has_chance=False, is_table=False, shares=None)
    for key, metric in METRICS.items()
    if metric.is_over_folds and (of_folds := f"{metric.short_name}, mean over folds")
}
"""Metrics of each fold, averaged over the folds."""
ALL_METRICS = METRICS | FOLD_METRICS
"""Every number that a report has of a cell."""
