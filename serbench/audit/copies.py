"""Near copies: one recording under two names, re-encoded, resampled, at another level, or with other silence around it.

Two steps that can be followed by hand, both at 4 kHz and from 100 to 1850 Hz, which all codecs and rates keep:

1. *Fingerprint*: the spectrum of the recording's loudness contour in six bands. Its magnitudes stay as they are when
   the contour is moved, so silence before or after changes nothing, nor does the level. Each recording is held
   against its nearest by fingerprint only.
2. *Correlation*: the highest normalised cross-correlation of the two waveforms over all shifts, either way up. A copy
   is what reaches `COPY_FROM`, where little is heard `SHORT_COPY_FROM`. docs/audit.md has what was measured of both.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import scipy.fft

RATE = 4000
"""Hz at which recordings are compared."""
COPY_FROM = 0.9
"""Correlation from which two recordings are one: altered copies reach 0.98 and more, distinct sentences 0.51."""
SHORT_COPY_FROM = 0.95
"""The same where less than `SHORT_S` is heard: distinct words of one low voice, few harmonics of it, come near 0.95."""
SHORT_S = 1.0
"""Seconds of which two recordings that are alike by chance hold enough to differ."""
NEAREST = 5
"""Recordings that each one is held against, the nearest by fingerprint."""

_EDGES_HZ = (100, 200, 350, 550, 850, 1250, 1850)
_WINDOW, _HOP = 128, 40  # samples: 32 and 10 ms
_FRAMES = 1024
"""Frames of a contour that are transformed at once; a longer one is folded, which leaves its spectrum as it is."""
_MODULATIONS = np.arange(5, 105, 3)
"""Bins of the contour's spectrum: 0.5 to 10 Hz, as syllables and phrases come."""
_BLOCK = 1024
_WORTH_A_LOOK = 0.5
"""Correlation at whole samples from which the shift is looked for at quarters of a sample."""


@dataclass(frozen=True, slots=True)
class NearCopy:
    """Two utterances that are one recording, and their correlation in 0..1."""

    one: str
    other: str
    correlation: float


def fingerprint(voice: np.ndarray) -> np.ndarray:
    """Spectrum of the loudness contour in six bands: float32 of unit length, zeros for silence.

    Parameters
    ----------
    voice : samples at `RATE`, shape (n_frames,).
    """
    padded = np.pad(np.asarray(voice, dtype=np.float32), (_WINDOW, _WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP] * np.hanning(_WINDOW).astype(np.float32)
    power = np.abs(scipy.fft.rfft(frames, axis=1)) ** 2
    bins = [round(edge * _WINDOW / RATE) for edge in _EDGES_HZ]
    contours = np.stack([np.sqrt(power[:, a:b].sum(axis=1)) for a, b in itertools.pairwise(bins)])
    folds = -(-contours.shape[1] // _FRAMES)
    whole = np.pad(contours, ((0, 0), (0, folds * _FRAMES - contours.shape[1])))
    folded = whole.reshape(len(contours), folds, _FRAMES).sum(axis=1)
    spectrum = np.abs(scipy.fft.rfft(folded, axis=1))[:, _MODULATIONS].ravel()
    return _unit(spectrum).astype(np.float32)


def find_near_copies(
    voices: Mapping[str, np.ndarray], prints: Mapping[str, np.ndarray], *, jobs: int = 1
) -> list[NearCopy]:
    """Find the pairs of recordings that are one, among the nearest by fingerprint.

    Parameters
    ----------
    voices, prints : samples at `RATE` and `fingerprint` by utterance.
    """
    pairs = nearest_pairs(prints)
    with ThreadPoolExecutor(jobs) as threads:
        found = threads.map(lambda pair: correlation(voices[pair[0]], voices[pair[1]]), pairs)
        copies = [
            NearCopy(one, other, r)
            for (one, other), r in zip(pairs, found, strict=True)
            if r >= COPY_FROM and r >= copy_from(voices[one], voices[other])
        ]
    return sorted(copies, key=lambda copy: (copy.one, copy.other))


def nearest_pairs(prints: Mapping[str, np.ndarray], *, n_nearest: int = NEAREST) -> list[tuple[str, str]]:
    """Pair each utterance with its nearest by fingerprint, each pair once, silent recordings left out."""
    names = sorted(name for name, one in prints.items() if np.any(one))
    if len(names) < 2:
        return []
    matrix = np.stack([prints[name] for name in names])
    matrix = np.stack(
        [_unit(row) for row in matrix - matrix.mean(axis=0)]
    )  # what all speech has in common tells nothing
    pairs = {(min(i, j), max(i, j)) for i, j in _nearest(matrix, min(n_nearest, len(names) - 1))}
    return [(names[i], names[j]) for i, j in sorted(pairs)]


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the highest normalised cross-correlation over all shifts in 0..1, whichever way up; 0 for silence."""
    n = scipy.fft.next_fast_len(len(one) + len(other), real=True)
    spectra = [_band(scipy.fft.rfft(np.asarray(voice, dtype=np.float32), n), n) for voice in (one, other)]
    cross = spectra[0] * spectra[1].conj()
    energy = np.sqrt(np.prod([np.sum(np.abs(spectrum) ** 2) for spectrum in spectra]))
    if not energy:
        return 0.0
    scale = n / 2 / energy  # each of these bins stands for two of the whole spectrum
    best = float(np.abs(scipy.fft.irfft(cross, n)).max() * scale)
    if best >= _WORTH_A_LOOK:  # a copy may be shifted by a part of a sample
        best = float(np.abs(scipy.fft.irfft(cross, 4 * n)).max() * 4 * scale)
    return min(best, 1.0)


def copy_from(one: np.ndarray, other: np.ndarray) -> float:
    """Return the correlation from which two recordings are one, by how long the shorter one is heard."""
    return COPY_FROM if min(_heard_s(one), _heard_s(other)) >= SHORT_S else SHORT_COPY_FROM


def groups_of(copies: Sequence[NearCopy]) -> list[list[str]]:
    """Put pairs into groups of utterances that are one recording, each sorted.

    All others of a group are copies of one of its members. A is like B and B like C does not make A and C one: such
    a chain of words that are a little alike gives two groups. Every pair is in a group.
    """
    left = {frozenset((copy.one, copy.other)) for copy in copies}
    groups = []
    while left:
        partners: dict[str, set[str]] = {}
        for one, other in map(sorted, left):
            partners.setdefault(one, set()).add(other)
            partners.setdefault(other, set()).add(one)
        centre = min(partners, key=lambda name: (-len(partners[name]), name))
        group = {centre, *partners[centre]}
        left = {pair for pair in left if not pair <= group}
        groups.append(sorted(group))
    return sorted(groups)


def _heard_s(voice: np.ndarray) -> float:
    """Seconds from the first to the last sample that is 30 dB below the peak or louder."""
    level = np.abs(voice)
    loud = np.flatnonzero(level > 0.03 * level.max(initial=0))
    return float(loud[-1] - loud[0]) / RATE if len(loud) else 0.0


def _band(spectrum: np.ndarray, n: int) -> np.ndarray:
    low, high = (round(edge * n / RATE) for edge in (_EDGES_HZ[0], _EDGES_HZ[-1]))
    kept = np.zeros_like(spectrum)
    kept[low:high] = spectrum[low:high]
    return kept


def _nearest(matrix: np.ndarray, n_nearest: int) -> Iterator[tuple[int, int]]:
    """Pair each row with its nearest, block by block: memory is a block times the corpus."""
    for start in range(0, len(matrix), _BLOCK):
        alike = matrix[start : start + _BLOCK] @ matrix.T
        rows = np.arange(len(alike))
        alike[rows, rows + start] = -np.inf
        best = np.argpartition(-alike, n_nearest - 1, axis=1)[:, :n_nearest]
        yield from ((start + int(i), int(j)) for i in rows for j in best[i])


def _unit(vector: np.ndarray) -> np.ndarray:
    length = float(np.linalg.norm(vector))
    unit: np.ndarray = vector / length if length else vector
    return unit
