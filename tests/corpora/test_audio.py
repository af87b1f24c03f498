import hashlib
import os
import re
import sys

import numpy as np
import pytest
import soundfile
import soxr

from serbench.corpora.audio import CLIP_MAX, decode, to_mono
from serbench.errors import AudioError

NOISE = np.random.default_rng(0).normal(0, 0.2, (50000, 2))


def tone(n=16000, rate=16000, level=0.5):
    return level * np.sin(2 * np.pi * 220 * np.arange(n) / rate)


@pytest.fixture
def write(tmp_path):
    """Write samples, and return the path of the recording."""

    def written(samples, rate=16000, name="a.wav", **options):
        soundfile.write(tmp_path / name, samples, rate, **options)
        return tmp_path / name

    return written


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_sample_format_decodes_to_float(write, subtype):
    samples = decode(write(tone(), subtype=subtype)).samples
    assert samples.dtype == np.float32
    assert np.abs(samples[:, 0] - tone()).max() < (0.01 if subtype == "PCM_U8" else 4e-5)


def test_stereo_becomes_the_mean_of_its_channels(write):
    left, right = tone(), 0.1 * np.ones(16000)
    mono = to_mono(decode(write(np.stack([left, right], axis=1), subtype="FLOAT")), 16000)
    np.testing.assert_allclose(mono, (left + right) / 2, atol=1e-6)


def test_resampling_is_soxr_hq(write):
    path = write(tone(96000, 96000), 96000)
    samples, _ = soundfile.read(path, dtype="float32")
    np.testing.assert_array_equal(to_mono(decode(path), 16000), soxr.resample(samples, 96000, 16000, quality="HQ"))


@pytest.mark.parametrize("rate", [1, 7, 655350])
def test_strange_rates_are_resampled_within_bounds(write, rate):
    n = max(3, rate // 100)
    assert len(to_mono(decode(write(np.ones(n), rate, subtype="FLOAT")), 16000)) == round(n * 16000 / rate)


def test_overshoot_is_clipped_below_one_so_that_16_bit_never_wraps(write):
    mono = to_mono(decode(write(np.sign(tone(44100, 44100)), 44100, subtype="FLOAT")), 16000)
    assert mono.max() == np.float32(CLIP_MAX)
    assert mono.min() == -1
    assert (mono * np.float32(32768)).astype(np.int16).max() == 32767


def test_fingerprint_is_of_the_samples_not_of_the_container(write):
    samples = (tone() * 32767).astype(np.int16)
    paths = write(samples), write(samples, name="b.flac"), write(samples, 8000, name="c.wav")
    a, b, c = (decode(path).audio_hash for path in paths)
    assert a == b != c
    whole = b"16000 1 " + decode(paths[0]).samples.astype("<f4").tobytes()
    assert a == hashlib.sha256(whole).hexdigest()[:32]


FORMATS = [
    ("WAV", "PCM_U8"),
    ("WAV", "PCM_16"),
    ("WAV", "FLOAT"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
    ("MP3", "MPEG_LAYER_III"),
]


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_blocks_hold_the_bits_of_one_read(write, monkeypatch, container, subtype, channels):
    path = write(NOISE[:, :channels], name="a", format=container, subtype=subtype)
    with soundfile.SoundFile(path) as file:
        whole = file.read(dtype="float32", always_2d=True)
        file.seek(8000)
        part = file.read(32000, dtype="float32", always_2d=True)
    monkeypatch.setattr("serbench.corpora.audio._BLOCK", 1999)
    np.testing.assert_array_equal(decode(path).samples, whole)
    np.testing.assert_array_equal(decode(path, start_s=0.5, end_s=2.5).samples, part)


CONTENTS = {
    "an empty file": (b"", "an empty file"),
    "a million chunks": (b"RIFF\0\0\0\0WAVE" + b"none\0\0\0\0" * 1_000_000, "unreadable"),
    "text": (b"hello, this is no audio\n" * 10, "unreadable"),
    "no header": (b"\0\1" * 100, "samples without a header"),
    "HTML": (b"<!DOCTYPE html><html>Not found</html>", "an HTML page, not audio"),
    "git-lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
}


@pytest.mark.parametrize(("content", "message"), CONTENTS.values(), ids=CONTENTS)
def test_what_is_not_audio_is_named(tmp_path, content, message):
    path = tmp_path / ("a.raw" if message.startswith("samples") else "a.wav")
    path.write_bytes(content)
    with pytest.raises(AudioError, match=message):
        decode(path)


@pytest.mark.parametrize("keep", [44, 1000, 20000])
def test_cut_wav_is_refused_though_libsndfile_reads_it(write, keep):
    path = write(tone())
    path.write_bytes(path.read_bytes()[:keep])
    soundfile.info(path)
    with pytest.raises(AudioError, match=f"cut short: {keep - 44} of the 32000 bytes"):
        decode(path)


def test_wav_streamed_without_a_size_is_read(write):
    path = write(tone())
    data = path.read_bytes()
    path.write_bytes(data[:40] + b"\xff\xff\xff\xff" + data[44:])
    assert len(decode(path).samples) == 16000


@pytest.fixture
def flac_claiming(write):
    """Write a FLAC whose header claims so many frames: 36 bits from byte 21 of the file."""

    def claim(frames, rate=16000):
        path = write(tone(1000), rate, name="a.flac")
        data = bytearray(path.read_bytes())
        data[21:26] = ((data[21] & 0xF0) << 32 | frames).to_bytes(5, "big")
        path.write_bytes(data)
        return path

    return claim


def test_header_that_claims_weeks_is_refused_with_what_it_claims(flac_claiming):
    with pytest.raises(AudioError, match=r"4294967 s of 1 channels .* at most 3600 s .* its header is damaged"):
        decode(flac_claiming(2**36 - 1))


def test_room_is_asked_for_no_more_than_a_file_of_this_size_can_hold(flac_claiming):
    path, asked = flac_claiming(3600 * 48000, 48000), []
    with pytest.raises(AudioError, match=r"cannot be decoded|cut short"):
        decode(path, admit=lambda samples, duration_s: asked.append(samples))
    assert asked == [8192 * path.stat().st_size]
    assert asked[0] < 3600 * 48000


@pytest.mark.parametrize(
    ("start_s", "end_s"), [(0.5, 1.5), (1e308, None), (0, 1e308), (-1e308, 1e308), (5e-324, 1e308)]
)
def test_segments_beyond_the_recording_are_refused(write, start_s, end_s):
    with pytest.raises(
        AudioError, match=re.escape(f"segment {start_s} s to {end_s} s. Expected a segment within its 1.000 s")
    ):
        decode(write(tone()), start_s=start_s, end_s=end_s)


@pytest.mark.parametrize("value", [np.nan, np.inf, 3e38])
def test_samples_that_are_no_numbers_or_beyond_any_scale_are_refused(write, value):
    with pytest.raises(AudioError, match=r"not finite numbers, or beyond any scale"):
        decode(write(np.append(tone(), value), subtype="FLOAT"))


def test_utterances_that_are_too_long_or_wide_are_refused_and_their_segments_read(write, monkeypatch):
    path = write(np.zeros(3700 * 10), 10)
    with pytest.raises(AudioError, match=r"3700 s of 1 channels at 10 Hz. Expected an utterance of at most 3600 s"):
        decode(path)
    assert len(decode(path, start_s=3600, end_s=3650).samples) == 500
    monkeypatch.setattr("serbench.corpora.audio.MOST_SAMPLES", 30000)
    with pytest.raises(AudioError, match=r"1 s of 2 channels at 16000 Hz\. Expected .* 30000 samples"):
        decode(write(np.zeros((16000, 2))))
    assert len(decode(write(np.zeros((15000, 2)))).samples) == 15000


def test_pipe_and_folder_and_device_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "p.wav")
    (tmp_path / "d.wav").mkdir()
    (tmp_path / "z.wav").symlink_to("/dev/zero")
    for name, kind in (("p.wav", "a named pipe"), ("d.wav", "a folder"), ("z.wav", "a device")):
        with pytest.raises(AudioError, match=f"{name}: unreadable .{kind}, not a file"):
            decode(tmp_path / name)


@pytest.mark.skipif(os.name == "nt" or sys.platform == "darwin", reason="needs a file system that takes any name")
def test_recording_whose_name_is_not_utf8_is_decoded(tmp_path, write):
    odd = tmp_path / os.fsdecode(b"b\xff.wav")
    odd.write_bytes(write(tone()).read_bytes())
    assert decode(odd).audio_hash == decode(tmp_path / "a.wav").audio_hash
