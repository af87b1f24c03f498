"""Feature sets through librosa: MFCCs, log-mel bands, and the features of Schiavone.

Shapes follow librosa, (n_coefficients, n_frames). Frames of MFCCs and log-mel bands are 25 ms every 10 ms, not centred,
so that no frame looks beyond the recording.

`schiavone` is Schiavone, "Multilingual Speech Emotion Recognition via Stacked Convolutional Autoencoders", section 4:
of a segment of one second at 8 kHz, 16 log-mel bands, 12 MFCCs, 12 chroma and the spectral centroid, in 16 frames each.
The paper names these and the shape, 41 x 16, which librosa's defaults give. The paper then scales to [0, 1], which is
fitted on training data and so no part of this set. The paper decimates a recording and then cuts it; here a segment is
cut first, so that it contains nothing of its neighbours; a few samples at its ends differ.
"""

from __future__ import annotations

import functools
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from serbench.features.record import Extractor, FeatureSet, Option

SAMPLING_RATE = 16000
N_MFCC = 13
N_MELS = 26
N_FFT = 512
N_FRAMES = 120

_STFT: dict[str, Any] = {"n_fft": N_FFT, "win_length": 400, "hop_length": 160, "window": "hamming"}
_MEL: dict[str, Any] = {"n_mels": N_MELS, "fmin": 0, "fmax": 8000}
_DECIBEL: dict[str, Any] = {"amin": 1e-10, "top_db": None}
LOG_MEL_OPTIONS: dict[str, Option] = {**_STFT, "center": 0, **_MEL, "mel": "slaney", **_DECIBEL}
MFCC_OPTIONS: dict[str, Option] = {**LOG_MEL_OPTIONS, "dct": "II ortho", "n_mfcc": N_MFCC, "lifter": 0}
FUNCTIONALS = ("mean", "std", "min", "max")

SECOND = 8000  # samples of the segment of schiavone, and their rate in Hz
SCHIAVONE_FRAMES: dict[str, Any] = {"n_fft": 2048, "hop_length": 512, "center": True}


@dataclass(frozen=True, slots=True)
class SpectralExtractor:
    """A function from samples to features, with their names, for recordings of so many samples: least, most."""

    columns: tuple[str, ...]
    compute: Callable[[np.ndarray], np.ndarray]
    n_samples: tuple[int, float] = (N_FFT, np.inf)
    is_framewise: bool = False

    def __call__(self, mono: np.ndarray) -> np.ndarray:
        """Compute the features; NaN, or no frames, of a recording with too few samples (or too many)."""
        if not self.n_samples[0] <= len(mono) <= self.n_samples[1]:
            shape = (0, len(self.columns)) if self.is_framewise else len(self.columns)
            return np.full(shape, np.nan, dtype=np.float32)
        found = self.compute(mono).astype(np.float32, copy=False)
        return np.ascontiguousarray(found.T) if self.is_framewise else found


@functools.cache
def load_librosa() -> Any:
    """Import librosa, one process at a time: two that let numba compile it at once spoil its cache (numba #10128)."""
    with FileLock(Path(tempfile.gettempdir()) / f"serbench-librosa-{os.getuid()}.lock"):
        import librosa.core.pitch
        import librosa.util.utils
    return librosa


def mfcc(mono: np.ndarray) -> np.ndarray:
    """Compute 13 MFCCs: `log_mel`, orthonormal DCT-II, no lifter; float32, shape (13, n_frames)."""
    librosa = load_librosa()
    return np.asarray(librosa.feature.mfcc(S=log_mel(mono), n_mfcc=N_MFCC, dct_type=2, norm="ortho", lifter=0))


def log_mel(mono: np.ndarray) -> np.ndarray:
    """Compute 26 Slaney mel bands up to 8 kHz, in dB of a full-scale power of 1; float32, shape (26, n_frames)."""
    librosa = load_librosa()
    stft = librosa.stft(mono, **_STFT, center=False)
    # What librosa.feature.melspectrogram does, without computing the bands for every recording.
    power = np.einsum("ft,mf->mt", np.abs(stft) ** 2.0, _mel_bands(), optimize=True)
    return np.asarray(librosa.power_to_db(power, ref=1.0, **_DECIBEL))


@functools.cache
def _mel_bands() -> np.ndarray:
    librosa = load_librosa()
    return np.asarray(librosa.filters.mel(sr=SAMPLING_RATE, n_fft=N_FFT, **_MEL))


def mfcc_functionals(mono: np.ndarray) -> np.ndarray:
    """Mean, standard deviation (ddof 0), minimum and maximum of 13 MFCCs, their deltas and delta-deltas."""
    librosa = load_librosa()
    static = mfcc(mono)
    deltas = [librosa.feature.delta(static, width=9, order=order, mode="nearest") for order in (1, 2)]
    llds = np.concatenate([static, *deltas])
    return np.stack([llds.mean(axis=1), llds.std(axis=1), llds.min(axis=1), llds.max(axis=1)], axis=1).ravel()


def first_mfcc_frames(mono: np.ndarray) -> np.ndarray:
    """The first 120 frames of 13 MFCCs, zero-padded, frame after frame: the shape of Goel and Beigi."""
    frames = np.zeros((N_FRAMES, N_MFCC), dtype=np.float32)
    static = mfcc(mono).T[:N_FRAMES]
    frames[: len(static)] = static
    return frames.ravel()


def schiavone(mono: np.ndarray) -> np.ndarray:
    """Compute log-mel spectrum, MFCCs, chroma and spectral centroid of one second, row after row."""
    librosa = load_librosa()
    feature = librosa.feature
    log_mel = librosa.power_to_db(feature.melspectrogram(y=mono, sr=SECOND, n_mels=16, **SCHIAVONE_FRAMES))
    cepstrum = feature.mfcc(y=mono, sr=SECOND, n_mfcc=12, **SCHIAVONE_FRAMES)
    chroma = feature.chroma_stft(y=mono, sr=SECOND, n_chroma=12, **SCHIAVONE_FRAMES)
    centroid = feature.spectral_centroid(y=mono, sr=SECOND, **SCHIAVONE_FRAMES)
    return np.concatenate([log_mel, cepstrum, chroma, centroid]).ravel()


def _open_schiavone() -> Extractor:
    # A silent segment has no tuning to estimate; librosa then takes the usual one, and its chroma are zero.
    warnings.filterwarnings("ignore", message="Trying to estimate tuning", category=UserWarning)
    kinds = {"logmel": 16, "mfcc": 12, "chroma": 12}
    llds = [*(f"{kind}{i}" for kind, n in kinds.items() for i in range(n)), "centroid"]
    return SpectralExtractor(tuple(f"{lld}_frame{t}" for lld in llds for t in range(16)), schiavone, (SECOND, SECOND))


_DAVIS = "Davis and Mermelstein, IEEE Transactions on ASSP 1980; McFee et al., librosa, SciPy 2015"
_GOEL = "Goel and Beigi, Cross Lingual Cross Corpus Speech Emotion Recognition, 2020"
_PACKAGES = ("librosa", "numpy", "scipy")


def _spectral_set(
    about: tuple[str, str, str],
    columns: Sequence[str],
    compute: Callable[[np.ndarray], np.ndarray],
    options: Mapping[str, Option],
    *,
    is_framewise: bool = False,
) -> FeatureSet:
    """Describe features of frames of 25 ms every 10 ms; `about` is the set's name, title and citation."""
    hops: dict[str, Option] = {"hop_s": 0.01, "window_s": 0.025} if is_framewise else {}
    return FeatureSet(
        *about,
        n_features=len(columns),
        sampling_rate=SAMPLING_RATE,
        shortest_s=N_FFT / SAMPLING_RATE,
        packages=_PACKAGES,
        open=functools.partial(SpectralExtractor, tuple(columns), compute, is_framewise=is_framewise),
        options={**options, **hops},
        is_framewise=is_framewise,
    )


_MFCCS, _LOG_MELS = [f"mfcc{i}" for i in range(N_MFCC)], [f"logmel{i}" for i in range(N_MELS)]
_LLDS = [f"{mfcc}{suffix}" for suffix in ("", "_delta", "_delta2") for mfcc in _MFCCS]
MFCC = _spectral_set(
    ("mfcc", "13 MFCCs with deltas and delta-deltas, four functionals of each", _DAVIS),
    [f"{lld}_{name}" for lld in _LLDS for name in FUNCTIONALS],
    mfcc_functionals,
    {**MFCC_OPTIONS, "deltas": 2, "width": 9, "mode": "nearest", "functionals": ",".join(FUNCTIONALS)},
)
MFCC120 = _spectral_set(
    ("mfcc120", "13 MFCCs of the first 120 frames, zero-padded, flattened", _GOEL),
    [f"frame{t}_{mfcc}" for t in range(N_FRAMES) for mfcc in _MFCCS],
    first_mfcc_frames,
    {**MFCC_OPTIONS, "frames": N_FRAMES},
)
_FRAMES = ("mfcc-frames", "13 MFCCs of each frame", _DAVIS)
MFCC_FRAMES = _spectral_set(_FRAMES, _MFCCS, mfcc, MFCC_OPTIONS, is_framewise=True)
_BANDS = ("logmel26", "26 log-mel bands in dB of each frame", "McFee et al., librosa, SciPy 2015")
LOGMEL26 = _spectral_set(_BANDS, _LOG_MELS, log_mel, LOG_MEL_OPTIONS, is_framewise=True)
SCHIAVONE = FeatureSet(
    name="schiavone",
    title="log-mel, MFCC, chroma and centroid of a piece of 1 s, 41 x 16, flattened",
    citation="Schiavone, Multilingual Speech Emotion Recognition via Stacked Convolutional Autoencoders",
    n_features=41 * 16,
    sampling_rate=SECOND,
    shortest_s=1.0,
    packages=_PACKAGES,
    open=_open_schiavone,
    options={
        **{"samples": SECOND, "n_mels": 16, "n_mfcc": 12, "n_chroma": 12},
        # where the paper says nothing, librosa's defaults
        **{"n_fft": 2048, "hop_length": 512, "center": 1},
        "pad_mode": "constant",
        "window": "hann",
        "mel": "slaney 0-4000 Hz",
        "decibel": "power, ref 1, amin 1e-10, top_db 80",
        "mfcc_of": "128 mel bands in dB, DCT-II ortho, no lifter",
        "chroma_of": "power, tuning estimated, norm inf",
        "centroid_of": "magnitude, Hz",
    },
    resampler="scipy decimate",
    piece_s=1.0,
)
FEATURE_SETS = (MFCC, MFCC120, SCHIAVONE, LOGMEL26, MFCC_FRAMES)
