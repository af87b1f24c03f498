"""The feature set of Schiavone against a plain script, and what becomes of recordings that it is not made for."""

import dataclasses
import os
import warnings
from pathlib import Path

import librosa
import numpy as np
import pytest
import scipy.signal
import soundfile

import serbench
from serbench.corpora.audio import CLIP_MAX, Recording, decode, to_mono
from serbench.errors import AudioError
from serbench.features import find_feature_set
from serbench.features.record import problems


def by_script(piece, rate):
    """What the paper says, written down with calls of scipy and librosa alone; `piece` is mono, float64."""
    signal = scipy.signal.decimate(piece, rate // 8000) if rate > 8000 else piece
    signal = np.clip(signal, -1, 1 - 2**-15).astype(np.float32)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Trying to estimate tuning")
        rows = [
            *librosa.power_to_db(librosa.feature.melspectrogram(y=signal, sr=8000, n_mels=16)),
            *librosa.feature.mfcc(y=signal, sr=8000, n_mfcc=12),
            *librosa.feature.chroma_stft(y=signal, sr=8000),
            *librosa.feature.spectral_centroid(y=signal, sr=8000),
        ]
    assert np.shape(rows) == (41, 16)
    return np.float32(rows).reshape(-1)


def by_serbench(recording):
    schiavone = find_feature_set("schiavone")
    return schiavone.open()(to_mono(recording, schiavone.sampling_rate, resampler=schiavone.resampler))


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000, 96000])
@pytest.mark.parametrize("channels", [1, 2])
def test_features_of_a_second_are_what_a_plain_script_gives(tmp_path, write_wav, rate, channels):
    path = write_wav(tmp_path / "a.wav", seed=rate, duration_s=1, rate=rate, channels=channels)
    samples, read = soundfile.read(path, always_2d=True)
    np.testing.assert_array_equal(by_serbench(decode(path)), by_script(samples.mean(axis=1), read))


@pytest.mark.parametrize("level", [0.0, 0.99999])
def test_silence_and_full_scale_give_numbers(level):
    square = np.sign(np.sin(np.arange(16000) / 9.0)) * level
    row = by_serbench(Recording(square[:, None].astype(np.float32), 16000))
    np.testing.assert_array_equal(row, by_script(square.astype(np.float32).astype(np.float64), 16000))
    assert np.isfinite(row).all()


def test_columns_name_rows_and_frames_of_the_matrix():
    columns = find_feature_set("schiavone").open().columns
    assert len(columns) == 41 * 16 == 656
    assert columns[:2] == ("logmel0_frame0", "logmel0_frame1")
    firsts = ["logmel15_frame0", "mfcc0_frame0", "chroma0_frame0", "centroid_frame0"]
    assert [columns[16 * i] for i in (15, 16, 28, 40)] == firsts


def test_decimation_computes_in_double_precision_and_clips():
    rng = np.random.default_rng(0)
    samples = np.sign(rng.uniform(-1, 1, 8000)).repeat(6).astype(np.float32)
    mono = to_mono(Recording(samples[:, None], 48000), 8000, resampler="scipy decimate")
    whole = scipy.signal.decimate(samples.astype(np.float64), 6)
    assert (abs(whole) > 1).any()
    np.testing.assert_array_equal(mono, np.clip(whole, -1, CLIP_MAX).astype(np.float32))
    assert mono.dtype == np.float32


@pytest.mark.parametrize("rate", [4000, 11025, 44100, 14 * 8000])
def test_rates_that_are_no_multiple_are_refused(rate):
    with pytest.raises(AudioError, match=f"sampling rate of {rate} Hz.*multiple of 8000 Hz"):
        to_mono(Recording(np.zeros((rate, 1), np.float32), rate), 8000, resampler="scipy decimate")


def test_resampler_is_part_of_the_key_and_an_unknown_one_is_refused():
    mfcc, schiavone = find_feature_set("mfcc"), find_feature_set("schiavone")
    assert schiavone.description["resampler"] == "scipy decimate"
    assert mfcc.description["resampler"] == "soxr HQ"
    unknown = dataclasses.replace(mfcc, resampler="soxr VHQ")
    assert list(problems(unknown)) == [("resampler 'soxr VHQ'", "one of soxr HQ, scipy decimate")]


def test_whole_recordings_fail_and_name_the_option_and_pieces_of_another_rate_the_reason(
    make_corpus, workspace, write_wav
):
    file = make_corpus(speakers=("f1",), emotions=("anger",))
    failures = serbench.extract_features(["toy"], "schiavone", workspace(file)).failures
    assert failures["reason"].tolist() == ["schiavone needs pieces of 1 s: --segment 1"] * 2
    for path in (file.parent / "toy").iterdir():
        write_wav(path, duration_s=1.2, rate=11025)
    failures = serbench.extract_features(["toy"], "schiavone", workspace(file), segment=1).failures
    assert failures["reason"].str.contains("11025 Hz").tolist() == [True] * 2


@pytest.mark.slow
@pytest.mark.corpus
def test_features_of_emodb_are_what_a_plain_script_gives(tmp_path):
    place = serbench.Workspace(results=tmp_path)
    index = serbench.load_index("emodb", place, segment=1).set_index("utterance")
    features = serbench.load_features("emodb", "schiavone", place, segment=1)
    assert len(features) == len(index)
    for utterance in list(features.index)[::40]:
        samples, rate = soundfile.read(Path(os.environ["SERBENCH_DATA"]) / "emodb" / index.loc[utterance, "file"])
        second = round(index.loc[utterance, "start_s"])
        piece = samples[second * rate : (second + 1) * rate]
        np.testing.assert_array_equal(features.loc[utterance].to_numpy(), by_script(piece, rate))
