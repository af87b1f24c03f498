"""The record that describes a feature set, and its key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from serbench.keys import digest, package_versions

if TYPE_CHECKING:
    import numpy as np

Option = str | int | float | None


class Extractor(Protocol):
    """A feature set made ready to compute; each worker opens its own."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the features, in order."""
        ...

    def __call__(self, mono: np.ndarray) -> np.ndarray:
        """Compute the features of one recording.

        Parameters
        ----------
        mono : float32, shape (n_frames,), in [-1, 1), at the set's sampling rate.

        Returns
        -------
        float32, shape (n_features,). NaN where the recording is too short; the caller makes that a failure.
        """
        ...


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """A named, versioned feature set.

    `revision` goes up by one whenever the numbers of this entry may change; `options` and the versions of `packages`
    are the rest of the key. `shortest_s` is the least duration that gives numbers, in seconds.
    """

    name: str
    title: str
    citation: str
    n_features: int
    sampling_rate: int
    shortest_s: float
    packages: tuple[str, ...]
    open: Callable[[], Extractor]
    options: Mapping[str, Option]
    revision: int = 1
    resampler: str = "soxr HQ"

    @property
    def argument(self) -> str:
        """What `--features` calls it."""
        return self.name

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the packages whose releases may move the numbers."""
        return package_versions((*self.packages, "soxr"))

    @property
    def description(self) -> dict[str, object]:
        """Everything that decides the numbers; the key is its digest."""
        return {
            "name": self.name,
            "revision": self.revision,
            "sampling_rate": self.sampling_rate,
            "resampler": self.resampler,
            "options": dict(self.options),
            "versions": self.versions,
        }

    @property
    def key(self) -> str:
        """Name of this set's folder in the store, e.g. `IS09-3f2a9c1b4d5e`."""
        return f"{self.name}-{digest(self.description)[:12]}"
