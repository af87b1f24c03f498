"""The kernel matrices of svc against BLAS pair by pair, and against the fits of libsvm's own kernels."""

import numpy as np
import pytest
from scipy.linalg.blas import ddot
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC
from threadpoolctl import threadpool_info

from serbench.classifiers.kernels import Gram, dot_products, squared_distances


def rows(n, d=384, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def kernel(x, gamma=None):
    filled = np.full((len(x), len(x)), np.nan)
    Gram.of(x).fill(filled, gamma)
    return filled


def products(left, right):
    filled = np.full((len(left), len(right)), np.nan)
    dot_products(left, right, out=filled)
    return filled


def same_blas():
    """Whether numpy and scipy call the same kernels of the same BLAS."""
    found = {
        (pool["internal_api"], pool.get("architecture")) for pool in threadpool_info() if pool["user_api"] == "blas"
    }
    return len(found) == 1


def test_dot_products_are_those_of_blas_pair_by_pair_to_the_last_bit_of_one_blas():
    left, right = rows(3), rows(300, seed=1)
    rounding = 0 if same_blas() else 1e-12
    expected = np.array([[ddot(a, b) for b in right] for a in left])
    np.testing.assert_allclose(products(left, right), expected, rtol=rounding, atol=rounding)
    assert not np.array_equal(left @ right.T, products(left, right))  # what the kernels must not be made of


@pytest.mark.parametrize("n", [1, 127, 128, 300])
def test_kernels_are_symmetric_matrices_of_dot_products_and_of_scikit_learns_values(n):
    x, y = rows(n, d=30), rows(20, d=30, seed=1)
    np.testing.assert_array_equal(kernel(x), products(x, x))
    np.testing.assert_allclose(kernel(x, 0.05), rbf_kernel(x, gamma=0.05), rtol=1e-9)
    np.testing.assert_array_equal(np.diagonal(kernel(x, 0.05)), 1)
    np.testing.assert_allclose(np.exp(-0.05 * squared_distances(y, x)), rbf_kernel(y, x, gamma=0.05), rtol=1e-9)


@pytest.mark.parametrize("c", [1e-3, 1, 100])
def test_shared_kernels_give_the_fits_of_libsvms_own(c):
    """To rounding here, as BLAS libraries may differ; label for label in the contract of classifiers."""
    labels = np.arange(200) % 5
    x = rows(200) + 0.3 * rows(5, seed=1)[labels]
    held = rows(40, seed=2)
    for own, train, test in (
        (SVC(kernel="linear", C=c), kernel(x), products(held, x)),
        (SVC(kernel="rbf", C=c, gamma=1 / 384), kernel(x, 1 / 384), np.exp(-squared_distances(held, x) / 384)),
    ):
        shared = SVC(kernel="precomputed", C=c).fit(train, labels)
        own.fit(x, labels)
        np.testing.assert_array_equal(shared.support_, own.support_)
        np.testing.assert_allclose(shared.dual_coef_, own.dual_coef_, rtol=1e-12)
        np.testing.assert_allclose(shared.decision_function(test), own.decision_function(held), rtol=1e-9, atol=1e-9)
