import gc
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from serbench.errors import FeatureError, UnknownNameError
from serbench.features import FEATURE_SETS, find_feature_set, smile
from serbench.features.own import read_own_features


def speech(seconds=1.0, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(int(16000 * seconds)) / 16000
    voice = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 12)) * 0.1
    return (voice * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t)) + 0.01 * rng.normal(size=len(t))).astype(np.float32)


SMILE_SETS = [name for name, feature_set in FEATURE_SETS.items() if "opensmile" in feature_set.packages]
SECONDS = (0.02, 1.0, 0.05, 3.1, 0.2, 0.02, 2.5, 0.06)
"""Lengths in an order that puts too short ones and long ones after each other in one engine."""


@pytest.mark.parametrize("name", SMILE_SETS)
def test_opensmile_sets_are_what_opensmile_itself_gives(name):
    """Bit for bit, in both directions through one engine that is kept, and in two threads with one engine each."""
    import opensmile

    smile = opensmile.Smile(opensmile.FeatureSet[name], opensmile.FeatureLevel.Functionals)
    signals = [speech(seconds, seed=i) for i, seconds in enumerate(SECONDS)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Segment too short")
        direct = [smile.process_signal(signal, 16000).to_numpy(dtype=np.float32)[0] for signal in signals]
    extractor = find_feature_set(name).open()
    assert list(extractor.columns) == smile.feature_names

    def in_thread(_):
        own = find_feature_set(name).open()
        return [own(signal) for signal in signals]

    forwards = [extractor(signal) for signal in signals]
    backwards = [extractor(signal) for signal in reversed(signals)][::-1]
    with ThreadPoolExecutor(2) as pool:
        for rows in (forwards, backwards, *pool.map(in_thread, range(2))):
            np.testing.assert_array_equal(rows, direct)


def test_opensmile_set_survives_a_recording_that_its_engine_refuses(monkeypatch):
    extractor = find_feature_set("IS09").open()
    before = extractor(speech())
    monkeypatch.setattr("opensmile.core.lib.OpenSMILE.run", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        extractor(speech(0.5))
    monkeypatch.undo()
    np.testing.assert_array_equal(extractor(speech()), before)


def test_engines_are_freed_with_their_extractors(monkeypatch):
    from opensmile.core.lib import OpenSMILE

    freed = []
    free = OpenSMILE.free

    def note(engine):
        freed.append(id(engine))
        free(engine)

    monkeypatch.setattr(OpenSMILE, "free", note)
    extractor = find_feature_set("IS09").open()
    extractor(speech())
    engine = id(extractor.engine)
    assert engine not in freed
    del extractor
    gc.collect()
    assert engine in freed


def test_untested_opensmile_is_driven_after_a_test_of_itself(monkeypatch):
    monkeypatch.setattr(smile, "DRIVEN", frozenset())
    smile._drives_well.cache_clear()
    assert isinstance(smile.open_smile("IS09"), smile.EngineExtractor)


def test_opensmile_that_does_not_bear_to_be_kept_is_set_up_for_every_recording(monkeypatch):
    monkeypatch.setattr(smile, "DRIVEN", frozenset())
    smile._drives_well.cache_clear()
    expected = smile.open_smile("IS09")(speech())
    smile._drives_well.cache_clear()
    monkeypatch.setattr("opensmile.core.lib.OpenSMILE.reset", lambda self: None)
    with pytest.warns(RuntimeWarning, match=r"does not give the same IS09 when its engine is kept; each recording"):
        extractor = smile.open_smile("IS09")
    smile._drives_well.cache_clear()
    assert isinstance(extractor, smile.SmileExtractor)
    np.testing.assert_array_equal(extractor(speech()), expected)


def test_opensmile_gives_float32_so_that_storing_it_loses_nothing():
    import opensmile

    smile = opensmile.Smile(opensmile.FeatureSet.IS09, opensmile.FeatureLevel.Functionals)
    values = smile.process_signal(speech(), 16000).to_numpy(dtype=np.float64)
    np.testing.assert_array_equal(values, values.astype(np.float32).astype(np.float64))


def librosa_mfcc(y):
    import librosa

    mel = librosa.feature.melspectrogram(
        y=y, sr=16000, n_fft=512, hop_length=160, win_length=400, window="hamming", center=False,
        n_mels=26, fmin=0.0, fmax=8000.0, htk=False, norm="slaney",
    )  # fmt: skip
    return librosa.feature.mfcc(S=librosa.power_to_db(mel, ref=1, amin=1e-10, top_db=None), n_mfcc=13, lifter=0)


def test_mfcc_equals_a_direct_librosa_computation_to_the_last_bit():
    import librosa

    y = speech(1.3)
    static = librosa_mfcc(y)
    parts = {
        "": static,
        "_delta": librosa.feature.delta(static, width=9, mode="nearest"),
        "_delta2": librosa.feature.delta(static, width=9, order=2, mode="nearest"),
    }
    expected = {}
    for suffix, matrix in parts.items():
        for i, row in enumerate(matrix):
            for name, functional in (("mean", np.mean), ("std", np.std), ("min", np.min), ("max", np.max)):
                expected[f"mfcc{i}{suffix}_{name}"] = functional(matrix, axis=1)[i]
                assert row.shape == (matrix.shape[1],)
    extractor = find_feature_set("mfcc").open()
    assert list(extractor.columns) == list(expected)
    np.testing.assert_array_equal(extractor(y), np.array(list(expected.values()), dtype=np.float32))


@pytest.mark.parametrize("seconds", [0.5, 3.0])
def test_mfcc120_is_the_first_120_frames_padded_with_zeros(seconds):
    static = librosa_mfcc(speech(seconds))
    frames = find_feature_set("mfcc120").open()(speech(seconds)).reshape(120, 13)
    n = min(120, static.shape[1])
    np.testing.assert_array_equal(frames[:n], static.T[:n])
    assert not frames[n:].any()


def test_aliases_of_old_versions_are_not_offered():
    with pytest.raises(UnknownNameError, match=r"Unknown feature set 'eGeMAPS'. Did you mean 'eGeMAPSv02'"):
        find_feature_set("eGeMAPS")


def test_own_features_are_read_from_csv_and_parquet_alike(tmp_path):
    frame = pd.DataFrame({"utterance": ["toy/b", "toy/a"], "x": [1.5, 2.5], "y": [3, 4]})
    frame.to_csv(tmp_path / "mine.csv", index=False)
    frame.to_parquet(tmp_path / "mine.parquet")
    from_csv, from_parquet = (read_own_features(tmp_path / name) for name in ("mine.csv", "mine.parquet"))
    assert from_csv.utterances == ("toy/a", "toy/b")
    assert from_csv.key == from_parquet.key
    np.testing.assert_array_equal(from_csv.matrix, [[2.5, 4], [1.5, 3]])


BAD_TABLES = {
    "no ids": ({"id": ["a"], "x": [1.0]}, "mine.csv", "Expected one named 'utterance'"),
    "twice": ({"utterance": ["a", "a"], "x": [1.0, 2.0]}, "mine.csv", "utterances that occur twice: a"),
    "words": ({"utterance": ["a"], "x": ["loud"]}, "mine.csv", "columns without numbers: x"),
    "nothing": ({"utterance": ["a"]}, "mine.csv", r"a table of shape \(1, 0\)"),
    "taken name": ({"utterance": ["a"], "x": [1.0]}, "IS09.csv", "the name of a feature set of serbench"),
}


@pytest.mark.parametrize(("columns", "name", "message"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_bad_tables_of_own_features_are_refused(tmp_path, columns, name, message):
    pd.DataFrame(columns).to_csv(tmp_path / name, index=False)
    with pytest.raises(FeatureError, match=message):
        read_own_features(tmp_path / name)


def test_absent_table_is_an_error(tmp_path):
    with pytest.raises(FeatureError, match=r"no such file"):
        read_own_features(tmp_path / "none.parquet")
