"""What every registered feature set keeps, whoever wrote it."""

import threading

import numpy as np
import pytest

from serbench.features import DEFAULT_FEATURES, FEATURE_SETS


def noise(n, seed=0):
    return (0.1 * np.random.default_rng(seed).normal(size=n)).astype(np.float32)


def test_defaults_are_registered():
    assert set(DEFAULT_FEATURES) <= set(FEATURE_SETS)
    assert all(name == feature_set.name for name, feature_set in FEATURE_SETS.items())


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_row_is_finite_float32_of_the_promised_length_with_distinct_names(name):
    feature_set = FEATURE_SETS[name]
    extractor = feature_set.open()
    row = extractor(noise(feature_set.sampling_rate))
    assert row.dtype == np.float32
    assert row.shape == (feature_set.n_features,)
    assert np.isfinite(row).all()
    assert len(set(extractor.columns)) == feature_set.n_features


@pytest.mark.parametrize("name", FEATURE_SETS)
def test_shortest_duration_is_the_shortest_that_gives_numbers(name):
    feature_set = FEATURE_SETS[name]
    extractor = feature_set.open()
    n = round(feature_set.shortest_s * feature_set.sampling_rate)
    step = round(0.01 * feature_set.sampling_rate)
    assert np.isfinite(extractor(noise(n))).all()
    assert not np.isfinite(extractor(noise(n - step))).all()


@pytest.mark.parametrize("name", ["IS09", "mfcc", "eGeMAPSv02"])
def test_rows_do_not_depend_on_order_or_thread(name):
    feature_set = FEATURE_SETS[name]
    signals = [noise(n, seed=n) for n in (8000, 30000, 3000, 16000)]
    extractor = feature_set.open()
    forwards = [extractor(s) for s in signals]
    backwards = [extractor(s) for s in reversed(signals)][::-1]
    threaded: dict[int, list[np.ndarray]] = {}

    def work(i):
        own = feature_set.open()
        threaded[i] = [own(s) for s in signals]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for other in (backwards, threaded[0], threaded[1]):
        for row, same in zip(forwards, other, strict=True):
            np.testing.assert_array_equal(row, same)


def test_keys_are_distinct_and_name_their_set():
    keys = [feature_set.key for feature_set in FEATURE_SETS.values()]
    assert len(set(keys)) == len(keys)
    assert all(key.startswith(f"{name}-") for name, key in zip(FEATURE_SETS, keys, strict=True))


def test_key_covers_rate_revision_and_options():
    import dataclasses

    mfcc = FEATURE_SETS["mfcc"]
    changed = [
        dataclasses.replace(mfcc, revision=2),
        dataclasses.replace(mfcc, sampling_rate=8000),
        dataclasses.replace(mfcc, resampler="soxr VHQ"),
        dataclasses.replace(mfcc, options={**mfcc.options, "n_mels": 40}),
    ]
    assert len({mfcc.key, *(c.key for c in changed)}) == 5
