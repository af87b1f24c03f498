"""Classifiers, by name. A new one is an entry of `CLASSIFIERS` in `estimators`, or a plug-in."""

from __future__ import annotations

from serbench.classifiers import estimators
from serbench.classifiers.record import Classifier, Input, Setting, Swept, Training, loop_sweep, problems
from serbench.plugins import Group

CLASSIFIERS: dict[str, Classifier] = {classifier.name: classifier for classifier in estimators.CLASSIFIERS}
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
