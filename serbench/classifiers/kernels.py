"""Kernel matrices whose entries are the ones libsvm would compute for itself (docs/decisions/0008).

A matrix product adds in another order than the BLAS `ddot` that libsvm calls for every pair, so a fit might turn out
otherwise; `numpy.vecdot` calls `ddot`, too. The exponential of an RBF kernel is numpy's, which may differ from the C
library's in the last bit of a double; libsvm trains in single precision, where nearly all of that vanishes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_BLOCK = 128  # rows whose products are computed together: two blocks of 384 features stay in the processor's cache


def dot_products(left: np.ndarray, right: np.ndarray, *, out: np.ndarray) -> None:
    """Fill `out`, float64, shape (n_left, n_right), with the dot products of all pairs of rows."""
    for rows in _blocks(len(left)):
        for columns in _blocks(len(right)):
            np.vecdot(left[rows, None], right[None, columns], out=out[rows, columns])


@dataclass(frozen=True, slots=True)
class Gram:
    """Dot products of all pairs of rows of one matrix, each held once: the blocks on and below the diagonal."""

    blocks: tuple[tuple[slice, slice, np.ndarray], ...]
    squares: np.ndarray

    @staticmethod
    def of(X: np.ndarray) -> Gram:
        """Work out the dot products of the rows of X, float64, C order, shape (n, n_features)."""
        blocks = tuple(
            (rows, columns, np.vecdot(X[rows, None], X[None, columns]))
            for rows in _blocks(len(X))
            for columns in _blocks(rows.stop)
        )
        return Gram(blocks, np.vecdot(X, X))

    def fill(self, out: np.ndarray, gamma: float | None) -> None:
        """Fill `out`, float64, shape (n, n), with the linear kernel, or exp(-gamma * squared distance).

        The order of operations is libsvm's when it trains.
        """
        for rows, columns, products in self.blocks:
            kernel = products
            if gamma is not None:
                kernel = np.add.outer(self.squares[rows], self.squares[columns])
                kernel -= 2 * products
                kernel *= -gamma
                np.exp(kernel, out=kernel)
            out[rows, columns] = kernel
            out[columns, rows] = kernel.T


def squared_distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Squared distances of all pairs of rows, float64, from their differences, as libsvm does when it predicts."""
    distances = np.empty((len(left), len(right)))
    buffer = np.empty((_BLOCK, right.shape[1]))
    for columns in _blocks(len(right)):
        differences = buffer[: columns.stop - columns.start]
        for row, distance in zip(left, distances, strict=True):
            np.subtract(row, right[columns], out=differences)
            np.vecdot(differences, differences, out=distance[columns])
    return distances


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK))
