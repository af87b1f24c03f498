"""What every known feature set keeps, whoever wrote it: serbench's own, and those of plug-ins that are installed."""

import dataclasses

import pytest

from serbench.features import DEFAULT_FEATURES, FEATURE_SETS, known_feature_sets
from serbench.testing import check_feature_set

KNOWN, _ = known_feature_sets()


@pytest.mark.parametrize("name", KNOWN)
def test_feature_set_keeps_the_contract(name):
    check_feature_set(KNOWN[name])


def test_keys_are_distinct_and_name_their_set():
    assert set(DEFAULT_FEATURES) <= set(FEATURE_SETS)
    keys = [feature_set.key for feature_set in KNOWN.values()]
    assert len(set(keys)) == len(keys)
    assert all(key.startswith(f"{name}-") for name, key in zip(KNOWN, keys, strict=True))


def test_key_covers_rate_revision_and_options():
    mfcc = FEATURE_SETS["mfcc"]
    changed = [
        dataclasses.replace(mfcc, revision=2),
        dataclasses.replace(mfcc, sampling_rate=8000),
        dataclasses.replace(mfcc, resampler="soxr VHQ"),
        dataclasses.replace(mfcc, options={**mfcc.options, "n_mels": 40}),
    ]
    assert len({mfcc.key, *(c.key for c in changed)}) == 5
