"""Classifiers, by name. A new one is one entry of `CLASSIFIERS`, with its family's module, or a plug-in."""

from __future__ import annotations

from serbench.classifiers.record import Classifier, Input, Setting, Swept, Training, loop_sweep, problems
from serbench.classifiers.simple import DUMMY, FOREST, KNN, LOGISTIC, MLP
from serbench.classifiers.svm import LINEAR_SVC, SVC_CLASSIFIER
from serbench.plugins import Group, Known, find_record, know_all, plugin_names

CLASSIFIERS: dict[str, Classifier] = {
    classifier.name: classifier for classifier in (SVC_CLASSIFIER, LINEAR_SVC, FOREST, MLP, LOGISTIC, KNN, DUMMY)
}
DEFAULT_CLASSIFIERS = ("svc", "rf", "mlp")


GROUP = Group(
    name="serbench.classifiers",
    kind="classifier",
    record=Classifier,
    builtin=CLASSIFIERS,
    problems=problems,
)
"""Where plug-ins join."""


def find_classifier(name: str) -> Classifier:
    """Return a classifier by name, serbench's own or a plug-in's.

    Raises
    ------
    UnknownNameError : there is none; suggests the nearest.
    PluginError : a plug-in brings it and cannot be used.
    """
    return find_record(GROUP, name)


def has_classifier(name: str) -> bool:
    """Tell whether a name is that of a classifier, without importing plug-ins."""
    return name in CLASSIFIERS or name in plugin_names(GROUP)


def known_classifiers() -> Known[Classifier]:
    """Return all classifiers, and what is wrong with plug-ins that cannot be used. Imports every plug-in."""
    return know_all(GROUP)


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
