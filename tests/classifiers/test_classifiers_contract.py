"""What every known classifier keeps, whoever wrote it: serbench's own, and those of plug-ins that are installed."""

import numpy as np
import pytest

from serbench.classifiers import CLASSIFIERS, DEFAULT_CLASSIFIERS, Training, known_classifiers, loop_sweep
from serbench.testing import blobs, check_classifier

KNOWN, _ = known_classifiers()


def test_defaults_are_registered():
    assert set(DEFAULT_CLASSIFIERS) <= set(CLASSIFIERS)


def test_spaces_have_their_published_sizes():
    sizes = {"svc": 22, "rf": 4, "mlp": 9, "linear-svc": 6, "logistic": 6, "knn": 6, "dummy": 1}
    assert {name: len(classifier.space) for name, classifier in CLASSIFIERS.items()} == sizes


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "rf")) for n in KNOWN])
def test_classifier_keeps_the_contract(name):
    check_classifier(KNOWN[name])


def test_settings_of_a_user_are_swept_in_their_order_with_kernels_that_share_nothing():
    classifier = CLASSIFIERS["svc"]
    training, held = blobs(n=90)
    settings = (
        {"kernel": "rbf", "C": 1, "gamma": 3},
        {"kernel": "poly", "C": 1},
        {"kernel": "linear", "C": 0.01},
        {"kernel": "rbf", "C": 10, "gamma": 0.1},
        {"kernel": "rbf", "C": 10, "gamma": 3},
    )
    swept = classifier.sweep(classifier, settings, training, held, seed=0)
    looped = loop_sweep(classifier, settings, training, held, seed=0)
    np.testing.assert_array_equal(swept.predictions, looped.predictions)
    assert len({tuple(row) for row in swept.predictions}) > 1


def test_more_neighbours_than_training_rows_means_all_of_them():
    training, held = blobs(n=12)
    swept = CLASSIFIERS["knn"].sweep(CLASSIFIERS["knn"], ({"k": 12}, {"k": 25}), training, held, seed=0)
    np.testing.assert_array_equal(*swept.predictions)


@pytest.mark.parametrize("name", ["svc", "linear-svc", "rf", "mlp", "logistic"])
def test_emotions_are_balanced(name):
    """A rare emotion is found about as often as a frequent one: balancing moves the border towards the frequent."""
    rng = np.random.default_rng(5)
    labels = np.array([0] * 190 + [1] * 10)
    x = rng.normal(size=(200, 2)) + 1.2 * labels[:, None]
    held = rng.normal(size=(400, 2)) + 1.2
    training = Training(x, labels, None, np.array(["s"] * 200), {})
    classifier = CLASSIFIERS[name]
    settings = classifier.space[-2:] if name in ("rf", "mlp") else classifier.space
    found = classifier.sweep(classifier, settings, training, held, seed=0).predictions
    assert (found == 1).mean(axis=1).max() > 0.4


def test_settings_that_did_not_converge_are_recorded_and_not_printed(recwarn):
    classifier = CLASSIFIERS["mlp"]
    swept = classifier.sweep(classifier, classifier.space, *blobs(n=90), seed=0)
    assert set() < set(swept.not_converged) <= set(range(9))
    assert not list(recwarn)
