"""openSMILE's functionals, through the opensmile package. openSMILE is free for research only.

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
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from serbench.features.record import Extractor, FeatureSet

SAMPLING_RATE = 16000
DRIVEN = frozenset({"2.6.0"})
"""Releases of opensmile whose numbers the driver was held to, bit for bit."""


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
        """Compute the functionals; a row of NaN where the recording is too short."""
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
            return np.full(self.smile.num_features, np.nan, dtype=np.float32)
        return frames[0].astype(np.float32, copy=False).reshape(-1)

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
            "sinkLevel": "func",
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


def open_smile(name: str) -> Extractor:
    """Make the extractor of an openSMILE feature set, functionals level."""
    import opensmile

    # opensmile only warns of a recording that is too short; here it becomes a row of the failures table.
    warnings.filterwarnings("ignore", message="Segment too short", category=UserWarning)
    smile = opensmile.Smile(opensmile.FeatureSet[name], opensmile.FeatureLevel.Functionals)
    if opensmile.__version__ in DRIVEN or _drives_well(name):
        return EngineExtractor(smile)
    return SmileExtractor(smile)


@functools.cache
def _drives_well(name: str) -> bool:
    """Hold the driver to `Smile` under a release it was not tested with; say so where it fails."""
    import opensmile

    smile = opensmile.Smile(opensmile.FeatureSet[name], opensmile.FeatureLevel.Functionals)
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
        options={"level": "Functionals"},
    )
