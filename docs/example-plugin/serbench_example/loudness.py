"""Functionals of the level of short frames, in dB: a rough stand-in for loudness, and nothing but numpy.

Frames are 25 ms every 10 ms at 16 kHz, not centred. A level is that of a frame's mean square, relative to full scale:
0 dB for a square wave as loud as can be, and never below -100 dB, so that digital silence has one as well.
"""

from __future__ import annotations

import numpy as np

from serbench.features import Extractor, FeatureSet

SAMPLING_RATE = 16000
WIN_LENGTH = 400
HOP_LENGTH = 160
FLOOR = 1e-10
"""Added to the mean square: -100 dB."""


def levels(mono: np.ndarray) -> np.ndarray:
    """Compute the level of each frame.

    Parameters
    ----------
    mono : shape (n_samples,), in [-1, 1), at 16 kHz; at least `WIN_LENGTH` samples.

    Returns
    -------
    float64, shape (n_frames,), in dB relative to full scale.
    """
    frames = np.lib.stride_tricks.sliding_window_view(mono, WIN_LENGTH)[::HOP_LENGTH].astype(np.float64)
    return 10 * np.log10((frames**2).mean(axis=1) + FLOOR)


class Loudness:
    """Mean, deviation, deciles, slope and change of the level of a recording."""

    columns = (
        "level_mean_db",
        "level_std_db",
        "level_p10_db",
        "level_p50_db",
        "level_p90_db",
        "level_range_db",  # from the first decile to the last
        "level_slope_db_per_s",
        "level_change_db",  # mean absolute difference of frames that follow each other
    )

    def __call__(self, mono: np.ndarray) -> np.ndarray:
        """Compute the features of one recording.

        Parameters
        ----------
        mono : float32, shape (n_samples,), in [-1, 1), at 16 kHz.

        Returns
        -------
        float32, shape (8,). NaN where not one frame fits into the recording.
        """
        if len(mono) < WIN_LENGTH:
            return np.full(len(self.columns), np.nan, dtype=np.float32)
        level = levels(mono)
        low, middle, high = np.percentile(level, [10, 50, 90])
        time_s = np.arange(len(level)) * HOP_LENGTH / SAMPLING_RATE
        centred = time_s - time_s.mean()
        slope = centred @ level / (centred @ centred) if len(level) > 1 else 0.0
        change = np.abs(np.diff(level)).mean() if len(level) > 1 else 0.0
        row = [level.mean(), level.std(), low, middle, high, high - low, slope, change]
        return np.array(row, dtype=np.float32)


def open_loudness() -> Extractor:
    """Make the extractor; serbench calls this once in each of its threads."""
    return Loudness()


LOUDNESS = FeatureSet(
    name="loudness",
    title="level of short frames, eight functionals",
    citation="an example, not published",
    n_features=len(Loudness.columns),
    sampling_rate=SAMPLING_RATE,
    shortest_s=WIN_LENGTH / SAMPLING_RATE,
    packages=("numpy",),
    open=open_loudness,
    options={"win_length": WIN_LENGTH, "hop_length": HOP_LENGTH, "floor": FLOOR},
    revision=1,
)
