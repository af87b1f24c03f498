"""Altered copies: one recording under two names, re-encoded, resampled, at another level, or with other silence.

All at 4 kHz, from 100 to 1850 Hz, which all codecs and rates keep. *Fingerprint*: the magnitudes of the spectrum of the
loudness contour in six bands, which silence around a recording leaves as they are. *Correlation* of each recording with
its nearest by fingerprint: the highest normalised cross-correlation over all shifts, either way up (docs/audit.md).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import scipy.fft

RATE = 4000  # Hz at which recordings are compared
COPY_FROM = 0.9  # correlation of one recording: altered copies reach 0.98 and more, distinct sentences 0.51
SHORT_COPY_FROM = 0.95  # the same for recordings of less than `SHORT_S`: distinct words of one low voice come near 0.95
SHORT_S = 1.0  # seconds of speech from which two distinct recordings differ enough
NEAREST = 5  # number of recordings that each one is compared with, the nearest by fingerprint

_EDGES_HZ = (100, 200, 350, 550, 850, 1250, 1850)
_WINDOW, _HOP = 128, 40  # samples: 32 and 10 ms
_FRAMES = 1024  # frames of a contour that are transformed at once; a longer contour is folded, which keeps its spectrum
_MODULATIONS = np.arange(5, 105, 3)  # bins of the contour's spectrum: 0.5 to 10 Hz, as syllables and phrases come
_BLOCK = 1024
_REFINE_FROM = 0.5  # correlation at whole samples from which the shift is searched at quarters of a sample


def fingerprint(voice: np.ndarray) -> np.ndarray:
    """Spectrum of the loudness contour of samples at `RATE`: float32 of unit length, zeros for silence."""
    padded = np.pad(np.asarray(voice, dtype=np.float32), (_WINDOW, _WINDOW))
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP] * np.hanning(_WINDOW).astype(np.float32)
    power = np.abs(scipy.fft.rfft(frames, axis=1)) ** 2
    bins = [round(edge * _WINDOW / RATE) for edge in _EDGES_HZ]
    contours = np.stack([np.sqrt(power[:, a:b].sum(axis=1)) for a, b in itertools.pairwise(bins)])
    folds = -(-contours.shape[1] // _FRAMES)
    whole = np.pad(contours, ((0, 0), (0, folds * _FRAMES - contours.shape[1])))
    folded = whole.reshape(len(contours), folds, _FRAMES).sum(axis=1)
    spectrum = np.abs(scipy.fft.rfft(folded, axis=1))[:, _MODULATIONS].ravel()
    return np.asarray(spectrum / (np.linalg.norm(spectrum) or 1), dtype=np.float32)


def find_near_copies(utterances: pd.DataFrame, *, jobs: int = 1) -> pd.DataFrame:
    """Find the pairs of utterances that are one recording: sorted rows `one`, `other` and `correlation` in 0..1."""
    rows = utterances[utterances["voice"].notna()].sort_values("utterance")
    rows = rows[[bool(np.any(one)) for one in rows["fingerprint"]]]
    names, voices = rows["utterance"].tolist(), rows["voice"].tolist()
    pairs = nearest_pairs(np.stack(rows["fingerprint"].tolist())) if len(rows) > 1 else []
    with ThreadPoolExecutor(jobs) as threads:
        found = list(threads.map(lambda pair: correlation(voices[pair[0]], voices[pair[1]]), pairs))
    copies = [
        (names[i], names[j], r)
        for (i, j), r in zip(pairs, found, strict=True)
        if r >= COPY_FROM and r >= copy_from(voices[i], voices[j])
    ]
    return pd.DataFrame(copies, columns=["one", "other", "correlation"])


def nearest_pairs(prints: np.ndarray) -> list[tuple[int, int]]:
    """Pair each row of fingerprints with its nearest, each pair once and sorted; memory is a block times the corpus."""
    apart = prints - prints.mean(axis=0)  # what all speech has in common is no evidence
    apart /= np.maximum(np.linalg.norm(apart, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    n_nearest = min(NEAREST, len(prints) - 1)
    pairs = set()
    for start in range(0, len(apart), _BLOCK):
        alike = apart[start : start + _BLOCK] @ apart.T
        rows = np.arange(len(alike))
        alike[rows, rows + start] = -np.inf
        nearest = np.argpartition(-alike, n_nearest - 1, axis=1)[:, :n_nearest]
        pairs |= {(min(i + start, j), max(i + start, j)) for i in rows.tolist() for j in nearest[i].tolist()}
    return sorted(pairs)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return the highest normalised cross-correlation over all shifts in 0..1, whichever way up; 0 for silence."""
    n = scipy.fft.next_fast_len(len(one) + len(other), real=True)
    low, high = (round(edge * n / RATE) for edge in (_EDGES_HZ[0], _EDGES_HZ[-1]))
    spectra = [scipy.fft.rfft(np.asarray(voice, dtype=np.float32), n)[low:high] for voice in (one, other)]
    energy = np.sqrt(np.prod([np.sum(np.abs(spectrum) ** 2) for spectrum in spectra]))
    if not energy:
        return 0.0
    cross = np.zeros(n // 2 + 1, dtype=spectra[0].dtype)
    cross[low:high] = spectra[0] * spectra[1].conj()
    scale = n / 2 / energy  # each of these bins is two of the whole spectrum
    best = float(np.abs(scipy.fft.irfft(cross, n)).max() * scale)
    if best >= _REFINE_FROM:  # a copy may be shifted by a part of a sample
        best = float(np.abs(scipy.fft.irfft(cross, 4 * n)).max() * 4 * scale)
    return min(best, 1.0)


def copy_from(*voices: np.ndarray) -> float:
    """Return the correlation from which two recordings are one: higher where either has little within 30 dB."""
    loud = [np.flatnonzero(np.abs(voice) > 0.03 * np.abs(voice).max(initial=0)) for voice in voices]
    is_long = all(len(at) and at[-1] - at[0] >= SHORT_S * RATE for at in loud)
    return COPY_FROM if is_long else SHORT_COPY_FROM


def groups_of(pairs: Iterable[tuple[str, str]]) -> Iterator[list[str]]:
    """Put pairs of copies into sorted groups of one recording with all its copies; a chain makes several groups."""
    left = set(pairs)
    while left:
        partners: dict[str, set[str]] = {}
        for one, other in left:
            partners.setdefault(one, set()).add(other)
            partners.setdefault(other, set()).add(one)
        centre = min(partners, key=lambda name: (-len(partners[name]), name))
        group = {centre, *partners[centre]}
        left = {pair for pair in left if not set(pair) <= group}
        yield sorted(group)
