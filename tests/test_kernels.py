"""The kernel matrices of svc against BLAS pair by pair, and against the fits of libsvm's own kernels."""

import numpy as np
import pytest
from scipy.linalg.blas import ddot
from sklearn.svm import SVC

from serbench.classifiers.kernels import dot_products, gram_matrix, squared_distances, squared_distances_of


def rows(n, d=384, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def test_dot_products_are_those_of_blas_pair_by_pair():
    left, right = rows(3, d=100), rows(300, d=100, seed=1)
    expected = np.array([[ddot(a, b) for b in right] for a in left])
    np.testing.assert_allclose(dot_products(left, right), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", [1, 127, 128, 300])
def test_gram_matrix_is_the_symmetric_matrix_of_dot_products(n):
    x = rows(n, d=30)
    np.testing.assert_array_equal(gram_matrix(x), dot_products(x, x))


def test_squared_distances_agree_both_ways_and_with_scipy():
    from scipy.spatial.distance import cdist

    x, y = rows(140, d=30), rows(20, d=30, seed=1)
    np.testing.assert_allclose(squared_distances(y, x), cdist(y, x, "sqeuclidean"), rtol=1e-12)
    squared = squared_distances_of(gram_matrix(x))
    np.testing.assert_allclose(squared, cdist(x, x, "sqeuclidean"), rtol=1e-9, atol=1e-9)
    assert not np.diagonal(squared).any()


@pytest.mark.parametrize("c", [1e-3, 1, 100])
def test_shared_kernels_give_the_fits_of_libsvms_own(c):
    """Equal bit for bit where numpy and scipy carry the same BLAS; elsewhere to rounding."""
    labels = np.arange(200) % 5
    x = rows(200) + 0.3 * rows(5, seed=1)[labels]
    held = rows(40, seed=2)
    for own, train, test in (
        (SVC(kernel="linear", C=c), gram_matrix(x), dot_products(held, x)),
        (
            SVC(kernel="rbf", C=c, gamma=1 / 384),
            np.exp(-squared_distances_of(gram_matrix(x)) / 384),
            np.exp(-squared_distances(held, x) / 384),
        ),
    ):
        shared = SVC(kernel="precomputed", C=c).fit(train, labels)
        own.fit(x, labels)
        np.testing.assert_array_equal(shared.support_, own.support_)
        np.testing.assert_allclose(shared.dual_coef_, own.dual_coef_, rtol=1e-12)
        np.testing.assert_allclose(shared.decision_function(test), own.decision_function(held), rtol=1e-9, atol=1e-9)
