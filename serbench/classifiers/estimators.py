"""Classifiers that are scikit-learn's estimators: support vector machines, forests, perceptrons, neighbours and others.

`gamma` of a setting of `svc` counts in units of 1 / n_features. Estimators are imported when they are made.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from serbench.classifiers.record import Classifier, Setting, Swept, Training, loop_sweep, rows_alone

if TYPE_CHECKING:
    import numpy as np

    from serbench.features.table import Rows


def _made(path: str, **parameters: Any) -> Any:
    """Make an estimator of scikit-learn, e.g. `svm.SVC`; its module is imported only now."""
    module, name = path.split(".")
    return getattr(importlib.import_module(f"sklearn.{module}"), name)(**parameters)


def _late(path: str) -> Any:
    """Return a function of this package, e.g. `forest.sweep_rf`, whose module is imported only when it is called."""
    module, name = path.split(".")

    def call(*given: Any, **named: Any) -> Any:
        return getattr(importlib.import_module(f"serbench.classifiers.{module}"), name)(*given, **named)

    return call


def sweep_svc(
    classifier: Classifier, settings: Sequence[Setting], training: Training, evaluation: Rows, *, seed: int
) -> Swept:
    """Sweep with one kernel matrix for all C of a kernel; libsvm alone would compute each again for every C."""
    import numpy as np
    from sklearn.svm import SVC
    from sklearn.utils.class_weight import compute_class_weight

    from serbench.classifiers.kernels import Gram, dot_products, squared_distances

    # libsvm leaves rows of no weight out, and then mistakes the columns of a given kernel.
    weightless = training.weights is not None and not (training.weights > 0).all()
    shared: dict[float | None, list[int]] = {}  # gamma, None for the linear kernel -> places of its settings
    alone = []
    for i, setting in enumerate(settings):
        if weightless or setting["kernel"] not in ("linear", "rbf"):  # a user's own space may name other kernels
            alone.append(i)
        else:
            shared.setdefault(float(setting["gamma"]) if setting["kernel"] == "rbf" else None, []).append(i)
    predictions = np.empty((len(settings), len(evaluation)), dtype=np.int64)
    if alone:
        looped = loop_sweep(classifier, [settings[i] for i in alone], training, evaluation, seed=seed)
        predictions[alone] = looped.predictions
    if not shared:
        return Swept(predictions, ())
    train, held = np.asarray(training.X), np.asarray(evaluation)
    classes = np.unique(training.labels)
    balanced = compute_class_weight("balanced", classes=classes, y=training.labels)
    weights = dict(zip(classes.tolist(), balanced.tolist(), strict=True))
    gram, kernel, of_held = Gram.of(train), np.empty((len(train), len(train))), np.empty((len(held), len(train)))
    distances = squared_distances(held, train) if set(shared) - {None} else of_held
    for gamma, places in shared.items():  # each kernel overwrites the last
        gram.fill(kernel, None if gamma is None else gamma / train.shape[1])
        if gamma is None:
            dot_products(held, train, out=of_held)
        else:
            np.exp(np.multiply(distances, -gamma / train.shape[1], out=of_held), out=of_held)
        for i in places:
            svc = SVC(kernel="precomputed", C=float(settings[i]["C"]), class_weight=weights)
            predictions[i] = svc.fit(kernel, training.labels, sample_weight=training.weights).predict(of_held)
    return Swept(predictions, ())


def sweep_knn(
    classifier: Classifier, settings: Sequence[Setting], training: Training, evaluation: Rows, *, seed: int
) -> Swept:
    """Sweep setting by setting; where k is more than the number of training rows, all of them vote."""
    capped = [{"k": min(int(setting["k"]), len(training.X))} for setting in settings]
    return loop_sweep(classifier, capped, training, evaluation, seed=seed)


def balanced_weights(training: Training) -> np.ndarray:
    """Weigh every emotion the same in total, times the rows' own weights, for estimators without `class_weight`."""
    from sklearn.utils.class_weight import compute_sample_weight

    balanced: np.ndarray = compute_sample_weight("balanced", training.labels)
    return balanced if training.weights is None else balanced * training.weights


CLASSIFIERS = (
    Classifier(
        name="svc",
        title="support vector classifier, linear and RBF kernels",
        space=(
            *({"kernel": "linear", "C": c} for c in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1)),
            *({"kernel": "rbf", "C": c, "gamma": gamma} for c in (0.1, 1, 10, 100) for gamma in (0.1, 0.3, 1, 3)),
        ),
        default={"kernel": "rbf", "C": 1, "gamma": 1},
        parameters=("kernel", "C", "gamma"),
        units={"gamma": "1 / n_features"},
        estimator=lambda setting, n_features, seed: _made(  # it uses no random numbers
            "svm.SVC",
            kernel=str(setting["kernel"]),
            C=float(setting["C"]),
            gamma=float(setting["gamma"]) / n_features if setting["kernel"] == "rbf" else "scale",
            class_weight="balanced",
        ),
        seconds=lambda n, d, settings: 3e-10 * n**2 * d + settings * (1.5e-3 + 9e-10 * n**2.5),
        # the Gram triangle, one kernel, two of the held rows, libsvm's cache of 200 MB
        memory=lambda n, n_evaluation, d: (
            8.0 * (1.5 * n * n + 2 * n_evaluation * n) + min(2e8, 4.0 * n * n) + rows_alone(n, n_evaluation, d)
        ),
        sweep=sweep_svc,
    ),
    Classifier(
        name="linear-svc",
        title="linear SVM by liblinear, one against the rest, squared hinge; another model than svc's linear kernel",
        space=tuple({"C": c} for c in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1)),
        default={"C": 1e-2},
        parameters=("C",),
        estimator=lambda setting, n_features, seed: _made(
            "svm.LinearSVC", C=float(setting["C"]), class_weight="balanced", random_state=seed
        ),
        seconds=lambda n, d, settings: settings * 2.5e-7 * n * d,
    ),
    Classifier(
        name="rf",
        title="random forest of 300 trees",
        space=tuple({"max_features": m, "min_samples_leaf": leaf} for m in ("sqrt", 0.2) for leaf in (1, 4)),
        default={"max_features": "sqrt", "min_samples_leaf": 1},
        parameters=("max_features", "min_samples_leaf"),
        estimator=lambda setting, n_features, seed: _made(
            "ensemble.RandomForestClassifier",
            n_estimators=300,
            max_features=setting["max_features"],
            min_samples_leaf=setting["min_samples_leaf"],
            class_weight="balanced",
            random_state=seed,
        ),
        seconds=lambda n, d, settings: settings * (0.02 + 1e-6 * n * math.log2(n + 1) * (math.sqrt(d) + 0.2 * d)),
        memory=lambda n, n_evaluation, d: 2.5e4 * n + rows_alone(n, n_evaluation, d),
        needs_scaling=False,
        sweep=_late("forest.sweep_rf"),
        prepare=_late("forest.prepare"),
    ),
    Classifier(
        name="mlp",
        title="multi-layer perceptron, one hidden layer",
        space=tuple({"hidden": hidden, "alpha": alpha} for hidden in (64, 128, 256) for alpha in (1e-4, 1e-2, 1)),
        default={"hidden": 128, "alpha": 1e-4},
        parameters=("hidden", "alpha"),
        estimator=lambda setting, n_features, seed: _made(
            "neural_network.MLPClassifier",
            hidden_layer_sizes=(int(setting["hidden"]),),
            alpha=float(setting["alpha"]),
            max_iter=200,
            random_state=seed,
        ),
        seconds=lambda n, d, settings: settings * (0.01 + n * (4.5e-4 + 1.5e-6 * d)),
        fit_weights=balanced_weights,
        sweep=_late("perceptron.sweep_mlp"),
        prepare=_late("perceptron.prepare"),
    ),
    Classifier(
        name="logistic",
        title="multinomial logistic regression",
        space=tuple({"C": c} for c in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1)),
        default={"C": 1e-2},
        parameters=("C",),
        estimator=lambda setting, n_features, seed: _made(
            "linear_model.LogisticRegression",
            C=float(setting["C"]),
            class_weight="balanced",
            max_iter=1000,
            random_state=seed,
        ),
        seconds=lambda n, d, settings: settings * (0.013 + 1e-8 * n * d),
    ),
    Classifier(
        name="knn",
        title="k nearest neighbours",
        space=tuple({"k": k} for k in (1, 3, 5, 9, 15, 25)),
        default={"k": 5},
        parameters=("k",),
        estimator=lambda setting, n_features, seed: _made(
            "neighbors.KNeighborsClassifier", n_neighbors=int(setting["k"])
        ),
        seconds=lambda n, d, settings: settings * (3e-3 + 1e-11 * n * n * d),
        takes_weights=False,
        sweep=sweep_knn,
    ),
    Classifier(
        name="dummy",
        title="most frequent emotion of the training set",
        space=({"strategy": "most_frequent"},),
        default={"strategy": "most_frequent"},
        parameters=("strategy",),
        estimator=lambda setting, n_features, seed: _made("dummy.DummyClassifier", strategy="most_frequent"),
        seconds=lambda n, d, settings: 6e-3,
        needs_scaling=False,
        takes_weights=False,
    ),
)
