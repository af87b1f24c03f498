import hashlib
import os
import sys

import numpy as np
import pytest
import soundfile
import soxr

from serbench.corpora.audio import CLIP_MAX, decode, to_mono
from serbench.errors import AudioError


def tone(n=16000, rate=16000, level=0.5):
    return level * np.sin(2 * np.pi * 220 * np.arange(n) / rate)


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_sample_format_decodes_to_float(tmp_path, subtype):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), 16000, subtype=subtype)
    recording = decode(path)
    assert recording.samples.dtype == np.float32
    assert np.abs(recording.samples[:, 0] - tone()).max() < 0.01


def test_stereo_becomes_the_mean_of_its_channels(tmp_path):
    path = tmp_path / "a.wav"
    left, right = tone(), 0.1 * np.ones(16000)
    soundfile.write(path, np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    mono = to_mono(decode(path), 16000)
    np.testing.assert_allclose(mono, (left + right) / 2, atol=1e-6)


def test_resampling_is_soxr_hq(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(96000, 96000), 96000, subtype="PCM_16")
    samples, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(to_mono(decode(path), 16000), soxr.resample(samples, 96000, 16000, quality="HQ"))


def test_overshoot_is_clipped_below_one_so_that_16_bit_never_wraps(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.sign(tone(44100, 44100)), 44100, subtype="FLOAT")
    mono = to_mono(decode(path), 16000)
    assert mono.max() == np.float32(CLIP_MAX)
    assert mono.min() == -1
    assert (mono * np.float32(32768)).astype(np.int16).max() == 32767


def test_fingerprint_is_of_the_samples_not_of_the_container(tmp_path):
    samples = (tone() * 32767).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="PCM_16")
    soundfile.write(tmp_path / "b.flac", samples, 16000, subtype="PCM_16")
    soundfile.write(tmp_path / "c.wav", samples, 8000, subtype="PCM_16")
    a, b, c = (decode(tmp_path / name).audio_hash for name in ("a.wav", "b.flac", "c.wav"))
    assert a == b
    assert a != c
    whole = b"16000 1 " + decode(tmp_path / "a.wav").samples.astype("<f4").tobytes()
    assert a == hashlib.sha256(whole).hexdigest()[:32]


BROKEN = {
    "an empty file": (b"", "an empty file"),
    "text": (b"hello, this is no audio\n" * 10, "unreadable"),
    "no header": (b"\0\1" * 100, "samples without a header"),
    "HTML": (b"<!DOCTYPE html><html>Not found</html>", "an HTML page, not audio"),
    "git-lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_what_is_not_audio_is_named(tmp_path, content, message):
    path = tmp_path / ("a.raw" if message.startswith("samples") else "a.wav")
    path.write_bytes(content)
    with pytest.raises(AudioError, match=message):
        decode(path)


@pytest.mark.parametrize("keep", [44, 1000, 20000])
def test_cut_wav_is_refused_though_libsndfile_reads_it(tmp_path, keep):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), 16000, subtype="PCM_16")
    path.write_bytes(path.read_bytes()[:keep])
    soundfile.info(path)
    with pytest.raises(AudioError, match=f"cut short: {keep - 44} of the 32000 bytes"):
        decode(path)


def test_wav_streamed_without_a_size_is_read(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), 16000, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert len(decode(path).samples) == 16000


FORMATS = [("WAV", "PCM_16"), ("WAV", "FLOAT"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")]


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_blocks_hold_the_bits_of_one_read(tmp_path, monkeypatch, container, subtype, channels):
    path = tmp_path / "a"
    noise = np.random.default_rng(0).normal(0, 0.2, (50000, channels))
    soundfile.write(path, noise, 16000, format=container, subtype=subtype)
    with soundfile.SoundFile(path) as file:
        whole = file.read(dtype="float32", always_2d=True)
    with soundfile.SoundFile(path) as file:
        file.seek(8000)
        part = file.read(32000, dtype="float32", always_2d=True)
    monkeypatch.setattr("serbench.corpora.audio._BLOCK", 1999)
    np.testing.assert_array_equal(decode(path).samples, whole)
    np.testing.assert_array_equal(decode(path, start_s=0.5, end_s=2.5).samples, part)


def flac_claiming(path, frames, *, rate=16000):
    """Write a FLAC whose header claims so many frames: 36 bits from byte 21 of the file."""
    soundfile.write(path, tone(1000), rate, format="FLAC")
    data = bytearray(path.read_bytes())
    data[21] = data[21] & 0xF0 | frames >> 32
    data[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(data)


def test_header_that_claims_weeks_is_refused_with_what_it_claims(tmp_path):
    path = tmp_path / "a.flac"
    flac_claiming(path, 2**36 - 1)
    with pytest.raises(AudioError, match=r"4294967 s of 1 channels .* at most 3600 s .* its header is damaged"):
        decode(path)


@pytest.mark.parametrize("rate", [1, 7, 655350])
def test_strange_rates_are_resampled_within_bounds(tmp_path, rate):
    path = tmp_path / "a.wav"
    soundfile.write(path, np.ones(max(3, rate // 100)), rate, subtype="FLOAT")
    mono = to_mono(decode(path), 16000)
    assert len(mono) == round(max(3, rate // 100) * 16000 / rate)


@pytest.mark.parametrize(("start_s", "end_s"), [(0.5, 1.5), (1e308, None), (-1e308, 1e308), (5e-324, 1e308)])
def test_segments_beyond_the_recording_are_refused(tmp_path, start_s, end_s):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), 16000)
    with pytest.raises(AudioError, match=r"segment .* within its 1.000 s"):
        decode(path, start_s=start_s, end_s=end_s)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_samples_that_are_no_numbers_or_beyond_any_scale_are_refused(tmp_path, value):
    soundfile.write(tmp_path / "a.wav", np.append(tone(), value), 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"not finite numbers, or beyond any scale"):
        decode(tmp_path / "a.wav")


def test_utterances_that_are_too_long_or_wide_are_refused_and_their_segments_read(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", np.zeros(3700 * 10), 10, subtype="PCM_16")
    with pytest.raises(AudioError, match=r"3700 s of 1 channels at 10 Hz. Expected an utterance of at most 3600 s"):
        decode(tmp_path / "a.wav")
    assert len(decode(tmp_path / "a.wav", start_s=3600, end_s=3650).samples) == 500
    monkeypatch.setattr("serbench.corpora.audio.MOST_SAMPLES", 900)
    with pytest.raises(AudioError, match=r"50 s of 1 channels .* 300 samples|100 s of 1 channels .* 900 samples"):
        decode(tmp_path / "a.wav", start_s=3600)


def test_pipe_and_folder_and_device_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "p.wav")
    (tmp_path / "d.wav").mkdir()
    (tmp_path / "z.wav").symlink_to("/dev/zero")
    for name, kind in (("p.wav", "a named pipe"), ("d.wav", "a folder"), ("z.wav", "a device")):
        with pytest.raises(AudioError, match=f"{name}: unreadable .{kind}, not a file"):
            decode(tmp_path / name)


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="needs a file system that takes any name")
def test_recording_whose_name_is_not_utf8_is_decoded(tmp_path, write_wav):
    plain = write_wav(tmp_path / "a.wav")
    odd = tmp_path / os.fsdecode(b"b\xff.wav")
    odd.write_bytes(plain.read_bytes())
    assert decode(odd).audio_hash == decode(plain).audio_hash


def test_room_is_asked_for_no_more_than_a_file_of_this_size_can_hold(tmp_path):
    path, asked = tmp_path / "a.flac", []
    flac_claiming(path, 3600 * 48000, rate=48000)
    with pytest.raises(AudioError, match=r"cannot be decoded|cut short"):
        decode(path, admit=lambda samples, duration_s: asked.append(samples))
    assert asked == [8192 * path.stat().st_size]
    assert asked[0] < 3600 * 48000
