"""Features of Schiavone, "Multilingual Speech Emotion Recognition via Stacked Convolutional Autoencoders", section 4.

Of a piece of one second at 8 kHz, 8000 samples: 16 log-mel bands, 12 MFCCs, 12 chroma and the spectral centroid, in 16
frames each, through librosa. The paper names these and the shape, 41 x 16; frames of 2048 samples every 512, centred,
are librosa's defaults and give just that, and so is the rest. The paper scales to [0, 1] afterwards; that is fitted on
training data, so it is no part of this. The paper decimates a recording and then cuts it; here a piece is cut before it
is decimated, so that it holds nothing of its neighbours: the few samples at its ends differ.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from serbench.features.record import Extractor, FeatureSet

SAMPLING_RATE = 8000
N_SAMPLES = 8000
N_FRAMES = 16
N_MELS = 16
N_MFCC = 12
N_CHROMA = 12
FRAMES: dict[str, Any] = {"n_fft": 2048, "hop_length": 512, "center": True}

LLDS = (
    *(f"logmel{i}" for i in range(N_MELS)),
    *(f"mfcc{i}" for i in range(N_MFCC)),
    *(f"chroma{i}" for i in range(N_CHROMA)),
    "centroid",
)
"""Rows of the matrix."""


@dataclass(frozen=True, slots=True)
class SchiavoneExtractor:
    """The matrix, row after row."""

    columns: tuple[str, ...] = tuple(f"{lld}_frame{t}" for lld in LLDS for t in range(N_FRAMES))

    def __call__(self, mono: np.ndarray) -> np.ndarray:
        """Compute the features; NaN for anything but a piece of 8000 samples."""
        if len(mono) != N_SAMPLES:
            return np.full(len(self.columns), np.nan, dtype=np.float32)
        return matrix(mono).astype(np.float32, copy=False).ravel()


def matrix(mono: np.ndarray) -> np.ndarray:
    """Compute log-mel spectrum, MFCCs, chroma and spectral centroid of one piece.

    Returns
    -------
    shape (41, 16): rows as in `LLDS`, one column per frame.
    """
    from librosa import feature, power_to_db

    log_mel = power_to_db(feature.melspectrogram(y=mono, sr=SAMPLING_RATE, n_mels=N_MELS, **FRAMES))
    mfcc = feature.mfcc(y=mono, sr=SAMPLING_RATE, n_mfcc=N_MFCC, **FRAMES)
    chroma = feature.chroma_stft(y=mono, sr=SAMPLING_RATE, n_chroma=N_CHROMA, **FRAMES)
    centroid = feature.spectral_centroid(y=mono, sr=SAMPLING_RATE, **FRAMES)
    return np.concatenate([log_mel, mfcc, chroma, centroid])


def _open() -> Extractor:
    # A silent piece has no tuning to estimate; librosa then takes the usual one, and its chroma are zero.
    warnings.filterwarnings("ignore", message="Trying to estimate tuning", category=UserWarning)
    return SchiavoneExtractor()


SCHIAVONE = FeatureSet(
    name="schiavone",
    title="log-mel, MFCC, chroma and centroid of a piece of 1 s, 41 x 16, flattened",
    citation="Schiavone, Multilingual Speech Emotion Recognition via Stacked Convolutional Autoencoders",
    n_features=len(LLDS) * N_FRAMES,
    sampling_rate=SAMPLING_RATE,
    shortest_s=1.0,
    packages=("librosa", "numpy", "scipy"),
    open=_open,
    options={
        "samples": N_SAMPLES,
        "n_mels": N_MELS,
        "n_mfcc": N_MFCC,
        "n_chroma": N_CHROMA,
        # where the paper is silent, librosa's defaults
        "n_fft": FRAMES["n_fft"],
        "hop_length": FRAMES["hop_length"],
        "center": int(FRAMES["center"]),
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
