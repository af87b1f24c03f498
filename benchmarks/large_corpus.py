"""Write a made-up corpus of N utterances with features of its own.

The recordings are 20 ms of noise; what the grid trains on are the made-up rows. Two of its three speakers have 100
utterances each, so that leaving one of them out trains on nearly all. Usage: large_corpus.py FOLDER N
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from synthetic import EMOTIONS, rows

ENTRY = """\
made-up:
  title: Made-up rows
  language: en
  licence: CC0-1.0
  root: made-up
  audio: '*.wav'
  labels:
    from: path
    pattern: '(?P<speaker>s\\d+)_(?P<emotion>[a-z]+)_\\d+\\.wav$'
  emotions: {anger: anger, fear: fear, happiness: happiness, neutral: neutral, sadness: sadness}
  folds: {leave_out: 1, by: speaker}
"""
SPACE = """\
svc:
  default: {kernel: linear, C: 0.0001}
  settings:
    - {kernel: linear, C: 0.0001}
    - {kernel: rbf, C: 0.1, gamma: 1}
"""


def main():
    """Write recordings, features, the corpus entry and the space."""
    folder, n = Path(sys.argv[1]), int(sys.argv[2])
    features, labels, _ = rows(n)
    speakers = np.where(np.arange(n) < 100, 0, np.where(np.arange(n) < 200, 1, 2))
    names = [f"s{s}_{EMOTIONS[e]}_{i}.wav" for i, (s, e) in enumerate(zip(speakers, labels, strict=True))]
    (folder / "made-up").mkdir(parents=True)
    noise = np.random.default_rng(0)
    for name in names:
        soundfile.write(folder / "made-up" / name, noise.uniform(-0.1, 0.1, 320), 16000, subtype="PCM_16")
    table = pd.DataFrame(features, columns=[f"x{i}" for i in range(features.shape[1])])
    table.insert(0, "utterance", [f"made-up/{name}" for name in names])
    table.to_parquet(folder / "rows.parquet")
    (folder / "corpora.yaml").write_text(ENTRY)
    (folder / "space.yaml").write_text(SPACE)


if __name__ == "__main__":
    main()
