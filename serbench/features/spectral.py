"""MFCCs through librosa: functionals of them, and the first frames as they are.

Shapes follow librosa, (n_coefficients, n_frames). Frames are 25 ms every 10 ms, not centred, so that no frame looks
beyond the recording.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from serbench.features.record import Extractor, FeatureSet, Option

SAMPLING_RATE = 16000
N_MFCC = 13
N_FFT = 512
N_FRAMES = 120

SPECTRUM: dict[str, Option] = {
    "n_fft": N_FFT,
    "win_length": 400,
    "hop_length": 160,
    "window": "hamming",
    "center": 0,
    "n_mels": 26,
    "fmin": 0,
    "fmax": 8000,
    "mel": "slaney",
    "amin": 1e-10,
    "top_db": None,
    "dct": "II ortho",
    "n_mfcc": N_MFCC,
    "lifter": 0,
}
FUNCTIONALS = ("mean", "std", "min", "max")


@dataclass(frozen=True, slots=True)
class SpectralExtractor:
    """A function from samples to features, with the features' names."""

    columns: tuple[str, ...]
    compute: Callable[[np.ndarray], np.ndarray]

    def __call__(self, mono: np.ndarray) -> np.ndarray:
        """Compute the features; NaN where not one frame fits into the recording."""
        if len(mono) < N_FFT:
            return np.full(len(self.columns), np.nan, dtype=np.float32)
        return self.compute(mono).astype(np.float32, copy=False)


def mfcc(mono: np.ndarray) -> np.ndarray:
    """Compute 13 MFCCs (power spectrum, 26 Slaney mel bands up to 8 kHz, dB, orthonormal DCT-II, no lifter).

    Returns
    -------
    float32, shape (13, n_frames).
    """
    import librosa

    stft = librosa.stft(mono, n_fft=N_FFT, win_length=400, hop_length=160, window="hamming", center=False)
    # What librosa.feature.melspectrogram does, but for working out the bands anew for every recording.
    power = np.einsum("ft,mf->mt", np.abs(stft) ** 2.0, mel_bands(), optimize=True)
    decibel = librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None)
    return np.asarray(librosa.feature.mfcc(S=decibel, n_mfcc=N_MFCC, dct_type=2, norm="ortho", lifter=0))


@functools.cache
def mel_bands() -> np.ndarray:
    """Return 26 Slaney mel bands from 0 to 8 kHz: shape (26, 257)."""
    import librosa

    return np.asarray(librosa.filters.mel(sr=SAMPLING_RATE, n_fft=N_FFT, n_mels=26, fmin=0, fmax=8000))


def mfcc_functionals(mono: np.ndarray) -> np.ndarray:
    """Mean, standard deviation (ddof 0), minimum and maximum of 13 MFCCs, their deltas and delta-deltas."""
    import librosa

    static = mfcc(mono)
    deltas = [librosa.feature.delta(static, width=9, order=order, mode="nearest") for order in (1, 2)]
    llds = np.concatenate([static, *deltas])
    return np.stack([llds.mean(axis=1), llds.std(axis=1), llds.min(axis=1), llds.max(axis=1)], axis=1).ravel()


def mfcc_frames(mono: np.ndarray) -> np.ndarray:
    """The first 120 frames of 13 MFCCs, zero-padded, frame after frame: the shape of Goel and Beigi."""
    frames = np.zeros((N_FRAMES, N_MFCC), dtype=np.float32)
    static = mfcc(mono).T[:N_FRAMES]
    frames[: len(static)] = static
    return frames.ravel()


def _open_functionals() -> Extractor:
    llds = [f"mfcc{i}{suffix}" for suffix in ("", "_delta", "_delta2") for i in range(N_MFCC)]
    return SpectralExtractor(tuple(f"{lld}_{name}" for lld in llds for name in FUNCTIONALS), mfcc_functionals)


def _open_frames() -> Extractor:
    return SpectralExtractor(tuple(f"frame{t}_mfcc{i}" for t in range(N_FRAMES) for i in range(N_MFCC)), mfcc_frames)


_spectral_set = functools.partial(
    FeatureSet,
    sampling_rate=SAMPLING_RATE,
    shortest_s=N_FFT / SAMPLING_RATE,
    packages=("librosa", "numpy", "scipy"),
)

MFCC = _spectral_set(
    name="mfcc",
    title="13 MFCCs with deltas and delta-deltas, four functionals of each",
    citation="Davis and Mermelstein, IEEE Transactions on ASSP 1980; McFee et al., librosa, SciPy 2015",
    n_features=156,
    open=_open_functionals,
    options={**SPECTRUM, "deltas": 2, "width": 9, "mode": "nearest", "functionals": ",".join(FUNCTIONALS)},
)
MFCC120 = _spectral_set(
    name="mfcc120",
    title="13 MFCCs of the first 120 frames, zero-padded, flattened",
    citation="Goel and Beigi, Cross Lingual Cross Corpus Speech Emotion Recognition, 2020",
    n_features=1560,
    open=_open_frames,
    options={**SPECTRUM, "frames": N_FRAMES},
)
