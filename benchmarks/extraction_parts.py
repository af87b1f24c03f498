"""Where the time of an extraction goes, step by step on one thread.

Usage: extraction_parts.py FOLDER_OF_WAVS
"""

import importlib
import json
import sys
import time
from pathlib import Path


def main():
    """Time each step over all recordings."""
    modules = ["serbench.cli", "serbench.features.extract"]
    import_s = timed(importlib.import_module, modules)[1] * len(modules) / 1000
    from serbench.corpora.audio import decode, to_mono
    from serbench.features import find_feature_set
    from serbench.features.smile import SmileExtractor

    def prepare(path):
        recording = decode(path)
        return recording.audio_hash, to_mono(recording, 16000)

    files = sorted(Path(sys.argv[1]).glob("*.wav"))
    prepared, decode_ms = timed(prepare, files)
    signals = [signal for _, signal in prepared]
    kept = find_feature_set("IS09").open()
    kept(signals[0])
    _, engine_ms = timed(kept, signals)
    _, smile_ms = timed(SmileExtractor("IS09", "Functionals"), signals)
    told = {
        "recordings": len(files),
        "import_s": import_s,
        "decode_ms": decode_ms,
        "engine_ms": engine_ms,
        "run_ms": run_alone(kept, signals),
        "smile_ms": smile_ms,
    }
    print(json.dumps(told))


def timed(function, values):
    """Return the results of a function and its milliseconds per value."""
    before = time.perf_counter()
    results = [function(value) for value in values]
    return results, (time.perf_counter() - before) / len(values) * 1000


def run_alone(kept, signals):
    """Return the milliseconds per recording that openSMILE's own run takes, without reset and hand-over."""
    spent = []
    original = type(kept.engine).run

    def run(engine):
        spent.append(timed(original, [engine])[1])

    type(kept.engine).run = run
    timed(kept, signals)
    type(kept.engine).run = original
    return sum(spent) / len(spent)


if __name__ == "__main__":
    main()
