"""openSMILE's functionals and low-level descriptors, through opensmile. openSMILE is free for research only.

Names are versioned ones: `eGeMAPS` and `GeMAPS` alone are aliases of superseded versions and are not offered.

`opensmile.Smile` sets up a new engine for every recording. The driver here keeps one per thread and resets it, through
`opensmile.core.lib`, the binding inside the wheel. It was tested with the releases in `DRIVEN`; with any other it first
has to give what `Smile` gives for a few signals.
"""

from __future__ import annotations

import functools
import os
import warnings
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serbench.features.record import Extractor, FeatureSet

SAMPLING_RATE = 16000
DRIVEN = frozenset({"2.6.0"})
"""Releases of opensmile whose numbers the driver was held to, bit for bit."""

FUNCTIONALS, DESCRIPTORS = "Functionals", "LowLevelDescriptors"


@dataclass(frozen=True, slots=True)
class SmileExtractor:
    """One `opensmile.Smile`, asked for one recording at a time."""

    smile: Any

    @property
    def columns(self) -> tuple[str, ...]:
        """Feature names as openSMILE gives them."""
        return tuple(self.smile.feature_names)

    def __call__(self, mono: np.ndarray) -> np.ndarray:
        """Compute a row of functionals, or of descriptors for every frame; NaN where the recording is too short."""
        values: np.ndarray = self.smile(mono, SAMPLING_RATE)[0].T  # of the only channel
        return _shaped([np.asarray(values, dtype=np.float32)], self.smile)


@dataclass(slots=True, weakref_slot=True)
class EngineExtractor:
    """One openSMILE engine, kept and reset between recordings; for one thread at a time.

    `smile` is an `opensmile.Smile` that tells names and places of configuration files; it computes nothing.
    """

    smile: Any
    engine: Any = field(default=None, repr=False)

    @property
    def columns(self) -> tuple[str, ...]:
        """Feature names as openSMILE gives them."""
        return tuple(self.smile.feature_names)

    def __call__(self, mono: np.ndarray) -> np.ndarray:
        """Compute a row of functionals, or of descriptors for every frame; NaN where the recording is too short."""
        from opensmile import config

        samples = (mono * np.float32(32768)).astype(np.int16)  # towards zero, as `Smile` does
        frames: list[np.ndarray] = []
        try:
            engine = self._ready()
            engine.external_sink_set_callback_ex(
                config.EXTERNAL_OUTPUT_COMPONENT, lambda data, meta: frames.append(data.copy())
            )
            if not engine.external_audio_source_write_data(config.EXTERNAL_SOURCE_COMPONENT, samples.tobytes()):
                raise RuntimeError("openSMILE took no samples")
            engine.external_audio_source_set_eoi(config.EXTERNAL_SOURCE_COMPONENT)
            engine.run()
        except Exception:
            self._discard()
            raise
        if not frames:
            frames = [np.full((1, self.smile.num_features), np.nan)]
        return _shaped(frames, self.smile)

    def _ready(self) -> Any:
        """Return the engine as if it were new."""
        if self.engine is None:
            self.engine = self._start()
        else:
            self.engine.reset()
            self.engine._callbacks.clear()  # a reset forgets them; the binding would keep them all
        return self.engine

    def _start(self) -> Any:
        from opensmile import config
        from opensmile.core.lib import OpenSMILE

        root = self.smile.default_config_root
        options = {
            "source": os.path.join(root, config.EXTERNAL_INPUT_CONFIG),
            "sampleRate": SAMPLING_RATE,
            "nBits": 16,
            "sink": os.path.join(root, config.EXTERNAL_OUTPUT_SINGLE_CONFIG),
            "sinkLevel": self.smile.feature_level.value,
            "bufferModeRbConf": os.path.join(root, "shared/BufferModeRb.conf.inc"),
            "frameModeFunctionalsConf": os.path.join(root, "shared/FrameModeFunctionals.conf.inc"),
        }
        engine = OpenSMILE()
        weakref.finalize(self, engine.free)  # the binding leaves that to its user; doing it twice is harmless
        engine.initialize(self.smile.config_path, options)
        return engine

    def _discard(self) -> None:
        if self.engine is not None:
            self.engine.free()
            self.engine = None


def _shaped(frames: Sequence[np.ndarray], smile: Any) -> np.ndarray:
    """Return the one row of functionals, shape (n_features,), or the rows of all frames: float32."""
    rows = np.concatenate(frames).astype(np.float32, copy=False)
    return rows[0] if smile.feature_level.name == FUNCTIONALS else rows


def open_smile(name: str, level: str = FUNCTIONALS) -> Extractor:
    """Make the extractor of an openSMILE feature set at one of the levels of `opensmile.FeatureLevel`."""
    import opensmile

    # opensmile only warns of a recording that is too short; here it becomes a row of the failures table.
    warnings.filterwarnings("ignore", message="Segment too short", category=UserWarning)
    smile = opensmile.Smile(opensmile.FeatureSet[name], opensmile.FeatureLevel[level])
    if opensmile.__version__ in DRIVEN or _drives_well(name, level):
        return EngineExtractor(smile)
    return SmileExtractor(smile)


@functools.cache
def _drives_well(name: str, level: str) -> bool:
    """Hold the driver to `Smile` under a release it was not tested with; say so where it fails."""
    import opensmile

    smile = opensmile.Smile(opensmile.FeatureSet[name], opensmile.FeatureLevel[level])
    rng = np.random.default_rng(0)
    signals = [rng.uniform(-0.5, 0.5, n).astype(np.float32) for n in (48000, 4000, 100, 20000, 48000)]
    plain, driven = SmileExtractor(smile), EngineExtractor(smile)
    try:
        same = all(np.array_equal(plain(s), driven(s), equal_nan=True) for s in signals)
    except Exception:
        same = False
    if not same:
        found = f"opensmile {opensmile.__version__} does not give the same {name} when its engine is kept"
        warnings.warn(f"{found}; each recording gets a new one, which is slower", RuntimeWarning, stacklevel=2)
    return same


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
        options={"level": FUNCTIONALS},
    )


def smile_frames(name: str, title: str, citation: str, *, n_features: int, shortest_s: float) -> FeatureSet:
    """Describe the low-level descriptors of an openSMILE feature set whose frames are 25 ms every 10 ms."""
    return FeatureSet(
        name=f"{name}-lld",
        title=title,
        citation=citation,
        n_features=n_features,
        sampling_rate=SAMPLING_RATE,
        shortest_s=shortest_s,
        packages=("opensmile",),
        open=functools.partial(open_smile, name, DESCRIPTORS),
        options={"level": DESCRIPTORS, "hop_s": 0.01, "window_s": 0.025},
        is_framewise=True,
    )
