"""Write made-up corpora with features of their own, for grids of many cells.

Usage: many_cells.py FOLDER N. Writes N corpora of 400 utterances by 8 speakers, 20 ms of noise each, `one.parquet` and
`two.parquet` with made-up rows of 384 features, and a `space.yaml` of one setting for each classifier.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from synthetic import EMOTIONS, rows

ENTRY = """\
{name}:
  title: Made-up rows
  language: en
  licence: CC0-1.0
  root: {name}
  audio: '*.wav'
  labels:
    from: path
    pattern: '(?P<speaker>s\\d+)_(?P<emotion>[a-z]+)_\\d+\\.wav$'
  emotions: {{anger: anger, fear: fear, happiness: happiness, neutral: neutral, sadness: sadness}}
"""
SPACE = """\
logistic: {settings: [{C: 0.01}]}
knn: {settings: [{k: 5}]}
"""


def main():
    """Write recordings, features, the entries and the space."""
    folder, n_corpora = Path(sys.argv[1]), int(sys.argv[2])
    noise = np.random.default_rng(0)
    tables, entries = [], []
    for number in range(n_corpora):
        name = f"made{number}"
        features, labels, _ = rows(400, seed=number)
        files = [f"s{i % 8}_{EMOTIONS[e]}_{i}.wav" for i, e in enumerate(labels)]
        (folder / name).mkdir(parents=True)
        for file in files:
            soundfile.write(folder / name / file, noise.uniform(-0.1, 0.1, 320), 16000, subtype="PCM_16")
        table = pd.DataFrame(features, columns=[f"x{i}" for i in range(features.shape[1])])
        table.insert(0, "utterance", [f"{name}/{file}" for file in files])
        tables.append(table)
        entries.append(ENTRY.format(name=name))
    for name in ("one", "two"):
        pd.concat(tables).to_parquet(folder / f"{name}.parquet")
    (folder / "corpora.yaml").write_text("".join(entries))
    (folder / "space.yaml").write_text(SPACE)


if __name__ == "__main__":
    main()
