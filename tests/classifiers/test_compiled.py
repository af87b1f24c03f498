"""Compiled forests and networks are scikit-learn's, node for node and weight for weight, or scikit-learn fits them."""

import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import sklearn
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from serbench.classifiers import CLASSIFIERS, compiled, forest, loop_sweep, perceptron
from serbench.testing import blobs

RF, MLP = CLASSIFIERS["rf"], CLASSIFIERS["mlp"]


def rows(kind, n=60, d=12, n_classes=3, seed=0):
    """Rows with labels and weights; `kind` says what is odd about them."""
    random = np.random.default_rng(seed)
    labels = np.r_[np.arange(n_classes), random.integers(0, n_classes, n - n_classes)]
    X = random.normal(size=(n, d))
    X[:, 0] += labels
    if kind == "ties":
        X = X.round()
    elif kind == "constant":
        X[:, ::2] = 7
    elif kind == "near":  # features that differ by less than scikit-learn cuts apart
        X[:, 1::2] = 1 + X[:, 1::2] * 1e-7
    elif kind == "copies":
        X[n // 2 :] = X[: n - n // 2]
    elif kind in ("tiny", "huge"):
        X *= 1e-30 if kind == "tiny" else 1e30
    return X, labels, random.uniform(0.2, 3, n) if kind == "weights" else None


def forests_are_equal(X, labels, weights, *, n_trees, max_features, least, seed=0):
    ours = forest.Forests(X, labels, weights, n_trees=n_trees, seed=seed)
    theirs = RandomForestClassifier(
        n_trees, max_features=max_features, min_samples_leaf=least, class_weight="balanced", random_state=seed
    ).fit(X, labels, weights)
    held = np.random.default_rng(1).permuted(X, axis=0)
    for grown, tree in zip(ours.grow(max_features, least), theirs.estimators_, strict=True):
        assert forest.same_nodes(grown, tree)
    np.testing.assert_array_equal(ours.predict_proba(held, max_features, least), theirs.predict_proba(held))


KINDS = ("plain", "ties", "constant", "near", "copies", "tiny", "huge", "weights")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("max_features", "least"), [("sqrt", 1), (0.2, 4)])
def test_forests_have_scikit_learns_nodes_thresholds_and_probabilities(kind, max_features, least):
    forests_are_equal(*rows(kind), n_trees=8, max_features=max_features, least=least)


@pytest.mark.parametrize(("max_features", "least"), [("log2", 0.05), (3, 2), (1.0, 1)])
@pytest.mark.parametrize("n_classes", [2, 7])
def test_forests_take_every_form_of_their_parameters(max_features, least, n_classes):
    forests_are_equal(*rows("ties", n_classes=n_classes), n_trees=5, max_features=max_features, least=least, seed=3)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "d", "n_trees"), [(350, 384, 40), (1000, 100, 20), (4000, 60, 10)])
def test_large_forests_have_scikit_learns_nodes(kind, n, d, n_trees):
    for max_features, least in (("sqrt", 1), (0.2, 4)):
        forests_are_equal(*rows(kind, n, d, 5), n_trees=n_trees, max_features=max_features, least=least)


@pytest.mark.slow
def test_forests_of_ten_thousand_rows_have_scikit_learns_nodes():
    forests_are_equal(*rows("ties", 10_000, 100, 6), n_trees=4, max_features=0.2, least=1)


@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize(("n", "hidden", "alpha"), [(90, 3, 1.0), (450, 64, 1e-4)])
def test_networks_have_scikit_learns_weights_losses_and_epochs(n_classes, n, hidden, alpha):
    X, labels, weights = rows("weights", n, 20, n_classes)
    given = {"hidden_layer_sizes": (hidden,), "alpha": alpha, "max_iter": 30, "random_state": 0}
    pair = [kind(**given) for kind in (perceptron.Perceptron, MLPClassifier)]
    with pytest.warns(ConvergenceWarning):
        ours, theirs = (each.fit(X, labels, sample_weight=weights) for each in pair)
    assert ours.loss_curve_ == theirs.loss_curve_
    for mine, yours in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        np.testing.assert_array_equal(mine, yours)


@pytest.fixture
def quick():
    """Blobs, and rf and mlp with little to fit, by name."""

    def few_trees(setting, *, n_features, seed):
        return RF.estimator(setting, n_features=n_features, seed=seed).set_params(n_estimators=7)

    def few_epochs(setting, *, n_features, seed):
        return MLP.estimator(setting, n_features=n_features, seed=seed).set_params(max_iter=5)

    compiled.agrees.cache_clear()
    yield {"rf": replace(RF, estimator=few_trees), "mlp": replace(MLP, estimator=few_epochs)}
    compiled.agrees.cache_clear()


def assert_swept_as_looped(classifier):
    training, held = blobs(n=90)
    swept, looped = (
        sweep(classifier, classifier.space, training, held, seed=2) for sweep in (classifier.sweep, loop_sweep)
    )
    np.testing.assert_array_equal(swept.predictions, looped.predictions)
    assert swept.not_converged == looped.not_converged


def spoil_a_node(monkeypatch):
    grow = forest.grow_tree

    def spoilt(presort, labels, counts, state, max_features, least, tree):
        n_nodes = grow(presort, labels, counts, state, max_features, least, tree)
        tree.threshold[0] = np.nextafter(tree.threshold[0], 9)
        return n_nodes

    monkeypatch.setattr(forest, "grow_tree", spoilt)


def spoil_a_step(monkeypatch):
    monkeypatch.setattr(perceptron, "adam", lambda parameters, *_: parameters.__iadd__(1e-16))


@pytest.mark.parametrize("name", ["rf", "mlp"])
def test_sweeps_are_those_of_scikit_learn_setting_by_setting(name, quick):
    assert_swept_as_looped(quick[name])


@pytest.mark.parametrize(("name", "module", "spoil"), [("rf", forest, spoil_a_node), ("mlp", perceptron, spoil_a_step)])
def test_one_number_that_differs_leaves_the_classifier_to_scikit_learn_with_a_warning(
    name, module, spoil, quick, monkeypatch
):
    spoil(monkeypatch)
    monkeypatch.setattr(sklearn, "__version__", "9.9")
    with pytest.warns(UserWarning, match=rf"scikit-learn 9\.9 computes {name} otherwise .* fitted by scikit-learn"):
        module.prepare(lambda *_: None)
    assert_swept_as_looped(quick[name])


def test_release_that_lacks_what_is_compared_counts_as_another(quick, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(forest.RandomForestClassifier, "fit", None)
        assert not compiled.agrees(forest.equals_scikit_learn)
    assert_swept_as_looped(quick["rf"])


@pytest.mark.parametrize("parameters", [{"max_depth": 2}, {"criterion": "entropy"}, {"class_weight": None}])
def test_forests_with_parameters_that_are_not_followed_are_scikit_learns(parameters, quick):
    made = quick["rf"].estimator
    assert_swept_as_looped(replace(quick["rf"], estimator=lambda *a, **k: made(*a, **k).set_params(**parameters)))


@pytest.mark.parametrize("parameters", [{"hidden_layer_sizes": (5, 4)}, {"activation": "tanh"}, {"solver": "sgd"}])
def test_networks_with_parameters_that_are_not_followed_are_scikit_learns(parameters, quick):
    made = quick["mlp"].estimator
    assert_swept_as_looped(replace(quick["mlp"], estimator=lambda *a, **k: made(*a, **k).set_params(**parameters)))


@pytest.mark.slow
def test_compiled_once_told_once_and_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    code = (
        "from serbench.classifiers import perceptron\n"
        "perceptron.prepare(lambda what, done, total, share: print(what, done))\n"
        "print(perceptron.compiled.agrees(perceptron.equals_scikit_learn))"
    )
    without_folder = "from numba.core import caching\ncaching.CompileResultCacheImpl._locator_classes = []\n"

    def told(code):
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    both = ["compile mlp, once on this machine 0", "compile mlp, once on this machine 1"]
    assert told(code) == [*both, "True"]
    assert told(code) == ["True"]
    assert told(without_folder + code) == [*both, "True"]
