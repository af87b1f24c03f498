"""Feature sets, by name. A new one is one entry of `FEATURE_SETS`, or a plug-in; a user's own table needs neither."""

from __future__ import annotations

from serbench.features.record import Extractor, FeatureSet, problems
from serbench.features.schiavone import SCHIAVONE
from serbench.features.smile import smile_frames, smile_set
from serbench.features.spectral import LOGMEL26, MFCC, MFCC120, MFCC_FRAMES
from serbench.plugins import Group, Known, find_record, know_all, plugin_names

_SETS = (
    smile_set(
        "IS09",
        "INTERSPEECH 2009 Emotion Challenge",
        "Schuller et al., INTERSPEECH 2009",
        n_features=384,
        shortest_s=0.025,
    ),
    MFCC,
    MFCC120,
    SCHIAVONE,
    smile_set(
        "eGeMAPSv02",
        "extended Geneva minimalistic acoustic parameters",
        "Eyben et al., IEEE Transactions on Affective Computing 2016",
        n_features=88,
        shortest_s=0.06,
    ),
    smile_set(
        "ComParE_2016",
        "Computational Paralinguistics Challenge 2016",
        "Schuller et al., INTERSPEECH 2016",
        n_features=6373,
        shortest_s=0.06,
    ),
    smile_set(
        "GeMAPSv01b",
        "Geneva minimalistic acoustic parameters",
        "Eyben et al., IEEE Transactions on Affective Computing 2016",
        n_features=62,
        shortest_s=0.06,
    ),
    smile_set(
        "IS10",
        "INTERSPEECH 2010 Paralinguistic Challenge",
        "Schuller et al., INTERSPEECH 2010",
        n_features=1582,
        shortest_s=0.07,
    ),
    smile_set(
        "IS11",
        "INTERSPEECH 2011 Speaker State Challenge",
        "Schuller et al., INTERSPEECH 2011",
        n_features=4368,
        shortest_s=0.07,
    ),
    smile_set(
        "IS12",
        "INTERSPEECH 2012 Speaker Trait Challenge",
        "Schuller et al., INTERSPEECH 2012",
        n_features=6125,
        shortest_s=0.07,
    ),
    smile_set(
        "IS13",
        "INTERSPEECH 2013 Computational Paralinguistics Challenge",
        "Schuller et al., INTERSPEECH 2013",
        n_features=6373,
        shortest_s=0.06,
    ),
    smile_set(
        "emobase",
        "openSMILE's emobase",
        "Eyben et al., ACM Multimedia 2010",
        n_features=988,
        shortest_s=0.04,
    ),
    smile_frames(
        "IS09",
        "16 low-level descriptors of IS09 of each frame",
        "Schuller et al., INTERSPEECH 2009",
        n_features=16,
        shortest_s=0.025,
    ),
    LOGMEL26,
    MFCC_FRAMES,
)

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
