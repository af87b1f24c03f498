import gc
import os
import re
import subprocess
import sys
import unicodedata
import warnings
from pathlib import Path

import features_by_the_page
import librosa
import numpy as np
import pandas as pd
import pytest
import soundfile

from serbench.corpora.audio import decode, to_mono
from serbench.errors import FeatureError, UnknownNameError
from serbench.features import FEATURE_SETS, find_feature_set, smile
from serbench.features.own import read_own_features

PAGE = (Path(__file__).parents[2] / "docs" / "features.md").read_text("utf-8")


def speech(seconds=1.0, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(int(16000 * seconds)) / 16000
    voice = sum(np.sin(2 * np.pi * 140 * k * t) / k for k in range(1, 12)) * 0.1
    return (voice * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t)) + 0.01 * rng.normal(size=len(t))).astype(np.float32)


SMILE_SETS = [name for name, feature_set in FEATURE_SETS.items() if "opensmile" in feature_set.packages]
SECONDS = (0.02, 1.0, 0.05, 3.1, 0.2, 0.02, 2.5, 0.06)
"""Lengths in an order that puts too short ones and long ones after each other in one engine."""


def opensmile_of(name):
    import opensmile

    level = FEATURE_SETS[name].options["level"]
    return opensmile.Smile(opensmile.FeatureSet[name.removesuffix("-lld")], opensmile.FeatureLevel[level])


@pytest.mark.parametrize("name", SMILE_SETS)
def test_opensmile_sets_are_what_opensmile_itself_gives(name):
    """Bit for bit, through one engine that is kept; that order and threads change nothing is part of the contract."""
    smile, extractor = opensmile_of(name), find_feature_set(name).open()
    assert list(extractor.columns) == smile.feature_names
    for seed, seconds in enumerate(SECONDS):
        signal = speech(seconds, seed=seed)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Segment too short")
            direct = smile.process_signal(signal, 16000).to_numpy(dtype=np.float32)
        np.testing.assert_array_equal(np.atleast_2d(extractor(signal)), direct)


@pytest.mark.corpus
@pytest.mark.parametrize("name", ["IS09", "IS09-lld"])
def test_opensmile_sets_are_what_opensmile_itself_gives_of_a_real_recording(name):
    recording = decode(Path(os.environ["SERBENCH_DATA"]) / "emodb" / "wav" / "03a01Fa.wav")
    mono = to_mono(recording, 16000)
    expected = opensmile_of(name).process_signal(mono, 16000).to_numpy(dtype=np.float32)
    found = find_feature_set(name).open()(mono)
    np.testing.assert_array_equal(np.atleast_2d(found), expected)
    assert len(expected) == (1 if name == "IS09" else 189)


@pytest.mark.parametrize("name", ["IS09", "IS09-lld"])
def test_untested_opensmile_computes_the_same_by_itself(monkeypatch, name):
    expected = find_feature_set(name).open()(speech())
    monkeypatch.setattr(smile, "DRIVEN", frozenset())
    extractor = find_feature_set(name).open()
    assert type(extractor) is smile.SmileExtractor
    np.testing.assert_array_equal(extractor(speech()), expected)


def test_engine_that_is_set_up_again_gives_the_same_and_engines_are_freed_with_their_extractor(monkeypatch):
    freed, engines = [], type(find_feature_set("IS09").open().engine)
    monkeypatch.setattr(engines, "free", lambda engine, free=engines.free: (freed.append(id(engine)), free(engine)))
    extractor = find_feature_set("IS09").open()
    expected, engine = extractor(speech()), extractor.engine
    monkeypatch.setattr(smile, "RENEWED_AFTER", 2)
    for _ in range(3):
        np.testing.assert_array_equal(extractor(speech()), expected)
    assert extractor.engine is not engine
    assert freed.count(id(engine)) == 1
    last = id(extractor.engine)
    assert last not in freed
    del extractor
    gc.collect()
    assert last in freed


def test_opensmile_set_survives_a_recording_that_its_engine_refuses(monkeypatch):
    extractor = find_feature_set("IS09").open()
    before = extractor(speech())
    monkeypatch.setattr(type(extractor.engine), "run", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        extractor(speech(0.5))
    monkeypatch.undo()
    np.testing.assert_array_equal(extractor(speech()), before)


def librosa_log_mel(y):
    window = {"n_fft": 512, "hop_length": 160, "win_length": 400, "window": "hamming", "center": False}
    mel = librosa.feature.melspectrogram(y=y, sr=16000, n_mels=26, fmax=8000.0, norm="slaney", **window)
    return librosa.power_to_db(mel, ref=1, amin=1e-10, top_db=None)


def librosa_mfcc(y):
    return librosa.feature.mfcc(S=librosa_log_mel(y), n_mfcc=13, lifter=0)


@pytest.mark.parametrize("seconds", [0.5, 3.0])
def test_mfcc120_is_the_first_120_frames_padded_with_zeros(seconds):
    static = librosa_mfcc(speech(seconds))
    frames = find_feature_set("mfcc120").open()(speech(seconds)).reshape(120, 13)
    n = min(120, static.shape[1])
    np.testing.assert_array_equal(frames[:n], static.T[:n])
    assert not frames[n:].any()


@pytest.mark.parametrize(("name", "direct"), [("logmel26", librosa_log_mel), ("mfcc-frames", librosa_mfcc)])
def test_spectral_frames_equal_a_direct_librosa_computation_to_the_last_bit(name, direct):
    for seconds in (0.032, 0.5, 1.3):
        y = speech(seconds)
        frames = find_feature_set(name).open()(y)
        assert frames.shape == (1 + (len(y) - 512) // 160, FEATURE_SETS[name].n_features)
        np.testing.assert_array_equal(frames, direct(y).T)


def test_every_framewise_set_says_how_far_its_frames_are_apart():
    """Twice as long a signal has so many more frames as its hop tells."""
    framewise = [one for one in FEATURE_SETS.values() if one.is_framewise]
    assert {one.name for one in framewise} == {"IS09-lld", "logmel26", "mfcc-frames"}
    for one in framewise:
        extractor = one.open()
        assert len(extractor(speech(2.0))) - len(extractor(speech(1.0))) == round(1 / one.hop_s)


def test_aliases_of_old_versions_are_not_offered():
    with pytest.raises(UnknownNameError, match=r"Unknown feature set 'eGeMAPS'. Did you mean 'eGeMAPSv02'"):
        find_feature_set("eGeMAPS")


def test_own_features_are_read_from_csv_and_parquet_alike_with_ids_in_the_form_of_an_index(tmp_path):
    ids = ["toy/b", unicodedata.normalize("NFD", "toy/aé")]
    frame = pd.DataFrame({"utterance": ids, "x": [1.5, 2.5], "y": [3, 4]})
    frame.to_csv(tmp_path / "mine.csv", index=False)
    frame.to_parquet(tmp_path / "mine.parquet")
    from_csv, from_parquet = (read_own_features(tmp_path / name) for name in ("mine.csv", "mine.parquet"))
    assert from_csv.utterances == (unicodedata.normalize("NFC", ids[1]), "toy/b")
    assert from_csv.key == from_parquet.key
    np.testing.assert_array_equal(from_csv.matrix, [[2.5, 4], [1.5, 3]])


BAD_TABLES = {
    "no ids": ({"id": ["a"], "x": [1.0]}, "mine.csv", "Expected one named 'utterance'"),
    "twice": ({"utterance": ["a", "a"], "x": [1.0, 2.0]}, "mine.csv", "utterances that occur twice: a"),
    "two forms": ({"utterance": ["\xe9", "e\u0301"], "x": [1.0, 2.0]}, "mine.csv", "that occur twice: \xe9"),
    "words": ({"utterance": ["a"], "x": ["loud"]}, "mine.csv", "columns without numbers: x"),
    "nothing": ({"utterance": ["a"]}, "mine.csv", r"a table of shape \(1, 0\)"),
    "taken name": ({"utterance": ["a"], "x": [1.0]}, "IS09.csv", "the name of a feature set of serbench"),
}


@pytest.mark.parametrize(("columns", "name", "message"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_bad_tables_of_own_features_are_refused(tmp_path, columns, name, message):
    pd.DataFrame(columns).to_csv(tmp_path / name, index=False)
    with pytest.raises(FeatureError, match=message):
        read_own_features(tmp_path / name)
    with pytest.raises(FeatureError, match="no such file"):
        read_own_features(tmp_path / "absent.parquet")


RECORDINGS = {
    "16 kHz": (16000, 1, 1.3),
    "44.1 kHz, stereo, too loud once resampled": (44100, 2, 1.1),
    "fewer frames than a delta is wide": (16000, 1, 0.05),
    "one frame": (16000, 1, 0.032),
}


@pytest.mark.parametrize("kind", RECORDINGS)
def test_mfcc_is_what_the_page_on_features_says_to_the_last_bit(tmp_path, kind):
    assert [name for name in FEATURE_SETS if name not in PAGE] == []
    rate, channels, seconds = RECORDINGS[kind]
    rng = np.random.default_rng(5)
    samples = np.clip(rng.normal(0, 0.6, (round(seconds * rate), channels)), -1, 1)
    soundfile.write(str(tmp_path / "a.wav"), samples, rate, subtype="PCM_16")
    mine = find_feature_set("mfcc")
    extractor = mine.open()
    row = extractor(to_mono(decode(tmp_path / "a.wav"), mine.sampling_rate))
    np.testing.assert_array_equal(row, features_by_the_page.mfcc(str(tmp_path / "a.wav")))
    assert list(extractor.columns) == features_by_the_page.names()
    place = {"librosa": librosa, "numpy": np, "mono": features_by_the_page.samples_of(str(tmp_path / "a.wav"))}
    for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL):
        exec(block, place)
    np.testing.assert_array_equal(row, place["features"])


@pytest.mark.slow
def test_processes_that_compile_at_once_agree(tmp_path):
    # Without a lock, about every third try left a cache with which librosa ends in a segmentation fault.
    code = "import numpy; from serbench.features.spectral import schiavone; print(schiavone(numpy.sin(range(8000))))"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    told = [one.communicate()[0] for one in running]
    told.append(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)
    assert not any(one.returncode for one in running)
    assert len(set(told)) == 1
