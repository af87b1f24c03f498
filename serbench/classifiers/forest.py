"""Random forests, node for node those of scikit-learn, grown from rows that are sorted once for all settings.

Follows ensemble/_forest.py, tree/_tree.pyx, tree/_splitter.pyx, tree/_partitioner.pyx and tree/_criterion.pyx of
scikit-learn 1.9.1. It is faster for three reasons. Bootstraps are drawn once. The values of a feature are sorted once,
and the rows of a node are put in order by their ranks. Rows count as whole numbers, as that release draws bootstraps
with the weights and hands counts to the trees; so a sum does not depend on its order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba.cpython.unsafe.numbers import trailing_zeros
from sklearn.ensemble import RandomForestClassifier
from sklearn.utils.class_weight import compute_class_weight

from serbench.classifiers import compiled
from serbench.classifiers.record import Classifier, Setting, Swept, Training, loop_sweep

if TYPE_CHECKING:
    from serbench.features.table import Rows

Array = np.ndarray

MOST_ROWS = 2**16  # ranks are uint16
HALF, LOW = np.uint32(16), np.uint32(0xFFFF)  # of the bits of a key; unsigned, as such places are looked up faster
FEW = 20  # rows that are sorted by insertion
EPSILON = np.finfo(np.float64).eps
SAME = np.float32(1e-7)  # two values of a feature that differ by no more are not cut apart


class Presort(NamedTuple):
    """Rows by feature, shape (n_features, n): the rank of each row, the row of each rank, and the sorted values."""

    ranks: Array
    rows: Array
    values: Array

    @staticmethod
    def of(X: Array) -> Presort:
        """Sort every column of float32 rows."""
        rows = np.ascontiguousarray(np.argsort(X, axis=0, kind="stable").T.astype(np.uint16))
        ranks = np.empty_like(rows)
        np.put_along_axis(ranks, rows, np.arange(len(X), dtype=np.uint16)[None], axis=1)
        return Presort(ranks, rows, np.take_along_axis(np.ascontiguousarray(X.T), rows, axis=1))


class Tree(NamedTuple):
    """Nodes in scikit-learn's order: feature (-1 of a leaf), threshold, children, and shares of the classes."""

    feature: Array
    threshold: Array
    left: Array
    right: Array
    shares: Array


Scratch = tuple[Array, Array, Array, Array, Array, Array, Array]
"""What growing a tree writes on: features in the order of their draws, those that are constant, a bit for each rank,
keys of rows in order, each row as count * 2**16 + label, and sums of the classes: all, and those on the left."""

Cut = tuple[float, int, float, float, float]
"""What a cut gains, how many rows lie on its left, its threshold, and the impurities of left and right."""


class Forests:
    """Forests of one training set: rows float, shape (n, n_features), and codes of labels without gaps, shape (n,)."""

    def __init__(self, X: Array, labels: Array, weights: Array | None, *, n_trees: int, seed: int):
        """Sort, and draw as `RandomForestClassifier(class_weight="balanced", random_state=seed)` does."""
        self.presort, self.labels, n = Presort.of(X.astype(np.float32)), labels, len(labels)
        self.classes = np.unique(labels)
        balanced = compute_class_weight("balanced", classes=self.classes, y=labels, sample_weight=weights)
        chances = balanced[labels] if weights is None else weights * balanced[labels]
        forest, most = np.random.RandomState(seed), np.iinfo(np.int32).max
        seeds = [forest.randint(most) for _ in range(n_trees)]
        drawn = (np.random.RandomState(s).choice(n, n, p=chances / np.sum(chances)) for s in seeds)
        self.counts = np.array([np.bincount(rows, minlength=n) for rows in drawn], dtype=np.int32)
        self.states = np.array([np.random.RandomState(s).randint(most) for s in seeds], dtype=np.uint32)

    def grow(self, max_features: str | float, min_samples_leaf: float) -> Iterator[tuple[Tree, int]]:
        """Yield each tree and its number of nodes; the next one overwrites it. Parameters are scikit-learn's."""
        d, n = self.presort.ranks.shape
        if isinstance(max_features, str):
            max_features = int({"sqrt": math.sqrt, "log2": math.log2}[max_features](d))
        n_features = max(1, max_features if isinstance(max_features, int) else int(max_features * d))
        least = min_samples_leaf if isinstance(min_samples_leaf, int) else math.ceil(min_samples_leaf * n)
        feature, left, right = np.empty((3, 2 * n), np.int32)  # leaves have a row or more
        tree = Tree(feature, np.empty(2 * n), left, right, np.empty((2 * n, len(self.classes))))
        for counts, state in zip(self.counts, self.states, strict=True):
            yield tree, grow_tree(self.presort, self.labels, counts, state, n_features, least, tree)

    def predict_proba(self, held: Array, max_features: str | float, min_samples_leaf: float) -> Array:
        """Return the mean share of each class over the trees, shape (n_held, n_classes)."""
        held, shares = held.astype(np.float32), np.zeros((len(held), len(self.classes)))
        for tree, _ in self.grow(max_features, min_samples_leaf):
            add_shares(tree, held, shares)
        shares /= len(self.states)
        return shares


def sweep_rf(
    classifier: Classifier, settings: Sequence[Setting], training: Training, evaluation: Rows, *, seed: int
) -> Swept:
    """Sweep with forests that share what is sorted and drawn; by `loop_sweep` where they would not be the same."""
    estimators = [classifier.estimator(setting, n_features=training.X.shape[1], seed=seed) for setting in settings]
    n_trees = estimators[0].n_estimators
    # a user's own settings may have other parameters
    followed = [_scikit_learns(n_trees, e.max_features, e.min_samples_leaf, seed).get_params() for e in estimators]
    is_followed = [e.get_params() for e in estimators] == followed and len(training.X) <= MOST_ROWS
    if not is_followed or not compiled.agrees(equals_scikit_learn):
        return loop_sweep(classifier, settings, training, evaluation, seed=seed)
    classes, codes = np.unique(training.labels, return_inverse=True)
    forests = Forests(np.asarray(training.X), codes, training.weights, n_trees=n_trees, seed=seed)
    shares = [forests.predict_proba(np.asarray(evaluation), e.max_features, e.min_samples_leaf) for e in estimators]
    return Swept(classes[np.argmax(shares, axis=2)], ())


def _scikit_learns(n_trees: int, max_features: str | float, least: float, seed: int) -> RandomForestClassifier:
    given = {"n_estimators": n_trees, "max_features": max_features, "min_samples_leaf": least, "random_state": seed}
    return RandomForestClassifier(class_weight="balanced", **given)


def equals_scikit_learn() -> bool:
    """Grow a few forests here and by scikit-learn, with ties, and compare every node and probability."""
    random = np.random.default_rng(0)
    X, labels, weights = random.normal(size=(80, 9)).round(1), random.integers(0, 3, 80), random.uniform(0.5, 2, 80)
    for given, max_features, least in ((None, "sqrt", 1), (None, 0.5, 4), (weights, "log2", 2)):
        forests = Forests(X, labels, given, n_trees=6, seed=1)
        theirs = _scikit_learns(6, max_features, least, 1).fit(X, labels, given)
        if not all(map(same_nodes, forests.grow(max_features, least), theirs.estimators_)):
            return False
        if not np.array_equal(forests.predict_proba(X, max_features, least), theirs.predict_proba(X)):
            return False
    return True


def same_nodes(grown: tuple[Tree, int], theirs: Any) -> bool:
    """Return whether a tree has the features, thresholds and shares of one of scikit-learn's, node for node."""
    (tree, n_nodes), theirs = grown, theirs.tree_
    return (
        n_nodes == theirs.node_count
        and np.array_equal(tree.feature[:n_nodes], np.maximum(theirs.feature, -1))
        and np.array_equal(tree.threshold[:n_nodes], theirs.threshold)
        and np.array_equal(tree.shares[:n_nodes], theirs.value[:, 0])
    )


@compiled.function
def add_shares(tree: Tree, held: Array, shares: Array) -> None:
    """Add the shares of the leaf of each row held out; `Tree.apply` of tree/_tree.pyx."""
    for i in range(len(held)):
        node = 0
        while tree.feature[node] >= 0:
            is_left = held[i, tree.feature[node]] <= tree.threshold[node]
            node = tree.left[node] if is_left else tree.right[node]
        shares[i] += tree.shares[node]


@compiled.inlined
def next_random(state: np.uint32) -> np.uint32:
    """Draw a whole number of 32 bits, which is the next state as well; `our_rand_r` of utils/_random.pxd."""
    state = state if state else np.uint32(1)
    state ^= np.uint32(state << np.uint32(13))
    state ^= np.uint32(state >> np.uint32(17))
    state ^= np.uint32(state << np.uint32(5))
    return np.uint32(state)


@compiled.inlined
def sort_keys(ranks: Array, rows: Array, here: Array, marks: Array, keys: Array) -> None:
    """Write the rows `here`, by their values, to `keys`: rank * 2**16 + row; `marks` has a bit for each rank, all 0."""
    if len(here) <= FEW:
        for i in range(len(here)):
            key, j = np.uint32(ranks[here[i]]) << np.uint32(16) | np.uint32(here[i]), i
            while j > 0 and keys[j - 1] > key:
                keys[j] = keys[j - 1]
                j -= 1
            keys[j] = key
        return
    for row in here:
        rank = np.uint64(ranks[row])
        marks[rank >> np.uint64(6)] |= np.uint64(1) << (rank & np.uint64(63))
    i = 0
    for word in range(len(marks)):
        bits = marks[word]
        marks[word] = 0
        while bits:
            place = 64 * word + int(trailing_zeros(bits))  # type: ignore[call-arg]
            keys[i] = place << 16 | int(rows[place])
            bits &= bits - np.uint64(1)
            i += 1


@compiled.inlined
def best_cut(keys: Array, values: Array, packed: Array, totals: Array, left_totals: Array, least: int) -> Cut:
    """Find the best cut of a feature between rows in order, with the sums of `Gini` of tree/_criterion.pyx."""
    best = (-np.inf, 0, 0.0, 0.0, 0.0)
    left_totals[:] = 0
    left = right = left_squares = right_squares = np.int64(0)
    for total in totals:
        right += total
        right_squares += total * total
    value = values[keys[0] >> HALF]
    for n_left in range(1, len(keys)):
        counted = packed[keys[n_left - 1] & LOW]
        count, label = np.int64(counted >> HALF), counted & LOW
        had = left_totals[label]
        left_squares += count * (2 * had + count)
        right_squares -= count * (2 * (totals[label] - had) - count)
        left_totals[label] = had + count
        left += count
        right -= count
        last, value = value, values[keys[n_left] >> HALF]
        if value <= last + SAME or n_left < least or len(keys) - n_left < least:
            continue
        n_on_left, n_on_right = float(left), float(right)
        left_impurity = 1.0 - float(left_squares) / (n_on_left * n_on_left)
        right_impurity = 1.0 - float(right_squares) / (n_on_right * n_on_right)
        gain = -n_on_right * right_impurity - n_on_left * left_impurity
        if gain > best[0]:
            best = (gain, n_left, float(last) / 2.0 + float(value) / 2.0, left_impurity, right_impurity)
    return best


@compiled.inlined
def part_rows(here: Array, ranks: Array, values: Array, threshold: float, counts: Array) -> int:
    """Move the rows up to the threshold to the front; return how often the bootstrap has them."""
    first, end, n = 0, len(here), 0
    while first < end:
        row = here[first]
        if values[ranks[row]] <= threshold:
            n += counts[row]
            first += 1
        else:
            end -= 1
            here[first], here[end] = here[end], row
    return n


@compiled.inlined
def best_split(
    presort: Presort, here: Array, n_known: int, state: np.uint32, max_features: int, least: int, scratch: Scratch
) -> tuple[np.uint32, int, int, Cut]:
    """Draw features of a node until max_features are tried and one of them is not constant; return the best cut.

    Before it stand the next state of the random numbers, how many features were found constant, and the one to cut (-1:
    none). `n_known` of them are constant above the node, and are drawn too; `node_split_best` of tree/_splitter.pyx.
    """
    features, constant, marks, keys, packed, totals, left_totals = scratch
    best, feature = (-np.inf, 0, 0.0, 0.0, 0.0), -1
    n_left, n_tried, n_drawn, n_found = len(features), 0, 0, 0
    while n_left > n_known + n_found and (n_tried < max_features or n_tried <= n_found + n_drawn):
        n_tried += 1
        state = next_random(state)
        at = n_drawn + int(state & np.uint32(2**31 - 1)) % (n_left - n_found - n_drawn)
        if at < n_known:
            features[n_drawn], features[at] = features[at], features[n_drawn]
            n_drawn += 1
            continue
        at += n_found
        tried = features[at]
        sort_keys(presort.ranks[tried], presort.rows[tried], here, marks, keys)
        values = presort.values[tried]
        if values[keys[len(here) - 1] >> HALF] <= values[keys[0] >> HALF] + SAME:
            features[at], features[n_known + n_found] = features[n_known + n_found], features[at]
            n_found += 1
            continue
        n_left -= 1
        features[n_left], features[at] = features[at], features[n_left]
        cut = best_cut(keys[: len(here)], values, packed, totals, left_totals, least)
        if cut[0] > best[0]:
            best, feature = cut, tried
    features[:n_known] = constant[:n_known]
    constant[n_known : n_known + n_found] = features[n_known : n_known + n_found]
    return state, n_found, feature, best


@compiled.function
def grow_tree(
    presort: Presort, labels: Array, counts: Array, state: np.uint32, max_features: int, least: int, tree: Tree
) -> int:
    """Grow a tree depth first and return its number of nodes; `DepthFirstTreeBuilder.build` of tree/_tree.pyx.

    `counts`: how often the bootstrap has each row. `state`: of the random numbers. `least`: rows of a leaf.
    """
    d, n = presort.ranks.shape
    rows, n_classes = np.flatnonzero(counts), tree.shares.shape[1]
    totals, left_totals = np.empty((2, n_classes), np.int64)
    packed = (counts << 16 | labels).astype(np.uint32)
    marks, keys = np.zeros(n // 64 + 1, np.uint64), np.empty(n, np.uint32)
    scratch = np.arange(d), np.empty(d, np.int64), marks, keys, packed, totals, left_totals
    # start, end, known constant features and parent (of a right child negative) of the nodes to come; their impurity
    stack, impurities = np.empty((len(rows) + 1, 4), np.int64), np.empty(len(rows) + 1)
    stack[0], impurities[0] = (0, len(rows), 0, 0), np.inf
    n_waiting, n_nodes, n_all = 1, 0, float(counts.sum())
    while n_waiting:
        n_waiting -= 1
        start, end, n_known, parent = stack[n_waiting]
        impurity, node = impurities[n_waiting], n_nodes
        n_nodes += 1
        if node and parent >= 0:
            tree.left[parent] = node
        elif node:
            tree.right[-parent - 1] = node
        here = rows[start:end]
        totals[:] = 0
        for row in here:
            totals[labels[row]] += counts[row]
        n_here = float(totals.sum())
        tree.shares[node] = totals / n_here
        tree.feature[node], tree.threshold[node] = -1, -2.0
        if not node:
            impurity = 1.0 - float((totals * totals).sum()) / (n_here * n_here)
        if len(here) < max(2, 2 * least) or impurity <= EPSILON:
            continue

        state, n_found, feature, best = best_split(presort, here, n_known, state, max_features, least, scratch)
        if feature < 0:
            continue
        _, n_cut, threshold, left_impurity, right_impurity = best
        n_on_left = float(part_rows(here, presort.ranks[feature], presort.values[feature], threshold, counts))
        n_on_right = n_here - n_on_left
        gain = impurity - n_on_right / n_here * right_impurity - n_on_left / n_here * left_impurity
        if n_here / n_all * gain + EPSILON < 0.0:
            continue
        tree.feature[node], tree.threshold[node] = feature, threshold
        stack[n_waiting] = start + n_cut, end, n_known + n_found, -node - 1
        stack[n_waiting + 1] = start, start + n_cut, n_known + n_found, node
        impurities[n_waiting], impurities[n_waiting + 1] = right_impurity, left_impurity
        n_waiting += 2
    return n_nodes


prepare = functools.partial(compiled.prepare, "rf", grow_tree, equals_scikit_learn)
