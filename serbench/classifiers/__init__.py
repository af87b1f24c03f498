"""Classifiers, by name. A new one is one entry of `CLASSIFIERS`, or a plug-in."""

from __future__ import annotations

from serbench.classifiers.estimators import DUMMY, FOREST, KNN, LINEAR_SVC, LOGISTIC, MLP, SVC_CLASSIFIER
from serbench.classifiers.record import Classifier, Input, Setting, Swept, Training, loop_sweep, problems
from serbench.plugins import Group

CLASSIFIERS: dict[str, Classifier] = {
    classifier.name: classifier for classifier in (SVC_CLASSIFIER, LINEAR_SVC, FOREST, MLP, LOGISTIC, KNN, DUMMY)
}
DEFAULT_CLASSIFIERS = ("svc", "rf", "mlp")

GROUP = Group("serbench.classifiers", "classifier", Classifier, CLASSIFIERS, problems)
find_classifier, has_classifier, known_classifiers = GROUP.find, GROUP.has, GROUP.known

__all__ = [
    "CLASSIFIERS",
    "DEFAULT_CLASSIFIERS",
    "Classifier",
    "Input",
    "Setting",
    "Swept",
    "Training",
    "find_classifier",
    "has_classifier",
    "known_classifiers",
    "loop_sweep",
]
