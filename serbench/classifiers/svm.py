"""Support vector machines (libsvm through scikit-learn). `gamma` of a setting counts in units of 1 / n_features."""

from __future__ import annotations

from typing import Any

from serbench.classifiers.record import Classifier, Setting


def make_svc(setting: Setting, *, n_features: int, seed: int) -> Any:
    """Make a balanced SVC; it uses no random numbers."""
    from sklearn.svm import SVC

    kernel = str(setting["kernel"])
    gamma = float(setting["gamma"]) / n_features if kernel == "rbf" else "scale"
    return SVC(kernel=kernel, C=float(setting["C"]), gamma=gamma, class_weight="balanced")


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
    seconds=lambda n, d, settings: settings * 5e-10 * n**2 * d,
)
