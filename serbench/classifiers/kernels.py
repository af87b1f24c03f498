"""Kernel matrices whose entries are the ones libsvm would work out for itself, bit for bit where that can be had.

A matrix product would be a little faster, but it adds in another order than the BLAS `ddot` that libsvm calls for
every pair, so its entries differ in the last bits and a fit might take another turn. `numpy.vecdot` calls `ddot` too.
Of an RBF kernel the exponential is numpy's, which may differ from the C library's in the last bit of a double;
libsvm keeps the entries it trains on in single precision, where that vanishes. See docs/decisions/0008.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_BLOCK = 128
"""Rows whose products are worked out together: two blocks of 384 features stay in the processor's cache."""


def dot_products(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Dot products of all pairs of rows: float64, shape (n_left, n_right)."""
    products = np.empty((len(left), len(right)))
    for rows in _blocks(len(left)):
        for columns in _blocks(len(right)):
            np.vecdot(left[rows, None], right[None, columns], out=products[rows, columns])
    return products


def gram_matrix(X: np.ndarray) -> np.ndarray:
    """Dot products of all pairs of rows of one matrix, each worked out once: float64, shape (n, n)."""
    products = np.empty((len(X), len(X)))
    for rows in _blocks(len(X)):
        for columns in _blocks(rows.stop):
            np.vecdot(X[rows, None], X[None, columns], out=products[rows, columns])
            products[columns, rows] = products[rows, columns].T
    return products


def squared_distances_of(gram: np.ndarray) -> np.ndarray:
    """Turn a Gram matrix, in place, into squared distances, in libsvm's order of operations when it trains."""
    squares = np.diagonal(gram).copy()
    for row, square in zip(gram, squares, strict=True):
        row *= -2
        row += square + squares
    return gram


def squared_distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Squared distances of all pairs of rows from their differences, as libsvm works them out when it predicts.

    Returns
    -------
    float64, shape (n_left, n_right).
    """
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
