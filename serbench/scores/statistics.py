"""Intervals, paired tests and ranks: pure functions on confusion matrices of independent units.

The unit is the speaker, or the session where speakers talk to each other, never the utterance. A `stack` has shape
(n_units, ...): what each unit adds to a total, such as its confusion matrix. A statistic takes totals, any number of
them along the first axis. `docs/statistics.md` shows what these do on data with known truth.

==================  ==========================================================================================
jackknife_interval  delete-one jackknife with Student's t (Tukey, Ann. Math. Statist. 1958; Efron and Stein 1981)
flip_p              sign-flip tests over units (Fisher 1935), corrected for all tests of a family by the largest
                    sum (Westfall and Young, Resampling-Based Multiple Testing, 1993, step-down max-T)
rank_over           mean ranks over corpora and Friedman's statistic (Demsar, J. Mach. Learn. Res. 2006), its p by
                    permuting ranks within corpora
==================  ==========================================================================================
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import pandas as pd

from serbench.scores.metrics import METRICS, Metric

LEVEL = 0.95
"""Level of every interval."""
ALPHA = 0.05
"""Level of every test, after correction."""
POWER = 0.8
"""Share of studies that shall find a difference that is there."""
EXACT_UP_TO = 13
"""Units up to which all sign flips are looked at; above, `FLIPS` random ones and the observed one."""
FLIPS = 9_999
"""Random sign flips, or permutations of ranks, where there are too many to look at all of them."""
FEWEST = 4
"""Units from which on there are intervals: fewer do not show how much units differ."""
TINY = 1e-12
"""What sums of shares may differ by for want of digits, and the width below which an interval is none."""
DIAGRAM_FROM = 8
"""Corpora from which on mean ranks can part methods well enough for a critical-difference diagram."""

Statistic = Callable[[np.ndarray], np.ndarray]
"""Totals of shape (n, ...) -> values of shape (n,)."""
Name = TypeVar("Name", bound=Hashable)


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def jackknife(stack: np.ndarray, statistic: Statistic) -> tuple[float, np.ndarray]:
    """Return a statistic of the sum of all units, and of the sums without each of them, shape (n_units,)."""
    total = stack.sum(axis=0, keepdims=True)
    values = statistic(np.concatenate([total, total - stack]))
    return float(values[0]), values[1:]


def jackknife_interval(stack: np.ndarray, statistic: Statistic, *, bounds: tuple[float, float]) -> Interval | None:
    """Return the interval of a statistic over units; None for fewer than `FEWEST`, or units that are all alike.

    Units that are all alike (a classifier that always says the same) say nothing of how other units would differ. The
    interval is cut at `bounds`, the least and the largest value that the statistic can have.

    >>> hits = np.array([[8, 10], [6, 10], [7, 10], [7, 10]])
    >>> interval = jackknife_interval(hits, lambda totals: totals[:, 0] / totals[:, 1], bounds=(0, 1))
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.57, 0.83)
    """
    return interval_of(*jackknife(stack, statistic), bounds=bounds) if len(stack) >= FEWEST else None


def interval_of(value: float, without: np.ndarray, *, bounds: tuple[float, float]) -> Interval | None:
    """Return the interval of a value from its values without each unit; None for fewer than `FEWEST`, or undefined."""
    n = len(without)
    return _interval(value, math.sqrt(_variance(without)), n - 1, bounds) if n >= FEWEST else None


def gap_interval(
    first: np.ndarray, second: np.ndarray, statistic: Statistic, *, bounds: tuple[float, float]
) -> Interval | None:
    """Return the interval of what a statistic of some units has more than that of other units (after Welch 1947).

    Each side is jackknifed by itself; None where a side has fewer than `FEWEST` units, or all units of both are alike.
    """
    return _interval(*_welch(first, second, statistic), bounds) if min(len(first), len(second)) >= FEWEST else None


def gap_p(first: np.ndarray, second: np.ndarray, statistic: Statistic, bound: float) -> float:
    """Two-sided p that units of two kinds, at least `FEWEST` of each, differ in a statistic by a bound (Welch 1947)."""
    from scipy.special import stdtr

    gap, error, free = _welch(first, second, statistic)
    return float(2 * stdtr(free, -abs(gap - bound) / error))


def _welch(first: np.ndarray, second: np.ndarray, statistic: Statistic) -> tuple[float, float, float]:
    """Return the gap between two sides, its standard error, and the degrees of freedom."""
    (one, left), (other, left_of_other) = jackknife(first, statistic), jackknife(second, statistic)
    variance, of_other = _variance(left), _variance(left_of_other)
    parts = variance**2 / (len(first) - 1) + of_other**2 / (len(second) - 1)
    free = (variance + of_other) ** 2 / parts if parts else len(first) + len(second) - 2
    return one - other, math.sqrt(variance + of_other), free


def _variance(without: np.ndarray) -> float:
    """Jackknife variance of a statistic from its values without each unit."""
    return (len(without) - 1) / len(without) * float(((without - without.mean()) ** 2).sum())


def _interval(value: float, error: float, free: float, bounds: tuple[float, float]) -> Interval | None:
    """Return the interval of a value by Student's t; None where it has no width or is undefined without some unit."""
    reach = _student(free) * error
    low, high = max(bounds[0], value - reach), min(bounds[1], value + reach)
    return Interval(float(low), float(high)) if reach > TINY else None


@functools.cache
def _student(free: float) -> float:
    """Return how many standard errors an interval reaches to either side."""
    from scipy.special import stdtrit  # scipy.stats takes longer to import than many a report

    return float(stdtrit(free, (1 + LEVEL) / 2))


def units_needed(difference: float, interval: Interval | None, n_units: int) -> int | None:
    """Return with how many units a test would find a difference like this one in four of five studies.

    The spread of units is taken from the interval of the difference. None without an interval or a difference.

    >>> units_needed(0.02, Interval(-0.02, 0.06), 10)
    62
    """
    from scipy.special import ndtri

    if interval is None or abs(difference) < TINY:
        return None
    error = (interval.high - interval.low) / 2 / _student(n_units - 1)
    reach = float(ndtri(1 - ALPHA / 2) + ndtri(POWER))
    return math.ceil(n_units * (reach * error / difference) ** 2)


SHARES = {name: metric.shares for name, metric in METRICS.items() if metric.shares}
"""Metrics that are sums over units, and so have tests."""


def shares_of(stack: np.ndarray, metric: Metric) -> tuple[np.ndarray, np.ndarray]:
    """What each unit adds to a metric, and what it would add to a value of 1: to test a value against a number.

    Metrics that are no sums over units are tested by their jackknife pseudo-values (Tukey 1958), each of equal weight.
    """
    n = len(stack)
    if metric.shares:
        perfect = np.eye(stack.shape[1], dtype=np.int64) * stack.sum(axis=2)[:, np.newaxis]
        return metric.shares(stack), metric.shares(perfect)
    total = stack.sum(axis=0, keepdims=True)
    return metric(total) - (n - 1) / n * metric(total - stack), np.full(n, 1 / n)


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
    """Return the smallest p that sign flips of so many units can reach, however many tests a family has.

    >>> smallest_p(4), smallest_p(6)
    (0.125, 0.03125)
    """
    return 1 / (FLIPS + 1) if n_units > EXACT_UP_TO else float(2 / 2**n_units)


def flip_p(contrasts: np.ndarray) -> np.ndarray:
    """P of each contrast when the signs of units are tosses of a coin, corrected for all contrasts (step-down max-T).

    `contrasts` has shape (n_units, n_contrasts): what each unit adds to each, e.g. to the difference in UAR of two
    cells. P is the share of sign flips, the same for all contrasts, in which the largest sum of all contrasts that are
    no clearer than this one is at least as large as its own; it is no less than the p of a clearer one.

    >>> flip_p(np.array([[0.1, 0.0], [0.2, 0.1], [0.1, -0.1], [0.3, 0.1], [0.1, 0.0], [0.2, 0.1]])).tolist()
    [0.03125, 0.625]
    """
    n_units = len(contrasts)
    if n_units > EXACT_UP_TO:
        drawn = np.random.default_rng(0).integers(2, size=(FLIPS, n_units)) * 2.0 - 1
        flips = np.concatenate([np.ones((1, n_units)), drawn])
    else:  # the last sign stays: turning every sign changes no absolute value
        flips = 1.0 - 2 * (np.arange(2 ** (n_units - 1))[:, np.newaxis] >> np.arange(n_units) & 1)
    observed = np.abs(contrasts.sum(axis=0))
    order = np.argsort(observed)
    n_larger = np.zeros(len(order))
    for signs in np.array_split(flips, math.ceil(len(flips) / 1000)):
        largest = np.maximum.accumulate(np.abs(signs @ contrasts[:, order]), axis=1)
        n_larger += (largest >= observed[order] - TINY).sum(axis=0)
    p = np.empty(len(order))
    p[order] = np.maximum.accumulate(n_larger[::-1])[::-1] / len(flips)
    return p


def against_best(
    stacks: Mapping[Name, np.ndarray], metric: str, *, references: Collection[Name] = ()
) -> tuple[Name, dict[Name, Comparison]]:
    """Compare each set of predictions of the same utterances with the best one, which is the first of equals.

    Returned are the name of the best, and how each of the others differs from it. `metric` is one of `SHARES`;
    `references` are no contenders.

    The family of tests is all pairs of contenders, as the best was picked on the same data. A reference is tested
    against all contenders, in a family of its own: it changes no p of theirs.
    """
    contenders = [name for name in stacks if name not in references] or list(stacks)
    shares = {name: SHARES[metric](stack) for name, stack in stacks.items()}
    best = max(contenders, key=lambda name: round(float(shares[name].sum()), 12))
    pairs = {frozenset(pair): shares[pair[0]] - shares[pair[1]] for pair in itertools.combinations(contenders, 2)}
    p = corrected(pairs)
    for reference in set(stacks) - set(contenders):
        p |= corrected({frozenset((name, reference)): shares[name] - shares[reference] for name in contenders})
    compared, widest = {}, METRICS[metric].bounds[1] - METRICS[metric].bounds[0]
    for name in (name for name in stacks if name != best):
        pair = np.stack([stacks[best], stacks[name]], axis=1)
        interval = jackknife_interval(pair, difference_of(METRICS[metric]), bounds=(-widest, widest))
        compared[name] = Comparison(float((shares[best] - shares[name]).sum()), interval, p[frozenset((best, name))])
    return best, compared


def corrected(contrasts: Mapping[Name, np.ndarray]) -> dict[Name, float | None]:
    """P of every contrast of a family, each of shape (n_units,); None where there are too few units to test any."""
    if not contrasts or smallest_p(len(next(iter(contrasts.values())))) > ALPHA:
        return dict.fromkeys(contrasts)
    return dict(zip(contrasts, flip_p(np.stack(list(contrasts.values()), axis=1)).tolist(), strict=True))


def difference_of(statistic: Statistic) -> Statistic:
    """Statistic of pairs of totals: that of the first less that of the second."""
    return lambda pairs: statistic(pairs[:, 0]) - statistic(pairs[:, 1])


@dataclass(frozen=True, slots=True)
class Ranking:
    """Methods over corpora: mean ranks (1 is best), p, and Nemenyi's critical difference of mean ranks."""

    mean_ranks: Mapping[str, float]
    n_corpora: int
    p: float
    critical_difference: float

    @property
    def can_be_drawn(self) -> bool:
        """Whether there are enough corpora for a critical-difference diagram."""
        return self.n_corpora >= DIAGRAM_FROM


def rank_over(values: Mapping[str, Sequence[float]]) -> Ranking | None:
    """Rank methods by their values in each corpus and test whether any differ; None below 3 methods or 2 corpora.

    p is that of Friedman's statistic when ranks are permuted within each corpus: with few corpora its chi-squared
    distribution does not hold.

    >>> ranking = rank_over({"svc": [0.7, 0.6, 0.5], "rf": [0.6, 0.5, 0.4], "knn": [0.5, 0.4, 0.3]})
    >>> ranking.mean_ranks["svc"], round(ranking.p, 2), round(ranking.critical_difference, 2)
    (1.0, 0.03, 1.91)
    """
    table = np.array(list(values.values()))
    n_methods, n_corpora = table.shape if table.ndim == 2 else (0, 0)
    if n_methods < 3 or n_corpora < 2:
        return None
    ranks = pd.DataFrame(-table).rank().to_numpy()
    permuted = np.random.default_rng(0).permuted(np.broadcast_to(ranks, (FLIPS, *ranks.shape)), axis=1)
    spreads = np.concatenate([ranks[np.newaxis], permuted]).sum(axis=2).var(axis=1)
    p = float((spreads >= spreads[0] - TINY).mean())
    difference = _widest_range(n_methods) * math.sqrt(n_methods * (n_methods + 1) / (12 * n_corpora))
    return Ranking(dict(zip(values, ranks.mean(axis=1).tolist(), strict=True)), n_corpora, p, difference)


def _widest_range(n: int) -> float:
    """Return what the range of n standard normal numbers stays below with probability 1 - ALPHA.

    >>> round(_widest_range(2), 6), round(_widest_range(10), 6)  # Demsar 2006, table 5a, times the root of 2
    (2.771808, 4.474124)
    """
    from scipy.special import ndtr

    z = np.linspace(-9, 9, 2001)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    low, high = 0.0, 20.0
    for _ in range(50):
        middle = (low + high) / 2
        is_below = n * np.trapezoid(density * (ndtr(z) - ndtr(z - middle)) ** (n - 1), z) < 1 - ALPHA
        low, high = (middle, high) if is_below else (low, middle)
    return low
