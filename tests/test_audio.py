import numpy as np
import pytest
import soundfile
import soxr

from serbench.audio import CLIP_MAX, decode, read_header, to_mono
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


def test_aiff_named_wav_is_read(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), 16000, format="AIFF", subtype="PCM_16")
    assert read_header(path).container == "AIFF"
    assert len(decode(path).samples) == 16000


def test_fingerprint_is_of_the_samples_not_of_the_container(tmp_path):
    samples = (tone() * 32767).astype(np.int16)
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="PCM_16")
    soundfile.write(tmp_path / "b.flac", samples, 16000, subtype="PCM_16")
    soundfile.write(tmp_path / "c.wav", samples, 8000, subtype="PCM_16")
    a, b, c = (decode(tmp_path / name).audio_hash for name in ("a.wav", "b.flac", "c.wav"))
    assert a == b
    assert a != c


def test_segment_is_cut_from_the_recording(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), 16000, subtype="FLOAT")
    whole, part = decode(path).samples, decode(path, start_s=0.25, end_s=0.5).samples
    np.testing.assert_array_equal(part, whole[4000:8000])


def test_segment_beyond_the_recording_is_refused(tmp_path):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(), 16000)
    with pytest.raises(AudioError, match=r"segment 0.5 s to 1.5 s. Expected a segment within its 1.000 s"):
        decode(path, start_s=0.5, end_s=1.5)


BROKEN = {
    "an empty file": (b"", "an empty file"),
    "text": (b"hello, this is no audio\n" * 10, "unreadable"),
    "HTML": (b"<!DOCTYPE html><html>Not found</html>", "an HTML page, not audio"),
    "git-lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git lfs pull"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_what_is_not_audio_is_named(tmp_path, content, message):
    path = tmp_path / "a.wav"
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


def test_samples_that_are_no_numbers_are_refused(tmp_path):
    path = tmp_path / "a.wav"
    samples = tone()
    samples[100] = np.nan
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"not finite"):
        decode(path)
