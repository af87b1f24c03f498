"""Feature sets, by name. A new one is one entry of `FEATURE_SETS`, or a plug-in; a user's own table needs neither."""

from __future__ import annotations

from serbench.features.record import Extractor, FeatureSet, problems
from serbench.features.smile import IS09, IS09_LLD, LARGER
from serbench.features.spectral import LOGMEL26, MFCC, MFCC120, MFCC_FRAMES, SCHIAVONE
from serbench.plugins import Group, Known, find_record, know_all, plugin_names

_SETS = (IS09, MFCC, MFCC120, SCHIAVONE, *LARGER, IS09_LLD, LOGMEL26, MFCC_FRAMES)
FEATURE_SETS: dict[str, FeatureSet] = {feature_set.name: feature_set for feature_set in _SETS}
DEFAULT_FEATURES = ("IS09", "mfcc")


GROUP = Group(
    name="serbench.features",
    kind="feature set",
    record=FeatureSet,
    builtin=FEATURE_SETS,
    problems=problems,
)
"""Where plug-ins join."""


def find_feature_set(name: str) -> FeatureSet:
    """Return a feature set by name, serbench's own or a plug-in's.

    Raises
    ------
    UnknownNameError : there is none; suggests the nearest.
    PluginError : a plug-in brings it and cannot be used.
    """
    return find_record(GROUP, name)


def has_feature_set(name: str) -> bool:
    """Tell whether a name is that of a feature set, without importing plug-ins."""
    return name in FEATURE_SETS or name in plugin_names(GROUP)


def known_feature_sets() -> Known[FeatureSet]:
    """Return all feature sets, and what is wrong with plug-ins that cannot be used. Imports every plug-in."""
    return know_all(GROUP)


__all__ = [
    "DEFAULT_FEATURES",
    "FEATURE_SETS",
    "Extractor",
    "FeatureSet",
    "find_feature_set",
    "has_feature_set",
    "known_feature_sets",
]
