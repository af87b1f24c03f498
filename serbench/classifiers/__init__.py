"""Classifiers, by name. A new one is one entry of `CLASSIFIERS`, with its space in the module of its family."""

from __future__ import annotations

from serbench.classifiers.forest import FOREST
from serbench.classifiers.mlp import MLP
from serbench.classifiers.record import Classifier, Held, Setting, Swept, Training, loop_sweep
from serbench.classifiers.simple import DUMMY, KNN, LOGISTIC
from serbench.classifiers.svm import LINEAR_SVC, SVC_CLASSIFIER
from serbench.errors import UnknownNameError

CLASSIFIERS: dict[str, Classifier] = {
    classifier.name: classifier for classifier in (SVC_CLASSIFIER, LINEAR_SVC, FOREST, MLP, LOGISTIC, KNN, DUMMY)
}
DEFAULT_CLASSIFIERS = ("svc", "rf", "mlp")


def find_classifier(name: str) -> Classifier:
    """Return a classifier by name; `UnknownNameError` suggests the nearest."""
    if name not in CLASSIFIERS:
        raise UnknownNameError("classifier", name, CLASSIFIERS)
    return CLASSIFIERS[name]


__all__ = [
    "CLASSIFIERS",
    "DEFAULT_CLASSIFIERS",
    "Classifier",
    "Held",
    "Setting",
    "Swept",
    "Training",
    "find_classifier",
    "loop_sweep",
]
