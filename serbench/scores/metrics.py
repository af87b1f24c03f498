"""Metrics: pure functions on labels.

Conventions: `truth` and `prediction` are label codes of shape (n_utterances,), in the same order; `n_labels` emotions
have the codes 0 .. n_labels - 1, always given, never inferred from the data at hand. Values lie in 0..1, kappa in
-1..1.

=========  ====================================================  ==========================================
uar        unweighted average recall, the headline                Schuller et al., INTERSPEECH 2009
war        weighted average recall, that is accuracy              Schuller et al., INTERSPEECH 2009
kappa      Cohen's kappa, agreement beyond chance                 Cohen, Educ. and Psychol. Measurement 1960
macro_f1   F1 of each emotion, averaged without weights           Opitz and Burst, arXiv:1911.03347 (F-bar)
=========  ====================================================  ==========================================
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from serbench.errors import ScoreError


def confusion_matrix(truth: np.ndarray, prediction: np.ndarray, *, n_labels: int) -> np.ndarray:
    """Count utterances by truth (rows) and prediction (columns).

    Returns
    -------
    integers, shape (n_labels, n_labels).

    Raises
    ------
    ScoreError : lengths differ, or a code is out of range.

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), n_labels=2).tolist()
    [[1, 1], [0, 1]]
    """
    if len(truth) != len(prediction):
        raise ScoreError("scoring", f"{len(truth)} labels and {len(prediction)} predictions", "one for each utterance")
    for name, codes in (("truth", truth), ("prediction", prediction)):
        if len(codes) and not 0 <= codes.min() <= codes.max() < n_labels:
            raise ScoreError("scoring", f"{name} codes {codes.min()}..{codes.max()}", f"0..{n_labels - 1}")
    cells = np.asarray(truth, dtype=np.int64) * n_labels + np.asarray(prediction, dtype=np.int64)
    counts: np.ndarray = np.bincount(cells, minlength=n_labels**2)
    return counts.reshape(n_labels, n_labels)


def recalls(confusion: np.ndarray) -> np.ndarray:
    """Recall of each emotion, NaN for one that has no utterance; shape (n_labels,)."""
    totals = confusion.sum(axis=1)
    undefined = np.full(len(totals), np.nan)
    recall: np.ndarray = np.divide(np.diag(confusion), totals, out=undefined, where=totals > 0)
    return recall


def uar(confusion: np.ndarray) -> float:
    """Unweighted average recall of a pool that holds every emotion; chance is 1 / n_labels.

    Raises
    ------
    ScoreError : an emotion has no utterance.

    >>> uar(np.array([[1, 1], [0, 2]]))
    0.75
    """
    empty = np.flatnonzero(confusion.sum(axis=1) == 0)
    if len(empty):
        raise ScoreError("scoring", f"no utterance of label {empty[0]}", "every emotion in a pool that is scored")
    return float(exact_uar(np.diag(confusion), confusion.sum(axis=1)))


def uar_of_present(confusion: np.ndarray) -> float:
    """Unweighted average recall over the emotions present: for folds, whose speaker may lack one."""
    return float(exact_uar(np.diag(confusion), confusion.sum(axis=1)))


def exact_uar(hits: np.ndarray, totals: np.ndarray) -> Fraction:
    """Unweighted average recall over the emotions present as a fraction, so that ties between settings are exact.

    >>> exact_uar(np.array([1, 2, 0]), np.array([3, 3, 0]))
    Fraction(1, 2)
    """
    present = [Fraction(int(hit), int(total)) for hit, total in zip(hits, totals, strict=True) if total]
    if not present:
        raise ScoreError("scoring", "an empty pool", "at least one utterance")
    return sum(present, Fraction(0)) / len(present)


def war(confusion: np.ndarray) -> float:
    """Weighted average recall, that is accuracy.

    >>> war(np.array([[1, 1], [0, 2]]))
    0.75
    """
    return float(np.diag(confusion).sum() / confusion.sum())


def kappa(confusion: np.ndarray) -> float:
    """Cohen's kappa; 0 when truth and prediction are one and the same single emotion.

    >>> round(kappa(np.array([[20, 5], [10, 15]])), 3)
    0.4
    """
    total = confusion.sum()
    expected = float(confusion.sum(axis=0) @ confusion.sum(axis=1)) / float(total) ** 2
    return 0.0 if expected == 1 else (war(confusion) - expected) / (1 - expected)


def macro_f1(confusion: np.ndarray) -> float:
    """F1 averaged over emotions; an emotion that is neither true nor predicted counts 0.

    >>> round(macro_f1(np.array([[1, 1], [0, 2]])), 3)
    0.733
    """
    both = confusion.sum(axis=0) + confusion.sum(axis=1)
    f1 = np.divide(2.0 * np.diag(confusion), both, out=np.zeros(len(both)), where=both > 0)
    return float(f1.mean())


METRICS: dict[str, Callable[[np.ndarray], float]] = {"uar": uar, "war": war, "kappa": kappa, "macro_f1": macro_f1}
"""Metrics of a pool, from its confusion matrix."""
FOLD_METRICS: dict[str, Callable[[np.ndarray], float]] = {"uar_folds": uar_of_present, "war_folds": war}
"""Metrics of each fold, averaged over the folds."""
BOUNDS: dict[str, tuple[float, float]] = {"uar": (0, 1), "war": (0, 1), "kappa": (-1, 1), "macro_f1": (0, 1)}
"""The least and the largest value of every metric of a pool."""
