"""Feature sets, by name. A new one is one entry of `FEATURE_SETS`, or a plug-in; a user's own table needs neither."""

from __future__ import annotations

from serbench.features.record import Extractor, FeatureSet, problems
from serbench.features.smile import IS09, IS09_LLD, LARGER
from serbench.features.spectral import LOGMEL26, MFCC, MFCC120, MFCC_FRAMES, SCHIAVONE
from serbench.plugins import Group

_SETS = (IS09, MFCC, MFCC120, SCHIAVONE, *LARGER, IS09_LLD, LOGMEL26, MFCC_FRAMES)
FEATURE_SETS: dict[str, FeatureSet] = {feature_set.name: feature_set for feature_set in _SETS}
DEFAULT_FEATURES = ("IS09", "mfcc")

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
