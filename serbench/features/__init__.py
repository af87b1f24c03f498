"""Feature sets, by name. A new one is an entry of `smile` or `spectral`, or a plug-in; your own table needs neither."""

from __future__ import annotations

from serbench.features import smile, spectral
from serbench.features.record import Extractor, FeatureSet, problems
from serbench.plugins import Group

DEFAULT_FEATURES = ("IS09", "mfcc")
_SETS = sorted(
    (*smile.FEATURE_SETS, *spectral.FEATURE_SETS), key=lambda of: (of.is_framewise, of.name not in DEFAULT_FEATURES)
)
FEATURE_SETS: dict[str, FeatureSet] = {feature_set.name: feature_set for feature_set in _SETS}

GROUP = Group("serbench.features", "feature set", FeatureSet, FEATURE_SETS, problems)
find_feature_set, has_feature_set, known_feature_sets = GROUP.find, GROUP.has, GROUP.known

__all__ = [
    "DEFAULT_FEATURES",
    "FEATURE_SETS",
    "Extractor",
    "FeatureSet",
    "find_feature_set",
    "has_feature_set",
    "known_feature_sets",
]
