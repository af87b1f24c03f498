"""Support vector machines through scikit-learn: libsvm with kernels, liblinear without.

`gamma` of a setting counts in units of 1 / n_features.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from serbench.classifiers.record import Classifier, Held, Setting, Swept, Training, loop_sweep, rows_alone

if TYPE_CHECKING:
    import numpy as np

Kernels = tuple["np.ndarray", "np.ndarray"]
"""Kernel values of the training rows, (n_training, n_training), and of the held rows, (n_evaluation, n_training)."""


def make_svc(setting: Setting, *, n_features: int, seed: int) -> Any:
    """Make a balanced SVC; it uses no random numbers."""
    from sklearn.svm import SVC

    kernel = str(setting["kernel"])
    gamma = float(setting["gamma"]) / n_features if kernel == "rbf" else "scale"
    return SVC(kernel=kernel, C=float(setting["C"]), gamma=gamma, class_weight="balanced")


def sweep_svc(
    classifier: Classifier, settings: Sequence[Setting], training: Training, held: Held, *, seed: int
) -> Swept:
    """Sweep with one kernel matrix for all C of a kernel; libsvm alone would work each out for every C anew."""
    import numpy as np
    from sklearn.svm import SVC
    from sklearn.utils.class_weight import compute_class_weight

    # Rows of no weight are left out by libsvm, which then mistakes the columns of a given kernel; and a user's own
    # space may name kernels that share nothing.
    weightless = training.weights is not None and not (training.weights > 0).all()
    shared = {} if weightless else _by_kernel(settings)
    predictions = np.empty((len(settings), len(held.X)), dtype=np.int64)
    classes = np.unique(training.labels)
    balanced = compute_class_weight("balanced", classes=classes, y=training.labels)
    weights = dict(zip(classes.tolist(), balanced.tolist(), strict=True))
    for gamma, (train, test) in _kernels(shared, np.asarray(training.X), np.asarray(held.X)):
        for i in shared[gamma]:
            svc = SVC(kernel="precomputed", C=float(settings[i]["C"]), class_weight=weights)
            svc.fit(train, training.labels, sample_weight=training.weights)
            predictions[i] = svc.predict(test)
    others = sorted(set(range(len(settings))).difference(*shared.values()))
    if others:
        looped = loop_sweep(classifier, [settings[i] for i in others], training, held, seed=seed)
        predictions[others] = looped.predictions
    return Swept(predictions, ())


def _by_kernel(settings: Sequence[Setting]) -> dict[float | None, list[int]]:
    """Settings that share a kernel: gamma, or None for the linear kernel -> their places."""
    shared: dict[float | None, list[int]] = {}
    for i, setting in enumerate(settings):
        if setting["kernel"] == "linear":
            shared.setdefault(None, []).append(i)
        elif setting["kernel"] == "rbf":
            shared.setdefault(float(setting["gamma"]), []).append(i)
    return shared


def _kernels(
    gammas: Iterable[float | None], train: np.ndarray, test: np.ndarray
) -> Iterator[tuple[float | None, Kernels]]:
    """Yield each gamma (None: the linear kernel) with its kernels; each is overwritten by the next."""
    import numpy as np

    from serbench.classifiers import kernels

    wanted = list(gammas)
    if not wanted:
        return
    gram = kernels.Gram.of(train)
    kernel, of_test = np.empty((len(train), len(train))), np.empty((len(test), len(train)))
    if None in wanted:
        gram.linear(kernel)
        kernels.dot_products(test, train, out=of_test)
        yield None, (kernel, of_test)
    distances = kernels.squared_distances(test, train) if wanted != [None] else of_test
    for gamma in wanted:
        if gamma is not None:
            gram.rbf(gamma / train.shape[1], kernel)
            np.multiply(distances, -gamma / train.shape[1], out=of_test)
            np.exp(of_test, out=of_test)
            yield gamma, (kernel, of_test)


def svc_memory(n: int, n_held: int, d: int) -> float:
    """Bytes of a sweep: the Gram triangle, one kernel, two of the held rows, libsvm's cache of 200 MB."""
    return 8.0 * (1.5 * n * n + 2 * n_held * n) + min(2e8, 4.0 * n * n) + rows_alone(n, n_held, d)


def make_linear_svc(setting: Setting, *, n_features: int, seed: int) -> Any:
    """Make a balanced linear SVM by liblinear: one against the rest, squared hinge loss."""
    from sklearn.svm import LinearSVC

    return LinearSVC(C=float(setting["C"]), class_weight="balanced", random_state=seed)


def _linear(c: float) -> Setting:
    return {"kernel": "linear", "C": c}


def _rbf(c: float, gamma: float) -> Setting:
    return {"kernel": "rbf", "C": c, "gamma": gamma}


SVC_CLASSIFIER = Classifier(
    name="svc",
    title="support vector classifier, linear and RBF kernels",
    space=(
        *(_linear(c) for c in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1)),
        *(_rbf(c, gamma) for c in (0.1, 1, 10, 100) for gamma in (0.1, 0.3, 1, 3)),
    ),
    default=_rbf(1, 1),
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
