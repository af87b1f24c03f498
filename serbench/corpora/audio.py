"""Decode recordings: to float32 in [-1, 1], mean of the channels, resampled to a rate in Hz, clipped; times in seconds.

An `AudioError` names what a file really is (a git-lfs pointer, an HTML page, a cut WAV). Memory follows what a file
holds, not what its header claims.
"""

from __future__ import annotations

import functools
import hashlib
import os
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from serbench.corpora.documents import check_regular
from serbench.errors import AudioError, printable

# What decides which samples a file gives; the number goes up by one when `decode` or the fingerprint changes.
DECODER = f"1 libsndfile {soundfile.__libsndfile_version__}"
CLIP_MAX = 1 - 2**-15  # one step of 16 bit below 1, so that times 32768 never wraps
LONGEST_S = 3600.0  # of an utterance; longer recordings are read in segments. It bounds resampling from 1 Hz, too
MOST_SAMPLES = 2**28  # of an utterance over all channels: a gigabyte of float32
LOUDEST = 2.0**40  # full scale is 1; the integers of 32 bit, taken as they are, are well below
LARGEST_FACTOR = 13  # that `scipy.signal.decimate` takes in one step: its filter is not to be trusted beyond

_BLOCK = 2**22  # samples over all channels that are read at once
_MOST_FRAMES_PER_BYTE = 8192  # whatever a header claims: a block of silence in FLAC is 65,536 frames in 13 bytes
_MOST_CHUNKS = 10_000  # of a WAV, that are looked at for its samples
_STREAMED = 0x7FFFF000  # data sizes from here on are of programs that cannot seek back to the header

_PAGE = "an HTML page, not audio", "Download the file again; a server answered with a page"
_NOT_AUDIO = {
    b"version https://git-lfs": ("a git-lfs pointer, not audio", "Fetch the recordings with `git lfs pull`"),
    b"<!doctype html": _PAGE,
    b"<html": _PAGE,
}


@dataclass(frozen=True, slots=True)
class Recording:
    """Decoded samples of an utterance: float32, shape (n_frames, n_channels)."""

    samples: np.ndarray
    sampling_rate: int

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sampling_rate

    @property
    def audio_hash(self) -> str:
        """Fingerprint of the decoded samples, their rate and shape; the container does not matter."""
        digest = hashlib.sha256(f"{self.sampling_rate} {self.samples.shape[1]} ".encode())
        digest.update(np.ascontiguousarray(self.samples, dtype="<f4").data.cast("B"))  # without a copy
        return digest.hexdigest()[:32]


def read_header(path: Path) -> soundfile.SoundFile:
    """Return a recording, closed again, for its header; an `AudioError` if it is not audio, unreadable or cut short."""
    with _open(path) as file:
        return file


def read_header_text(path: Path) -> dict[str, str]:
    """Read what a header says beyond rate and format: text such as `software`, and the chunks of a WAV."""
    with _open(path) as file:
        text = {name: str(value) for name, value in file.copy_metadata().items()}
    with path.open("rb") as content:
        names = [f"fmt {length}" if name == "fmt" else name for name, length in _chunks(content)]
    return {**text, "chunks": " ".join(names)} if names else text


def decode(
    path: Path,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    admit: Callable[[int, float], None] | None = None,
) -> Recording:
    """Decode a recording, or its segment from `start_s` to `end_s`.

    `admit` is called before samples are read, with their number over all channels and their length in seconds. It may
    wait, and refuse with an `AudioError`.
    """
    with _open(path) as file:
        start, stop = frames_of(path, file, start_s=start_s, end_s=end_s)
        if admit is not None:
            frames = min(stop - start, os.stat(path).st_size * _MOST_FRAMES_PER_BYTE)
            admit(frames * file.channels, frames / file.samplerate)
        samples = _read(path, file, start=start, stop=stop)
    name = printable(path.name)
    if len(samples) != stop - start:
        raise AudioError(name, f"cut short: {len(samples)} frames", f"{stop - start} frames, as its header says")
    if not max(abs(float(samples.max())), abs(float(samples.min()))) < LOUDEST:
        raise AudioError(name, "samples that are not finite numbers, or beyond any scale", "finite samples")
    return Recording(samples, file.samplerate)


def _read(path: Path, file: soundfile.SoundFile, *, start: int, stop: int) -> np.ndarray:
    """Read frames block by block up to the first block that lacks some: a header may claim more than there is."""
    # An MP3 is read at once, as libmpg123 rounds the last bit by where reads end.
    block = stop - start if file.format == "MP3" else max(1, _BLOCK // file.channels)
    blocks = []
    try:
        if start:  # not every format can be sought in
            file.seek(start)
        for first in range(start, stop, block):
            wanted = min(block, stop - first)
            blocks.append(file.read(wanted, dtype="float32", always_2d=True))
            if len(blocks[-1]) < wanted:
                break
    except (soundfile.LibsndfileError, OSError) as error:
        reason = str(getattr(error, "error_string", error)).strip().rstrip(".")
        raise AudioError(printable(path.name), f"cannot be decoded ({reason})", "intact audio") from error
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def to_mono(recording: Recording, sampling_rate: int, *, resampler: str = "soxr HQ") -> np.ndarray:
    """Downmix, resample by one of `RESAMPLERS`, and clip: float32, shape (n_frames,), in [-1, 1 - 2**-15].

    The clip matters: resampling overshoots, and openSMILE's 16-bit conversion turns +1.0 into -32768.
    """
    mono = recording.samples.mean(axis=1) if recording.samples.shape[1] > 1 else recording.samples[:, 0]
    if recording.sampling_rate != sampling_rate:
        mono = RESAMPLERS[resampler](mono, recording.sampling_rate, sampling_rate)
    return np.asarray(np.clip(mono, -1, CLIP_MAX), dtype=np.float32)


def _decimated(mono: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Decimate by scipy's own filter (Chebyshev I of order 8, zero phase), in float64 as it loses bits in float32."""
    from scipy.signal import decimate  # brings much, and few feature sets ask for it

    factor, rest = divmod(rate, wanted)
    if rest or factor > LARGEST_FACTOR:
        multiple = f"a whole multiple of {wanted} Hz, {LARGEST_FACTOR} times at most"
        raise AudioError("decimation", f"a sampling rate of {rate} Hz", multiple, "Use another feature set")
    return np.asarray(decimate(mono.astype(np.float64), factor))


# What leads from a recording's rate to that of a feature set, by the name that is part of the set's key.
RESAMPLERS: Mapping[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
    "soxr HQ": functools.partial(soxr.resample, quality="HQ"),
    "scipy decimate": _decimated,
}


def frames_of(path: Path, file: soundfile.SoundFile, *, start_s: float | None, end_s: float | None) -> tuple[int, int]:
    """Return the first frame of a segment in a recording, and the frame after its last."""
    name, rate, n_frames = printable(path.name), file.samplerate, file.frames
    latest_s = n_frames / rate + 1  # later is outside in any case, and must not overflow
    start = round(max(-1.0, min(start_s or 0.0, latest_s)) * rate)
    stop = n_frames if end_s is None else round(max(-1.0, min(end_s, latest_s)) * rate)
    # Annotation tools round times to milliseconds or so: an end within 20 ms of the recording's is the recording's.
    if n_frames < stop <= n_frames + 0.02 * rate:
        stop = n_frames
    if not 0 <= start < stop <= n_frames:
        found, wanted = f"segment {start_s} s to {end_s} s", f"a segment within its {n_frames / rate:.3f} s"
        raise AudioError(name, found, wanted, "Correct the table of segments")
    duration_s = (stop - start) / rate
    if duration_s > LONGEST_S or (stop - start) * file.channels > MOST_SAMPLES:
        found = f"{duration_s:.0f} s of {file.channels} channels at {rate} Hz"
        wanted = f"an utterance of at most {LONGEST_S:.0f} s and {MOST_SAMPLES} samples"
        raise AudioError(name, found, wanted, "Cut it into segments; if it is not that long, its header is damaged")
    return start, stop


def _open(path: Path) -> soundfile.SoundFile:
    """Open a recording once its first bytes look like audio and its data is as long as it promises."""
    name = printable(path.name)
    if path.is_symlink() and not path.exists():
        raise AudioError(name, "a link to nothing", "a recording", "Fetch it, e.g. with `git annex get`")
    try:
        check_regular(path)
        with path.open("rb") as file:
            _check_is_audio(name, file)
        # as bytes, soundfile takes a name that is not UTF-8, too, as old archives unzip
        opened = soundfile.SoundFile(str(path) if os.name == "nt" else os.fsencode(path))
    except soundfile.LibsndfileError as error:
        reason = error.error_string.strip().rstrip(".")
        raise AudioError(name, f"unreadable ({reason})", "audio that libsndfile can decode") from error
    except OSError as error:
        raise AudioError(name, f"unreadable ({error.strerror or error})", "a readable file") from error
    except TypeError as error:  # soundfile asks for rate and format where the name ends in .raw
        raise AudioError(name, "samples without a header", "audio in a container, e.g. WAV") from error
    if min(opened.frames, opened.samplerate, opened.channels) <= 0:
        raise AudioError(name, "no samples in the file", "audio")
    return opened


def _check_is_audio(name: str, file: BinaryIO) -> None:
    """Refuse what is no audio, and a WAV that promises more bytes than it has: libsndfile reads it without a word."""
    size = os.fstat(file.fileno()).st_size
    if not size:
        raise AudioError(name, "an empty file (0 bytes)", "audio", "Copy or download it again")
    head = file.read(64).lstrip().lower()
    for magic, (found, todo) in _NOT_AUDIO.items():
        if head.startswith(magic):
            raise AudioError(name, found, todo=todo)
    file.seek(0)
    promised = next((length for chunk, length in _chunks(file) if chunk == "data"), 0)
    held = size - file.tell()
    if held < promised < _STREAMED:
        found = f"cut short: {held} of the {promised} bytes of samples its header promises"
        raise AudioError(name, found, todo="Copy or download it again")


def _chunks(file: BinaryIO) -> Iterator[tuple[str, int]]:
    """Names and lengths of a WAV's chunks, the file standing at the content of each; none of another container."""
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WAVE":
        return
    for _ in range(_MOST_CHUNKS):
        if len(chunk := file.read(8)) < 8:
            break
        name, length = struct.unpack("<4sI", chunk)
        content = file.tell()
        yield name.decode("latin-1").strip(), length
        file.seek(content + length + length % 2)
