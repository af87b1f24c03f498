"""What every registered classifier keeps, whoever wrote it."""

import warnings

import numpy as np
import pytest

from serbench.classifiers import CLASSIFIERS, DEFAULT_CLASSIFIERS, Held, Training, loop_sweep

SIZES = {"svc": 22, "rf": 4, "mlp": 9, "linear-svc": 6, "logistic": 6, "knn": 6, "dummy": 1}


def data(n=45, d=6, seed=0, weights=None):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = rng.normal(0, 1.5, (3, d))
    x = centres[labels] + rng.normal(size=(n, d))
    speakers = np.array([f"s{i % 5}" for i in range(n)])
    training = Training(np.ascontiguousarray(x), labels, weights, speakers, {})
    held = Held(centres[np.arange(30) % 3] + rng.normal(size=(30, d)))
    return training, held


def test_defaults_are_registered():
    assert set(DEFAULT_CLASSIFIERS) <= set(CLASSIFIERS)
    assert all(name == classifier.name for name, classifier in CLASSIFIERS.items())


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_space_has_distinct_settings_and_holds_the_default(name):
    classifier = CLASSIFIERS[name]
    assert len({tuple(setting.items()) for setting in classifier.space}) == len(classifier.space)
    assert classifier.default in classifier.space
    assert len(classifier.space) == SIZES.get(name, len(classifier.space))
    assert all(set(setting) <= set(classifier.parameters) for setting in classifier.space)


def plain_predictions(classifier, training, held, seed):
    """Fit and predict one setting after the other by scikit-learn's public calls alone."""
    predictions = []
    for setting in classifier.space:
        estimator = classifier.estimator(setting, n_features=training.X.shape[1], seed=seed)
        weights = classifier.fit_weights(training)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if weights is None:
                estimator.fit(training.X, training.labels)
            else:
                estimator.fit(training.X, training.labels, sample_weight=weights)
        predictions.append(estimator.predict(held.X))
    return np.array(predictions)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_sweep_predicts_what_single_fits_predict(name):
    classifier = CLASSIFIERS[name]
    training, held = data()
    swept = classifier.sweep(classifier, classifier.space, training, held, seed=3)
    np.testing.assert_array_equal(swept.predictions, plain_predictions(classifier, training, held, seed=3))
    np.testing.assert_array_equal(
        swept.predictions, loop_sweep(classifier, classifier.space, training, held, seed=3).predictions
    )


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_sweep_of_real_size_predicts_what_single_fits_predict(name):
    """Features as wide as IS09 and five emotions that overlap; two settings where a sweep shares nothing."""
    classifier = CLASSIFIERS[name]
    rng = np.random.default_rng(11)
    labels = np.sort(rng.integers(0, 5, 150))
    x = rng.normal(size=(190, 384)) + 0.4 * rng.normal(size=(5, 384))[np.append(labels, rng.integers(0, 5, 40))]
    training, held = Training(x[:150].copy(), labels, None, np.array(["s"] * 150), {}), Held(x[150:].copy())
    settings = classifier.space if classifier.sweep is not loop_sweep else classifier.space[:2]
    swept = classifier.sweep(classifier, settings, training, held, seed=0)
    looped = loop_sweep(classifier, settings, training, held, seed=0)
    np.testing.assert_array_equal(swept.predictions, looped.predictions)


def test_settings_of_a_user_are_swept_in_their_order_with_kernels_that_share_nothing():
    classifier = CLASSIFIERS["svc"]
    training, held = data(n=90)
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


@pytest.mark.parametrize("name", [name for name, c in CLASSIFIERS.items() if c.takes_weights])
@pytest.mark.parametrize("least", [0.0, 0.1])
def test_sweep_of_weighted_rows_predicts_what_single_fits_predict(name, least):
    """Weights of 0 too: libsvm leaves such rows out and renumbers the others."""
    classifier = CLASSIFIERS[name]
    training, held = data(n=90)
    weights = np.random.default_rng(3).permutation(np.linspace(least, 2, 90))
    training = Training(training.X, training.labels, weights, training.speakers, {})
    settings = classifier.space if classifier.sweep is not loop_sweep else classifier.space[:1]
    swept = classifier.sweep(classifier, settings, training, held, seed=0)
    looped = loop_sweep(classifier, settings, training, held, seed=0)
    np.testing.assert_array_equal(swept.predictions, looped.predictions)


def test_equally_far_neighbours_vote_as_in_a_search_of_their_own():
    """Every row is there four times under different labels, so that every k of the space cuts through ties."""
    rng = np.random.default_rng(4)
    x = np.repeat(rng.normal(size=(20, 20)), 4, axis=0)
    labels = np.tile([2, 0, 1, 0], 20)
    training = Training(x, labels, None, np.array(["s"] * 80), {})
    held = Held(x[::2] + 1e-3)
    classifier = CLASSIFIERS["knn"]
    swept = classifier.sweep(classifier, classifier.space, training, held, seed=0)
    looped = loop_sweep(classifier, classifier.space, training, held, seed=0)
    np.testing.assert_array_equal(swept.predictions, looped.predictions)


def test_more_neighbours_than_training_rows_means_all_of_them():
    classifier = CLASSIFIERS["knn"]
    training, held = data(n=12)
    swept = classifier.sweep(classifier, ({"k": 12}, {"k": 25}), training, held, seed=0)
    np.testing.assert_array_equal(*swept.predictions)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_sweep_alters_nothing_it_is_given_and_repeats_itself(name):
    classifier = CLASSIFIERS[name]
    training, held = data()
    before = training.X.copy(), training.labels.copy(), held.X.copy()
    settings = classifier.space[:1]
    first = classifier.sweep(classifier, settings, training, held, seed=0)
    again = classifier.sweep(classifier, settings, training, held, seed=0)
    np.testing.assert_array_equal(first.predictions, again.predictions)
    for array, same in zip((training.X, training.labels, held.X), before, strict=True):
        np.testing.assert_array_equal(array, same)


@pytest.mark.parametrize("name", [name for name, c in CLASSIFIERS.items() if c.takes_weights])
def test_row_weights_matter_where_they_are_taken(name):
    classifier = CLASSIFIERS[name]
    training, held = data(n=60, seed=2)
    mixed_up = np.random.default_rng(7).permutation(training.X)  # labels that the features do not tell
    training = Training(mixed_up, training.labels, None, training.speakers, {})
    heavy = np.where(np.arange(60) % 2, 1000.0, 1e-3)  # within each emotion: balancing may undo weights across them
    weighted = Training(training.X, training.labels, heavy, training.speakers, {})
    plain = classifier.sweep(classifier, classifier.space, training, held, seed=0).predictions
    tilted = classifier.sweep(classifier, classifier.space, weighted, held, seed=0).predictions
    assert not np.array_equal(tilted, plain)


@pytest.mark.parametrize("name", ["svc", "linear-svc", "rf", "mlp", "logistic"])
def test_emotions_are_balanced(name):
    """A rare emotion is found about as often as a frequent one: balancing moves the border towards the frequent."""
    rng = np.random.default_rng(5)
    labels = np.array([0] * 190 + [1] * 10)
    x = rng.normal(size=(200, 2)) + 1.2 * labels[:, None]
    held = Held(rng.normal(size=(400, 2)) + 1.2)
    training = Training(x, labels, None, np.array(["s"] * 200), {})
    classifier = CLASSIFIERS[name]
    found = classifier.sweep(classifier, classifier.space, training, held, seed=0).predictions
    assert (found == 1).mean(axis=1).max() > 0.4


def test_settings_that_did_not_converge_are_recorded_and_not_printed(recwarn):
    classifier = CLASSIFIERS["mlp"]
    training, held = data(n=90)
    swept = classifier.sweep(classifier, classifier.space, training, held, seed=0)
    assert set(swept.not_converged) <= set(range(9))
    assert len(swept.not_converged) > 0
    assert not list(recwarn)
