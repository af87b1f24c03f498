"""What one decoding of a recording tells: the set-up it was made with, simple cues, and what finds its copies.

Nothing here knows of emotions. Set-up values are words, so that one rule serves all of them; amounts of silence are
put in steps that double, from 10 ms.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from serbench.audit.copies import RATE, fingerprint
from serbench.corpora.audio import Recording, decode, read_header, read_header_text, to_mono
from serbench.corpora.labels import Record, Scan
from serbench.errors import AudioError

SILENCE_S = 0.01
"""Shortest run of zeros that counts as digital silence, in seconds."""
BESIDE_S = 0.005
"""Seconds beside a run of zeros in which something must be heard; else the room was quieter than one step of 16 bit."""
LEAST_HEARD = 2.5 / 32768
"""What is heard: three steps of 16 bit."""
CLIPPED_FROM = 3
"""Samples in a row at a recording's own peak that make it clipped."""
CUES = ("duration", "mean level", "spread of the level", "highest level")

_FRAME_S, _HOP_S = 0.025, 0.01
_FLOOR = 1e-10
_LONGEST_TEXT = 60
"""Characters of a header's text that are told apart."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What is known of one utterance.

    `setup`: fields of the recording set-up in words. `offset`: mean of the samples. `is_clipped`: see `CLIPPED_FROM`.
    `cues`: shape (4,), as `CUES`, in seconds and dB of full scale. `voice`: float16 at 4 kHz, shape (n_frames,), its
    peak 1. `fingerprint`: see `copies.fingerprint`.
    """

    utterance: str
    setup: Mapping[str, str]
    offset: float
    is_clipped: bool
    cues: np.ndarray = field(repr=False)
    voice: np.ndarray = field(repr=False)
    fingerprint: np.ndarray = field(repr=False)

    @property
    def is_silent(self) -> bool:
        """Whether every sample is zero."""
        return not np.any(self.voice)


def hear_all(scan: Scan, *, jobs: int) -> Iterator[Heard | None]:
    """Decode every utterance of a scan once, in order; None for one that cannot be decoded: the index says why."""

    def work(row: Record) -> Heard | None:
        path, start_s, end_s = scan.span(row)
        try:
            return _heard(str(row["utterance"]), path, decode(path, start_s=start_s, end_s=end_s))
        except AudioError:
            return None

    with ThreadPoolExecutor(jobs) as threads:
        yield from threads.map(work, scan.rows)


def _heard(utterance: str, path: Path, recording: Recording) -> Heard:
    voice = to_mono(recording, RATE)
    peak = float(np.abs(voice).max())
    return Heard(
        utterance,
        setup_of(path, recording),
        offset=float(recording.samples.mean(dtype=np.float64)),
        is_clipped=is_clipped(recording.samples),
        cues=simple_cues(recording),
        voice=(voice / peak if peak else voice).astype(np.float16),
        fingerprint=fingerprint(voice),
    )


def setup_of(path: Path, recording: Recording) -> dict[str, str]:
    """Return the fields of a recording's set-up in words: what its header says, bits in use, digital silence."""
    header = read_header(path)
    text = {f"header {name}": value[:_LONGEST_TEXT] for name, value in read_header_text(path).items()}
    return {
        "sampling rate": f"{header.sampling_rate} Hz",
        "container": header.container,
        "sample format": header.subtype,
        "bits in use": used_bits(recording.samples),
        "channels": str(header.channels),
        **text,
        **{f"silence {where}": in_steps(s) for where, s in digital_silence_s(recording).items()},
    }


def used_bits(samples: np.ndarray) -> str:
    """Return the bits that the samples need: 16 for a file of 24 bit whose last eight are always zero.

    >>> used_bits(np.array([[0.5], [-0.25 + 2**-15]], dtype=np.float32))
    '16'
    """
    steps = np.abs(np.clip(samples, -1, 1).astype(np.float64) * 2.0**23).astype(np.int64)
    together = int(np.bitwise_or.reduce(steps, axis=None))
    return str(24 - ((together & -together).bit_length() - 1)) if together else "silent"


def digital_silence_s(recording: Recording) -> dict[str, float]:
    """Seconds of digital silence `before`, `after` and `within` what is recorded.

    Zeros beside which next to nothing is heard are a quiet room at 16 bit, not silence that somebody put there.
    """
    level = np.abs(recording.samples).max(axis=1)
    starts, ends = _runs(level == 0)
    least, beside = (max(1, round(s * recording.sampling_rate)) for s in (SILENCE_S, BESIDE_S))
    seconds = {"before": 0.0, "after": 0.0, "within": 0.0}
    long = ends - starts >= least
    for start, end in zip(starts[long], ends[long], strict=True):
        near = np.concatenate([level[max(0, start - beside) : start], level[end : end + beside]])
        if near.max(initial=0.0) >= LEAST_HEARD:
            where = "before" if start == 0 else "after" if end == len(level) else "within"
            seconds[where] += (end - start) / recording.sampling_rate
    return seconds


def in_steps(seconds: float) -> str:
    """Word an amount of silence in steps that double.

    >>> in_steps(0), in_steps(0.015), in_steps(0.5)
    ('none', '10 to 20 ms', '320 to 640 ms')
    """
    if seconds < SILENCE_S:
        return "none"
    low = SILENCE_S * 1000 * 2 ** math.floor(math.log2(seconds / SILENCE_S))
    return f"{low:.0f} to {2 * low:.0f} ms"


def is_clipped(samples: np.ndarray) -> bool:
    """Whether some samples in a row stand at the recording's own peak: its tops are cut off.

    >>> is_clipped(np.array([[0.1], [0.9], [0.9], [0.9], [0.2]])), is_clipped(np.array([[0.1], [0.9], [0.2]]))
    (True, False)
    """
    level = np.abs(samples).max(axis=1)
    starts, ends = _runs((level > 0) & (level >= level.max()))
    return bool((ends - starts >= CLIPPED_FROM).any())


def simple_cues(recording: Recording) -> np.ndarray:
    """Duration in seconds; mean, spread and maximum of the level in dB, frames of 25 ms every 10 ms: shape (4,)."""
    power = recording.samples.astype(np.float64).mean(axis=1) ** 2
    length, hop = (max(1, round(s * recording.sampling_rate)) for s in (_FRAME_S, _HOP_S))
    length = min(length, len(power))
    starts = np.arange(0, len(power) - length + 1, hop)
    summed = np.concatenate([[0.0], np.cumsum(power)])
    level_db = 10 * np.log10((summed[starts + length] - summed[starts]).clip(0) / length + _FLOOR)
    return np.array([recording.duration_s, level_db.mean(), level_db.std(), level_db.max()])


def _runs(flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of the runs of True."""
    steps = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    return np.flatnonzero(steps == 1), np.flatnonzero(steps == -1)
