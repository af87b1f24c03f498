"""openSMILE's functionals, through the opensmile package. openSMILE is free for research only.

Names are versioned ones: `eGeMAPS` and `GeMAPS` alone are aliases of superseded versions and are not offered.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from serbench.features.record import Extractor, FeatureSet

SAMPLING_RATE = 16000


@dataclass(frozen=True, slots=True)
class SmileExtractor:
    """One `opensmile.Smile`, asked for one recording at a time."""

    smile: Any

    @property
    def columns(self) -> tuple[str, ...]:
        """Feature names as openSMILE gives them."""
        return tuple(self.smile.feature_names)

    def __call__(self, mono: np.ndarray) -> np.ndarray:
        """Compute the functionals; a row of NaN where the recording is too short."""
        values = self.smile(mono, SAMPLING_RATE)
        return np.asarray(values, dtype=np.float32).reshape(-1)


def open_smile(name: str) -> Extractor:
    """Make the extractor of an openSMILE feature set, functionals level."""
    import opensmile

    # openSMILE only warns of a recording that is too short; here it becomes a row of the failures table.
    warnings.filterwarnings("ignore", message="Segment too short", category=UserWarning)
    return SmileExtractor(opensmile.Smile(opensmile.FeatureSet[name], opensmile.FeatureLevel.Functionals))


def smile_set(name: str, title: str, citation: str, *, n_features: int, shortest_s: float) -> FeatureSet:
    """Describe an openSMILE feature set."""
    return FeatureSet(
        name=name,
        title=title,
        citation=citation,
        n_features=n_features,
        sampling_rate=SAMPLING_RATE,
        shortest_s=shortest_s,
        packages=("opensmile",),
        open=functools.partial(open_smile, name),
        options={"level": "Functionals"},
    )
