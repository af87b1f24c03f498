"""MFCCs and log-mel bands through librosa: functionals of them, the first frames as they are, and every frame.

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
N_MELS = 26
N_FFT = 512
N_FRAMES = 120

SPECTRUM: dict[str, Option] = {
    "n_fft": N_FFT,
    "win_length": 400,
    "hop_length": 160,
    "window": "hamming",
    "center": 0,
    "n_mels": N_MELS,
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
    """A function from samples to features, with the features' names; framewise ones have a row for every frame."""

    columns: tuple[str, ...]
    compute: Callable[[np.ndarray], np.ndarray]
    is_framewise: bool = False

    def __call__(self, mono: np.ndarray) -> np.ndarray:
        """Compute the features; NaN, or no frames, where not one frame fits into the recording."""
        if len(mono) < N_FFT:
            shape = (0, len(self.columns)) if self.is_framewise else len(self.columns)
            return np.full(shape, np.nan, dtype=np.float32)
        return self.compute(mono).astype(np.float32, copy=False)


def mfcc(mono: np.ndarray) -> np.ndarray:
    """Compute 13 MFCCs: `log_mel`, orthonormal DCT-II, no lifter.

    Returns
    -------
    float32, shape (13, n_frames).
    """
    import librosa

    return np.asarray(librosa.feature.mfcc(S=log_mel(mono), n_mfcc=N_MFCC, dct_type=2, norm="ortho", lifter=0))


def log_mel(mono: np.ndarray) -> np.ndarray:
    """Compute the power in 26 Slaney mel bands up to 8 kHz, in dB of a full-scale power of 1.

    Returns
    -------
    float32, shape (26, n_frames).
    """
    import librosa

    stft = librosa.stft(mono, n_fft=N_FFT, win_length=400, hop_length=160, window="hamming", center=False)
    # What librosa.feature.melspectrogram does, but for working out the bands anew for every recording.
    power = np.einsum("ft,mf->mt", np.abs(stft) ** 2.0, mel_bands(), optimize=True)
    return np.asarray(librosa.power_to_db(power, ref=1.0, amin=1e-10, top_db=None))


@functools.cache
def mel_bands() -> np.ndarray:
    """Return 26 Slaney mel bands from 0 to 8 kHz: shape (26, 257)."""
    import librosa

    return np.asarray(librosa.filters.mel(sr=SAMPLING_RATE, n_fft=N_FFT, n_mels=N_MELS, fmin=0, fmax=8000))


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


def every_mfcc_frame(mono: np.ndarray) -> np.ndarray:
    """13 MFCCs of every frame: shape (n_frames, 13)."""
    return np.ascontiguousarray(mfcc(mono).T)


def every_log_mel_frame(mono: np.ndarray) -> np.ndarray:
    """26 log-mel bands of every frame: shape (n_frames, 26)."""
    return np.ascontiguousarray(log_mel(mono).T)


def _open_functionals() -> Extractor:
    llds = [f"mfcc{i}{suffix}" for suffix in ("", "_delta", "_delta2") for i in range(N_MFCC)]
    return SpectralExtractor(tuple(f"{lld}_{name}" for lld in llds for name in FUNCTIONALS), mfcc_functionals)


def _open_frames() -> Extractor:
    return SpectralExtractor(tuple(f"frame{t}_mfcc{i}" for t in range(N_FRAMES) for i in range(N_MFCC)), mfcc_frames)


def _open_every_frame(name: str, n: int, compute: Callable[[np.ndarray], np.ndarray]) -> Extractor:
    return SpectralExtractor(tuple(f"{name}{i}" for i in range(n)), compute, is_framewise=True)


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
_FRAMES: dict[str, Option] = {"hop_s": 0.01, "window_s": 0.025}
_DCT = ("dct", "n_mfcc", "lifter")

MFCC_FRAMES = _spectral_set(
    name="mfcc-frames",
    title="13 MFCCs of each frame",
    citation="Davis and Mermelstein, IEEE Transactions on ASSP 1980; McFee et al., librosa, SciPy 2015",
    n_features=N_MFCC,
    open=functools.partial(_open_every_frame, "mfcc", N_MFCC, every_mfcc_frame),
    options={**SPECTRUM, **_FRAMES},
    is_framewise=True,
)
LOGMEL26 = _spectral_set(
    name="logmel26",
    title="26 log-mel bands in dB of each frame",
    citation="McFee et al., librosa, SciPy 2015",
    n_features=N_MELS,
    open=functools.partial(_open_every_frame, "logmel", N_MELS, every_log_mel_frame),
    options={**{name: value for name, value in SPECTRUM.items() if name not in _DCT}, **_FRAMES},
    is_framewise=True,
)
