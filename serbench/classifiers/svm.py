"""Support vector machines through scikit-learn: libsvm with kernels, liblinear without.

`gamma` of a setting counts in units of 1 / n_features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from serbench.classifiers.record import Classifier, Setting, Swept, Training, loop_sweep, rows_alone

if TYPE_CHECKING:
    import numpy as np

    from serbench.features.table import Rows


def make_svc(setting: Setting, *, n_features: int, seed: int) -> Any:
    """Make a balanced SVC; it uses no random numbers."""
    from sklearn.svm import SVC

    kernel = str(setting["kernel"])
    gamma = float(setting["gamma"]) / n_features if kernel == "rbf" else "scale"
    return SVC(kernel=kernel, C=float(setting["C"]), gamma=gamma, class_weight="balanced")


def sweep_svc(
    classifier: Classifier, settings: Sequence[Setting], training: Training, evaluation: Rows, *, seed: int
) -> Swept:
    """Sweep with one kernel matrix for all C of a kernel; libsvm alone would compute each again for every C."""
    import numpy as np
    from sklearn.svm import SVC
    from sklearn.utils.class_weight import compute_class_weight

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
    classes = np.unique(training.labels)
    balanced = compute_class_weight("balanced", classes=classes, y=training.labels)
    weights = dict(zip(classes.tolist(), balanced.tolist(), strict=True))
    for gamma, train, test in _kernels(list(shared), np.asarray(training.X), np.asarray(evaluation)):
        for i in shared[gamma]:
            svc = SVC(kernel="precomputed", C=float(settings[i]["C"]), class_weight=weights)
            predictions[i] = svc.fit(train, training.labels, sample_weight=training.weights).predict(test)
    if alone:
        looped = loop_sweep(classifier, [settings[i] for i in alone], training, evaluation, seed=seed)
        predictions[alone] = looped.predictions
    return Swept(predictions, ())


def _kernels(
    gammas: Sequence[float | None], train: np.ndarray, test: np.ndarray
) -> Iterator[tuple[float | None, np.ndarray, np.ndarray]]:
    """Yield each gamma (None: the linear kernel) with its kernels of both; each is overwritten by the next.

    Their shapes are (n_training, n_training) and (n_evaluation, n_training).
    """
    import numpy as np

    from serbench.classifiers import kernels

    if not gammas:
        return
    gram = kernels.Gram.of(train)
    kernel, of_test = np.empty((len(train), len(train))), np.empty((len(test), len(train)))
    if None in gammas:
        gram.linear(kernel)
        kernels.dot_products(test, train, out=of_test)
        yield None, kernel, of_test
    relative = [gamma for gamma in gammas if gamma is not None]
    distances = kernels.squared_distances(test, train) if relative else of_test
    for gamma in relative:
        gram.rbf(gamma / train.shape[1], kernel)
        np.multiply(distances, -gamma / train.shape[1], out=of_test)
        np.exp(of_test, out=of_test)
        yield gamma, kernel, of_test


def svc_memory(n: int, n_evaluation: int, d: int) -> float:
    """Return the bytes of a sweep: the Gram triangle, one kernel, two of the held rows, libsvm's cache of 200 MB."""
    return 8.0 * (1.5 * n * n + 2 * n_evaluation * n) + min(2e8, 4.0 * n * n) + rows_alone(n, n_evaluation, d)


def make_linear_svc(setting: Setting, *, n_features: int, seed: int) -> Any:
    """Make a balanced linear SVM by liblinear: one against the rest, squared hinge loss."""
    from sklearn.svm import LinearSVC

    return LinearSVC(C=float(setting["C"]), class_weight="balanced", random_state=seed)


SVC_CLASSIFIER = Classifier(
    name="svc",
    title="support vector classifier, linear and RBF kernels",
    space=(
        *({"kernel": "linear", "C": c} for c in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1)),
        *({"kernel": "rbf", "C": c, "gamma": gamma} for c in (0.1, 1, 10, 100) for gamma in (0.1, 0.3, 1, 3)),
    ),
    default={"kernel": "rbf", "C": 1, "gamma": 1},
    parameters=("kernel", "C", "gamma"),
    estimator=make_svc,
    seconds=lambda n, d, settings: 3e-10 * n**2 * d + settings * (1.5e-3 + 9e-10 * n**2.5),
    memory=svc_memory,
    sweep=sweep_svc,
)
LINEAR_SVC = Classifier(
    name="linear-svc",
    title="linear SVM by liblinear, one against the rest, squared hinge loss; another model than svc's linear kernel",
    space=tuple({"C": c} for c in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1)),
    default={"C": 1e-2},
    parameters=("C",),
    estimator=make_linear_svc,
    seconds=lambda n, d, settings: settings * 2.5e-7 * n * d,
)
