"""The record that describes a feature set, and its key."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from serbench.plugins import Package, Problem
from serbench.store.keys import digest, package_versions

if TYPE_CHECKING:
    import numpy as np

Option = str | int | float | None


class Extractor(Protocol):
    """A feature set made ready to compute; each worker opens its own."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the features, in order."""

    def __call__(self, mono: np.ndarray) -> np.ndarray:
        """Compute the features of one recording: float32 in [-1, 1), shape (n_samples,), at the set's sampling rate.

        Returns
        -------
        float32, shape (n_features,), of a framewise set (n_frames, n_features). NaN (or no frames) where the recording
        is too short; the caller makes that a failure.
        """


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """A named, versioned feature set.

    `revision` goes up by one whenever the numbers of this entry may change; `options` and the versions of `packages`
    are the rest of the key. `shortest_s` is the least duration that gives numbers, in seconds; `piece_s` the only one,
    where recordings must be cut into segments first. `is_framewise`: the extractor gives one row per frame, and the
    option `hop_s` the seconds between them. `resampler` is one of `serbench.corpora.audio.RESAMPLERS`.
    `bytes_per_sample` is the most memory that computing takes, beside the recording (measured: IS09 26, schiavone 51),
    and `cost` how many seconds one core takes for a second of sound, for the expected time alone.
    `package` is filled in for a plug-in.
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
    is_framewise: bool = False
    package: Package | None = None
    piece_s: float | None = None
    bytes_per_sample: int = 56
    cost: float = 0.003

    @property
    def hop_s(self) -> float | None:
        """Seconds from one frame to the next; None where there is one row per recording."""
        hop = self.options.get("hop_s") if self.is_framewise else None
        return float(hop) if isinstance(hop, int | float) else None

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the packages whose releases may move the numbers; of a plug-in's own package the whole one."""
        own = {} if self.package is None else {self.package.name: self.package.version}
        return {**package_versions((*self.packages, "soxr")), **own}

    @property
    def description(self) -> dict[str, object]:
        """Everything that decides the numbers; the key is its digest."""
        names = ("name", "revision", "sampling_rate", "resampler", "versions")
        frames = {"is_framewise": True} if self.is_framewise else {}
        return {**{name: getattr(self, name) for name in names}, "options": dict(self.options), **frames}

    @property
    def key(self) -> str:
        """Name of this set's folder in the store, e.g. `IS09-3f2a9c1b4d5e`."""
        return f"{self.name}-{digest(self.description)[:12]}"

    def length_fault(self, duration_s: float) -> str:
        """Return why a recording of this duration gives no numbers; empty where its duration is not the reason."""
        if self.piece_s is not None and duration_s != self.piece_s:
            return f"{self.name} needs pieces of {self.piece_s:g} s: --segment {self.piece_s:g}"
        if duration_s < self.shortest_s:
            return f"too short: {duration_s * 1000:.0f} ms, {self.name} needs {self.shortest_s * 1000:.0f} ms"
        return ""


def problems(feature_set: FeatureSet) -> Iterator[Problem]:
    """Look for what would fail far from its cause, and compute nothing."""
    from serbench.corpora.audio import RESAMPLERS  # brings the decoder, which lists of feature sets do without

    for name in ("n_features", "sampling_rate"):
        number = getattr(feature_set, name)
        if type(number) is not int or number < 1:
            yield f"{name} {number!r}", "a whole number, 1 or more"
    if not isinstance(feature_set.shortest_s, int | float) or not 0 <= feature_set.shortest_s < float("inf"):
        yield f"shortest_s {feature_set.shortest_s!r}", "seconds, 0 or more"
    if feature_set.is_framewise and not 0 < (feature_set.hop_s or 0) < float("inf"):
        yield "frames without the option 'hop_s'", "seconds from one frame to the next, more than 0"
    if feature_set.resampler not in RESAMPLERS:
        yield f"resampler {feature_set.resampler!r}", f"one of {', '.join(RESAMPLERS)}"
    if not callable(feature_set.open):
        yield f"open {feature_set.open!r}", "a function that returns an extractor"
    try:
        digest(feature_set.description)
    except (TypeError, ValueError) as error:
        yield f"options that cannot be part of a key ({error})", "text, finite numbers or None by name"
