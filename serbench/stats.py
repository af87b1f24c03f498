"""Intervals, paired tests and ranks: pure functions on confusion matrices of independent units.

Conventions: the unit is the speaker, or the session where speakers talk to each other, never the utterance. A `stack`
has shape (n_units, ...): what each unit adds to a total, e.g. confusion matrices (n_units, n_labels, n_labels). A
statistic takes totals, any number of them along the first axes, so that leaving each unit out is one subtraction.

==================  ==========================================================================================
jackknife_interval  delete-one jackknife with Student's t (Tukey, Ann. Math. Statist. 1958; Efron and Stein 1981)
against_best        sign-flip tests over units (Fisher 1935), corrected by Holm (Scand. J. Statist. 1979), and held
                    to Tukey's range, as the best was picked on the same data
compare_over        Friedman's test and mean ranks over corpora (Demsar, J. Mach. Learn. Res. 2006)
==================  ==========================================================================================

What these do on data with known truth is in `docs/statistics.md`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from serbench.errors import ScoreError

LEVEL = 0.95
"""Level of every interval."""
ALPHA = 0.05
"""Level of every test, after correction."""
EXACT_UP_TO = 13
"""Units up to which all 2**n_units sign flips are looked at; above, `FLIPS` random ones and the observed one."""
FLIPS = 9_999
TINY = 1e-12
"""What sums of shares may differ by for want of digits."""
DIAGRAM_FROM = 8
"""Corpora from which on mean ranks can part methods well enough for a critical-difference diagram."""

Statistic = Callable[[np.ndarray], np.ndarray]
"""Totals of shape (n, ...) -> values of shape (n,)."""
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Interval:
    """A confidence interval, and from how many units."""

    low: float
    high: float
    n_units: int

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends."""
        return self.low, self.high


def jackknife_interval(
    stack: np.ndarray, statistic: Statistic, *, bounds: tuple[float, float], level: float = LEVEL
) -> Interval | None:
    """Return the interval of a statistic over units, or None for a single unit.

    Parameters
    ----------
    stack : shape (n_units, ...); its sum over units is what `statistic` takes.
    bounds : the least and the largest value that the statistic can have; the interval is cut there.
    level : of the interval; more than `LEVEL` where several intervals are to hold together.

    >>> hits = np.array([[8, 10], [6, 10], [7, 10]])
    >>> interval = jackknife_interval(hits, lambda totals: totals[:, 0] / totals[:, 1], bounds=(0, 1))
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.452, 0.948)
    """
    from scipy.stats import t

    n = len(stack)
    if n < 2:
        return None
    reach = float(t.ppf((1 + level) / 2, n - 1)) * math.sqrt(jackknife_variance(stack, statistic))
    value = statistic(stack.sum(axis=0, keepdims=True))[0]
    return Interval(float(max(bounds[0], value - reach)), float(min(bounds[1], value + reach)), n)


def gap_interval(
    first: np.ndarray,
    second: np.ndarray,
    statistic: Statistic,
    *,
    bounds: tuple[float, float],
    level: float = LEVEL,
) -> Interval | None:
    """Return the interval of what a statistic of some units has more than that of other units (after Welch 1947).

    Each side is jackknifed by itself, as few units on one side tell little however many the other has; None where a
    side has a single unit.
    """
    from scipy.stats import t

    if min(len(first), len(second)) < 2:
        return None
    sides = [first, second]
    variances = [jackknife_variance(side, statistic) for side in sides]
    total = sum(variances)
    shares = [variance**2 / (len(side) - 1) for variance, side in zip(variances, sides, strict=True)]
    free = total**2 / sum(shares) if sum(shares) else len(first) + len(second) - 2
    gap = float(statistic(first.sum(axis=0, keepdims=True))[0] - statistic(second.sum(axis=0, keepdims=True))[0])
    reach = float(t.ppf((1 + level) / 2, free)) * math.sqrt(total)
    return Interval(max(bounds[0], gap - reach), min(bounds[1], gap + reach), len(first) + len(second))


def jackknife_variance(stack: np.ndarray, statistic: Statistic) -> float:
    """Variance of a statistic, from leaving out each unit."""
    n = len(stack)
    without = statistic(stack.sum(axis=0, keepdims=True) - stack)
    return (n - 1) / n * float(((without - without.mean()) ** 2).sum())


def uars(confusions: np.ndarray) -> np.ndarray:
    """UAR of each pool over the emotions it has, NaN for an empty one; shape (..., n_labels, n_labels) to (...)."""
    totals = confusions.sum(axis=-1)
    hits = np.diagonal(confusions, axis1=-2, axis2=-1)
    recalls = np.divide(hits, totals, out=np.zeros(totals.shape), where=totals > 0)
    return _ratio(recalls.sum(axis=-1), (totals > 0).sum(axis=-1))


def wars(confusions: np.ndarray) -> np.ndarray:
    """Accuracy of each pool, NaN for an empty one."""
    return _ratio(np.trace(confusions, axis1=-2, axis2=-1), confusions.sum(axis=(-2, -1)))


def kappas(confusions: np.ndarray) -> np.ndarray:
    """Cohen's kappa of each pool."""
    n = confusions.sum(axis=(-2, -1))
    expected = _ratio((confusions.sum(axis=-1) * confusions.sum(axis=-2)).sum(axis=-1), n.astype(float) ** 2)
    kappa: np.ndarray = np.nan_to_num(_ratio(wars(confusions) - expected, 1 - expected))
    return kappa


def macro_f1s(confusions: np.ndarray) -> np.ndarray:
    """Macro F1 of each pool over the emotions it has."""
    totals = confusions.sum(axis=-1)
    both = totals + confusions.sum(axis=-2)
    f1 = np.nan_to_num(_ratio(2 * np.diagonal(confusions, axis1=-2, axis2=-1), both))
    return _ratio((f1 * (totals > 0)).sum(axis=-1), (totals > 0).sum(axis=-1))


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    ratio: np.ndarray = np.divide(above, below, out=np.full(np.shape(below), np.nan), where=below != 0)
    return ratio


STATISTICS: dict[str, Statistic] = {"uar": uars, "war": wars, "kappa": kappas, "macro_f1": macro_f1s}
"""The metrics of `serbench.metrics`, of many pools at once; UAR and F1 are averaged over the emotions present, as a
unit left out may have been the only one with an emotion."""


def uar_shares(stack: np.ndarray) -> np.ndarray:
    """What each unit adds to the pooled UAR: their sum is the UAR; shape (n_units,)."""
    totals = stack.sum(axis=(0, 2))
    if not totals.all():
        raise ScoreError("testing", f"no utterance of label {int(np.argmin(totals))}", "every emotion in the pool")
    hits = np.diagonal(stack, axis1=1, axis2=2)
    shares: np.ndarray = (hits / totals).sum(axis=1) / len(totals)
    return shares


def war_shares(stack: np.ndarray) -> np.ndarray:
    """What each unit adds to the pooled accuracy; shape (n_units,)."""
    hits = np.diagonal(stack, axis1=1, axis2=2).sum(axis=1)
    shares: np.ndarray = hits / stack.sum()
    return shares


SHARES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"uar": uar_shares, "war": war_shares}
"""Metrics that are sums over units, so that flipping the sign of a unit's difference swaps two predictions there."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A difference between two sets of predictions: its interval, and p after correction (None: cannot be tested)."""

    difference: float
    interval: Interval | None
    p: float | None

    @property
    def is_different(self) -> bool:
        """Whether the two can be told apart."""
        return self.p is not None and self.p <= ALPHA


def smallest_p(n_units: int) -> float:
    """Return the smallest p that a two-sided sign-flip test can reach.

    >>> smallest_p(4), smallest_p(6)
    (0.125, 0.03125)
    """
    return float(2 / min(2**n_units, FLIPS + 1)) if n_units > EXACT_UP_TO else float(2 / 2**n_units)


def can_be_tested(n_units: int, n_comparisons: int) -> bool:
    """Whether the first of so many comparisons could reach the level after Holm's correction."""
    return n_comparisons > 0 and smallest_p(n_units) * n_comparisons <= ALPHA


def sign_flip_p(differences: np.ndarray) -> float:
    """Two-sided p of a sum of differences, one for each unit, when the sign of each is a coin's toss.

    >>> sign_flip_p(np.array([0.1, 0.2, 0.1, 0.3, 0.1, 0.2]))
    0.03125
    """
    from scipy.stats import permutation_test

    if abs(differences.sum()) < TINY:
        return 1.0
    n_flips = np.inf if len(differences) <= EXACT_UP_TO else FLIPS
    flipped = permutation_test(
        (differences,), np.sum, permutation_type="samples", n_resamples=n_flips, vectorized=True, rng=0
    )
    return float(flipped.pvalue)


def holm(p: Sequence[float]) -> np.ndarray:
    """Correct p values for their number (Holm 1979): the smallest counts for all, the next for one less, and so on.

    >>> holm([0.01, 0.04, 0.02]).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    values = np.asarray(p, dtype=float)
    order = np.argsort(values)
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return corrected


def against_best(stacks: Mapping[Name, np.ndarray], metric: str) -> tuple[Name, dict[Name, Comparison]]:
    """Compare each set of predictions with the best one, which is the first of equals.

    Parameters
    ----------
    stacks : name -> confusion matrices, shape (n_units, n_labels, n_labels), of the same utterances.
    metric : one of `SHARES`.

    Returns
    -------
    the name of the best, and how each of the others differs from it.

    A p is that of the sign-flip test after Holm's correction for the number of comparisons. Where that would tell the
    two apart, it is that of Tukey's range test if this is larger: the best was picked on the same data, and without
    the range test one of ten equal classifiers would often be called worse.
    """
    shares = {name: SHARES[metric](stack) for name, stack in stacks.items()}
    best = max(shares, key=lambda name: round(float(shares[name].sum()), 12))
    others = [name for name in shares if name != best]
    gaps = {name: shares[best] - shares[name] for name in others}
    corrected = _corrected(shares, best, gaps)
    compared = {}
    for name in others:
        pair = np.stack([stacks[best], stacks[name]], axis=1)
        interval = jackknife_interval(pair, difference_of(STATISTICS[metric]), bounds=(-1, 1))
        compared[name] = Comparison(float(gaps[name].sum()), interval, corrected[name])
    return best, compared


def _corrected(
    shares: Mapping[Name, np.ndarray], best: Name, gaps: Mapping[Name, np.ndarray]
) -> Mapping[Name, float | None]:
    n_units = len(shares[best])
    if not can_be_tested(n_units, len(gaps)):
        return dict.fromkeys(gaps)
    p = holm([sign_flip_p(gap) for gap in gaps.values()])
    told_apart = p <= ALPHA
    sums = np.array([gap.sum() for gap in gaps.values()])
    by_range = range_p(np.array(list(shares.values())).T, sums[told_apart])
    p[told_apart] = np.maximum(p[told_apart], by_range)
    return dict(zip(gaps, p.tolist(), strict=True))


def range_p(shares: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """P that the best and the worst of equal methods lie so far apart (Tukey's range test, units as blocks).

    Parameters
    ----------
    shares : what each unit adds to the value of each method, shape (n_units, n_methods).
    gaps : differences between values of methods.

    With two methods this is the paired t-test.
    """
    from scipy.stats import studentized_range

    n_units, n_methods = shares.shape
    free = (n_units - 1) * (n_methods - 1)
    residual = shares - shares.mean(axis=0) - shares.mean(axis=1, keepdims=True) + shares.mean()
    error = math.sqrt(float((residual**2).sum()) / free * n_units)
    if error < np.finfo(float).eps:
        return np.where(np.abs(gaps) < np.finfo(float).eps, 1.0, 0.0)
    p: np.ndarray = studentized_range.sf(np.abs(gaps) / error, n_methods, free)
    return p


def difference_of(statistic: Statistic) -> Statistic:
    """Statistic of pairs of totals: that of the first less that of the second."""
    return lambda pairs: statistic(pairs[:, 0]) - statistic(pairs[:, 1])


@dataclass(frozen=True, slots=True)
class Ranking:
    """Methods over corpora: mean ranks (1 is best), Friedman's p, and Nemenyi's critical difference of mean ranks."""

    mean_ranks: Mapping[str, float]
    n_corpora: int
    p: float
    critical_difference: float

    @property
    def can_be_drawn(self) -> bool:
        """Whether there are enough corpora for a critical-difference diagram."""
        return self.n_corpora >= DIAGRAM_FROM


def rank_over(values: Mapping[str, Sequence[float]]) -> Ranking | None:
    """Rank methods within each corpus and test whether any differ; None with fewer than 3 methods or 2 corpora.

    Parameters
    ----------
    values : method -> its value in each corpus, the corpora in the same order; speakers of corpora are different
        people, so that corpora are independent.

    >>> ranking = rank_over({"svc": [0.7, 0.6, 0.5], "rf": [0.6, 0.5, 0.4], "knn": [0.5, 0.4, 0.3]})
    >>> ranking.mean_ranks["svc"], round(ranking.p, 3), round(ranking.critical_difference, 2)
    (1.0, 0.05, 1.91)
    """
    from scipy.stats import friedmanchisquare, rankdata, studentized_range

    table = np.array([list(of_method) for of_method in values.values()])
    n_methods, n_corpora = table.shape if table.ndim == 2 else (0, 0)
    if n_methods < 3 or n_corpora < 2:
        return None
    ranks = rankdata(-table, axis=0)
    p = 1.0 if not np.ptp(ranks) else float(friedmanchisquare(*table).pvalue)
    q = float(studentized_range.ppf(1 - ALPHA, n_methods, np.inf))
    difference = q / math.sqrt(2) * math.sqrt(n_methods * (n_methods + 1) / (6 * n_corpora))
    return Ranking(dict(zip(values, ranks.mean(axis=1).tolist(), strict=True)), n_corpora, p, difference)
