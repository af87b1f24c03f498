"""openSMILE's functionals and low-level descriptors, through opensmile. openSMILE is free for research only.

Names are versioned: `eGeMAPS` and `GeMAPS` alone are aliases of superseded versions and are not offered.
`opensmile.Smile` sets up a new engine for every recording, and opening one reads the list of files of every installed
package. With the releases in `DRIVEN`, `EngineExtractor` keeps one engine per thread and resets it, through the binding
inside the wheel; with others `Smile` computes, more slowly.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import warnings
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from serbench.features.record import Extractor, FeatureSet, Option

SAMPLING_RATE = 16000
DRIVEN = frozenset({"2.6.0"})  # releases of opensmile whose numbers `EngineExtractor` gives, bit for bit
RENEWED_AFTER = 256  # recordings, after which an engine is set up again: the binding keeps a callback for each

# What the releases in `DRIVEN` call their levels, components and configurations.
_LEVELS = {"Functionals": "func", "LowLevelDescriptors": "lld"}
_SOURCE, _SINK = "extsource", "extsink"
_CONFIGURATIONS = {
    "ComParE_2016": "compare/ComParE_2016",
    "GeMAPSv01b": "gemaps/v01b/GeMAPSv01b",
    "IS09": "is09-13/IS09_emotion",
    "IS10": "is09-13/IS10_paraling_compat",
    "IS11": "is09-13/IS11_speaker_state",
    "IS12": "is09-13/IS12_speaker_trait_compat",
    "IS13": "is09-13/IS13_ComParE",
    "eGeMAPSv02": "egemaps/v02/eGeMAPSv02",
    "emobase": "emobase/emobase",
}


class SmileExtractor:
    """One `opensmile.Smile`, called for one recording at a time."""

    def __init__(self, name: str, level: str) -> None:
        self.name, self.level = name, level
        self.columns = self._open()

    def __call__(self, mono: np.ndarray) -> np.ndarray:
        """Compute a row of functionals, or of descriptors for every frame; NaN where the recording is too short."""
        rows = np.asarray(self.frames(mono), dtype=np.float32)
        return rows[0] if self.level == "Functionals" else rows

    def frames(self, mono: np.ndarray) -> np.ndarray:
        """Return what openSMILE gives, shape (n_frames, n_features)."""
        return np.asarray(self.smile(mono, SAMPLING_RATE)[0].T)  # of the only channel

    def _open(self) -> tuple[str, ...]:
        """Open what computes, and return the names of the features."""
        import opensmile

        # opensmile only warns of a recording that is too short; here it becomes a row of the failures table.
        warnings.filterwarnings("ignore", message="Segment too short", category=UserWarning)
        self.smile: Any = opensmile.Smile(opensmile.FeatureSet[self.name], opensmile.FeatureLevel[self.level])
        return tuple(self.smile.feature_names)


class EngineExtractor(SmileExtractor):
    """One openSMILE engine, kept and reset between recordings; for one thread at a time."""

    def _open(self) -> tuple[str, ...]:
        self._frames = list[np.ndarray]()
        self._free = weakref.finalize(self, lambda: None)
        self._start()
        n_features = self.engine.external_sink_get_num_elements(_SINK)
        return tuple(self.engine.external_sink_get_element_name(_SINK, i) for i in range(n_features))

    def _start(self) -> None:
        binding = _binding()
        root = Path(binding.root, "config")
        options = {
            "source": root / "shared/standard_external_wave_input.conf.inc",
            "sampleRate": SAMPLING_RATE,
            "nBits": 16,
            "sink": root / "shared/standard_external_data_output_single.conf.inc",
            "sinkLevel": _LEVELS[self.level],
            "bufferModeRbConf": root / "shared/BufferModeRb.conf.inc",
            "frameModeFunctionalsConf": root / "shared/FrameModeFunctionals.conf.inc",
        }
        self._free()
        self.engine: Any = binding.OpenSMILE()
        self._free = weakref.finalize(self, self.engine.free)  # the binding leaves that to its user
        self.engine.initialize(str(root / f"{_CONFIGURATIONS[self.name]}.conf"), options)
        self._n_done = 0  # recordings, by this engine

    def frames(self, mono: np.ndarray) -> np.ndarray:
        """Return what `SmileExtractor` returns."""
        samples = (mono * np.float32(32768)).astype(np.int16)  # towards zero, as `Smile` does
        frames = self._frames  # the callback refers to this list alone, so that the extractor can be freed
        frames.clear()
        try:
            if self._n_done >= RENEWED_AFTER:
                self._start()
            elif self._n_done:
                self.engine.reset()
            self._n_done += 1
            self.engine.external_sink_set_callback_ex(_SINK, lambda data, meta: frames.append(data.copy()))
            if not self.engine.external_audio_source_write_data(_SOURCE, samples.tobytes()):
                raise RuntimeError("openSMILE took no samples")
            self.engine.external_audio_source_set_eoi(_SOURCE)
            self.engine.run()
        except Exception:
            self._n_done = RENEWED_AFTER  # the next recording has a new engine
            raise
        return np.concatenate(frames or [np.full((1, len(self.columns)), np.nan)])


@functools.cache
def _binding() -> Any:
    """Load the module of the binding alone: `import opensmile` brings packages that take 0.25 s and are not used."""
    package: Any = importlib.util.find_spec("opensmile")
    path = Path(package.origin).parent / "core" / "lib.py"
    spec: Any = importlib.util.spec_from_file_location("opensmile.core.lib", path)
    binding = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(binding)
    return binding


def open_smile(name: str, level: str) -> Extractor:
    """Open the extractor of an openSMILE feature set at one of the levels of `opensmile.FeatureLevel`."""
    is_driven = importlib.metadata.version("opensmile") in DRIVEN
    return EngineExtractor(name, level) if is_driven else SmileExtractor(name, level)


def _smile_set(
    name: str, title: str, citation: str, n_features: int, shortest_s: float, *, is_framewise: bool = False
) -> FeatureSet:
    """Describe the functionals of an openSMILE set, or its descriptors in frames of 25 ms every 10 ms."""
    level = "LowLevelDescriptors" if is_framewise else "Functionals"
    options: dict[str, Option] = {"level": level, **({"hop_s": 0.01, "window_s": 0.025} if is_framewise else {})}
    opened, own_name = functools.partial(open_smile, name, level), f"{name}-lld" if is_framewise else name
    about = (own_name, title, citation, n_features, SAMPLING_RATE, shortest_s, ("opensmile",))
    return FeatureSet(*about, open=opened, options=options, is_framewise=is_framewise)


_SCHULLER, _EYBEN = "Schuller et al., INTERSPEECH 20", "Eyben et al., IEEE Transactions on Affective Computing 2016"
_LARGER: tuple[tuple[str, str, str, int, float], ...] = (
    ("eGeMAPSv02", "extended Geneva minimalistic acoustic parameters", _EYBEN, 88, 0.06),
    ("ComParE_2016", "Computational Paralinguistics Challenge 2016", _SCHULLER + "16", 6373, 0.06),
    ("GeMAPSv01b", "Geneva minimalistic acoustic parameters", _EYBEN, 62, 0.06),
    ("IS10", "INTERSPEECH 2010 Paralinguistic Challenge", _SCHULLER + "10", 1582, 0.07),
    ("IS11", "INTERSPEECH 2011 Speaker State Challenge", _SCHULLER + "11", 4368, 0.07),
    ("IS12", "INTERSPEECH 2012 Speaker Trait Challenge", _SCHULLER + "12", 6125, 0.07),
    ("IS13", "INTERSPEECH 2013 Computational Paralinguistics Challenge", _SCHULLER + "13", 6373, 0.06),
)
"""More openSMILE sets: name, title, citation, number of features, shortest duration in seconds."""

IS09 = _smile_set("IS09", "INTERSPEECH 2009 Emotion Challenge", _SCHULLER + "09", 384, 0.025)
_LLD = "16 low-level descriptors of IS09 of each frame"
IS09_LLD = _smile_set("IS09", _LLD, _SCHULLER + "09", 16, 0.025, is_framewise=True)
_EMOBASE = _smile_set("emobase", "openSMILE's emobase", "Eyben et al., ACM Multimedia 2010", 988, 0.04)
_MORE = tuple(replace(_smile_set(*about), cost=0.015) for about in _LARGER)
FEATURE_SETS = (IS09, *_MORE, replace(_EMOBASE, bytes_per_sample=300), IS09_LLD)
