"""Classifiers that are scikit-learn's estimators as they come: forests, perceptrons, regression, neighbours, dummy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from serbench.classifiers.record import Classifier, Setting, Swept, Training, loop_sweep, rows_alone

if TYPE_CHECKING:
    import numpy as np

    from serbench.features.table import Rows


def make_forest(setting: Setting, *, n_features: int, seed: int) -> Any:
    """Make a balanced forest; `max_features` is a share of the features or "sqrt"."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(
        n_estimators=300,
        max_features=setting["max_features"],
        min_samples_leaf=setting["min_samples_leaf"],
        class_weight="balanced",
        random_state=seed,
    )


def make_mlp(setting: Setting, *, n_features: int, seed: int) -> Any:
    """Make a perceptron of one hidden layer (relu, adam) with `hidden` units and L2 penalty `alpha`."""
    from sklearn.neural_network import MLPClassifier

    layers = (int(setting["hidden"]),)
    return MLPClassifier(hidden_layer_sizes=layers, alpha=float(setting["alpha"]), max_iter=200, random_state=seed)


def balanced_weights(training: Training) -> np.ndarray:
    """Weigh every emotion the same in total, times the rows' own weights, for estimators without `class_weight`."""
    from sklearn.utils.class_weight import compute_sample_weight

    balanced: np.ndarray = compute_sample_weight("balanced", training.labels)
    return balanced if training.weights is None else balanced * training.weights


def make_logistic(setting: Setting, *, n_features: int, seed: int) -> Any:
    """Make a balanced multinomial logistic regression with L2 penalty 1 / C."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=float(setting["C"]), class_weight="balanced", max_iter=1000, random_state=seed)


def make_knn(setting: Setting, *, n_features: int, seed: int) -> Any:
    """Make a vote of the k nearest neighbours in Euclidean distance; it cannot be balanced."""
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(n_neighbors=int(setting["k"]))


def sweep_knn(
    classifier: Classifier, settings: Sequence[Setting], training: Training, evaluation: Rows, *, seed: int
) -> Swept:
    """Sweep with one search for the most neighbours; k is at most the number of training rows, then all of them vote.

    Where the k-th and the next neighbour are equally far, which of them votes is up to scikit-learn's search for that
    very k, so such a k is left to `loop_sweep`.
    """
    import numpy as np

    ks = [min(int(setting["k"]), len(training.X)) for setting in settings]
    search = classifier.estimator({"k": max(ks)}, n_features=training.X.shape[1], seed=seed)
    distances, neighbours = search.fit(training.X, training.labels).kneighbors(evaluation)
    votes = np.eye(int(training.labels.max()) + 1, dtype=np.int64)[training.labels[neighbours]].cumsum(axis=1)
    predictions = np.array([votes[:, k - 1].argmax(axis=1) for k in ks])
    # Equal but for rounding; of distances near 0 the search loses half the digits.
    gaps = np.isclose(distances[:, :-1], distances[:, 1:], rtol=1e-9, atol=1e-6).any(axis=0)
    tied = [i for i, k in enumerate(ks) if k < max(ks) and gaps[k - 1]]
    if tied:
        looped = loop_sweep(classifier, [{"k": ks[i]} for i in tied], training, evaluation, seed=seed)
        predictions[tied] = looped.predictions
    return Swept(predictions, ())


def make_dummy(setting: Setting, *, n_features: int, seed: int) -> Any:
    """Make the classifier that always predicts the most frequent emotion of its training set."""
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="most_frequent")


FOREST = Classifier(
    name="rf",
    title="random forest of 300 trees",
    space=tuple({"max_features": m, "min_samples_leaf": leaf} for m in ("sqrt", 0.2) for leaf in (1, 4)),
    default={"max_features": "sqrt", "min_samples_leaf": 1},
    parameters=("max_features", "min_samples_leaf"),
    estimator=make_forest,
    seconds=lambda n, d, settings: settings * (0.4 + 1.9e-6 * n * math.log2(n + 1) * d),
    memory=lambda n, n_evaluation, d: 2.5e4 * n + rows_alone(n, n_evaluation, d),
    needs_scaling=False,
)
MLP = Classifier(
    name="mlp",
    title="multi-layer perceptron, one hidden layer",
    space=tuple({"hidden": hidden, "alpha": alpha} for hidden in (64, 128, 256) for alpha in (1e-4, 1e-2, 1)),
    default={"hidden": 128, "alpha": 1e-4},
    parameters=("hidden", "alpha"),
    estimator=make_mlp,
    seconds=lambda n, d, settings: settings * (0.5 + 1.2e-6 * n * d),
    fit_weights=balanced_weights,
)
LOGISTIC = Classifier(
    name="logistic",
    title="multinomial logistic regression",
    space=tuple({"C": c} for c in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1)),
    default={"C": 1e-2},
    parameters=("C",),
    estimator=make_logistic,
    seconds=lambda n, d, settings: settings * (0.013 + 1e-8 * n * d),
)
KNN = Classifier(
    name="knn",
    title="k nearest neighbours",
    space=tuple({"k": k} for k in (1, 3, 5, 9, 15, 25)),
    default={"k": 5},
    parameters=("k",),
    estimator=make_knn,
    seconds=lambda n, d, settings: 3e-3 + 1e-11 * n * n * d,
    takes_weights=False,
    sweep=sweep_knn,
)
DUMMY = Classifier(
    name="dummy",
    title="most frequent emotion of the training set",
    space=({"strategy": "most_frequent"},),
    default={"strategy": "most_frequent"},
    parameters=("strategy",),
    estimator=make_dummy,
    seconds=lambda n, d, settings: 6e-3,
    needs_scaling=False,
    takes_weights=False,
)
