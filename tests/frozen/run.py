"""Run a fixed set of commands on real recordings and compare every number with those recorded beside this script.

Usage: run.py [--record] [--keep FOLDER]. Needs $SERBENCH_DATA with emodb, nemo and ravdess. All is done through the
command line and read from what it writes, so that code may change as it likes as long as numbers do not; only the
corpus of the demo, four of its speakers, is made by a function:

predictions.csv  one row per cell: how many jobs, and a digest of what they predict with every setting
values.csv       one row per row of scores.csv, differences.csv and the tables: their numbers as printed

`--record` writes the two files anew. Only a change that is meant to move numbers may do so, with the reason.
"""

import argparse
import csv
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from serbench.demo import SPEAKERS, write_demo_corpus

HERE = Path(__file__).parent
CORPORA = "emodb nemo ravdess --partial"
GRIDS = [
    f"{CORPORA} -f IS09 -f mfcc -c svc -c knn -c logistic -c dummy",
    f"{CORPORA} -f IS09 -c svc -c knn --text-independent",
    *(f"{CORPORA} -f IS09 -c svc -c knn -c logistic -c dummy --protocol cross --scaling {scaling}"
      for scaling in ("train", "speaker", "corpus")),
    *(f"{CORPORA} -f IS09 -c svc -c logistic --protocol {protocol}" for protocol in ("pooled", "loco", "lolo")),
    f"{CORPORA} -f mfcc -c logistic --protocol adapt --k 10 --k 50",
    f"{CORPORA} -f mfcc -c svc --protocol adapt --k 20 --weight 3 --seed 1",
    "emodb ravdess --partial -f IS09 -c svc -c dummy --protocol holdout --partition schiavone",
    "emodb -f mfcc -c logistic --target arousal",
    "emodb -f mfcc -c knn --segment 1",
    "emodb -f own.csv -c svc",
    "emodb nemo --partial -f mfcc -c knn --emotions anger,sadness,neutral --inner 4 --seed 3",
]  # fmt: skip
CELL = ["protocol", "task", "train", "corpus", "features", "classifier", "space", "scaling", "inner", "preprocessing",
        "seed", "options"]  # fmt: skip
SCORED = [*CELL, "rule", "metric"]
FIGURES = {
    "scores": (SCORED, ["value", "low", "high", "n_units", "sd", "n_utterances", "n_missing", "n_folds"]),
    "differences": (["table", "corpus", "metric", "features", "classifier"], ["below_best", "low", "high", "verdict"]),
}
"""Long tables: their columns that name a row, and those that are compared."""
TABLES = ("table1", "table2-uar", "table2-war", "table2-kappa", "transfer", "scalings", "curves", "claims")
LABELS = {"table", "features", "classifier", "pair", "trained on", "claim", ""}
"""Columns of the tables that name a row; all others are compared."""


def main():
    """Run, collect, and compare or record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--keep", type=Path, help="folder to run in; stored jobs there are not fitted again")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (given.keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        run_all(folder)
        found = {"predictions.csv": predictions(folder), "values.csv": values(folder)}
    if given.record:
        for name, frame in found.items():
            frame.to_csv(HERE / name, lineterminator="\n")
    wrong = [line for name, frame in found.items() for line in differences(name, frame)]
    print(*wrong, sep="\n")
    n_cells, n_rows = (len(frame) for frame in found.values())
    print(f"{n_cells} cells and {n_rows} rows of values, {len(wrong)} of them not as recorded")
    sys.exit(bool(wrong))


def run_all(folder):
    """Run every command of the frozen set in a folder."""
    write_demo_corpus(folder / "demo", SPEAKERS[:4])
    call(folder, "grid synthetic --corpora demo/corpora.yaml --results demo/results")
    call(folder, "report --results demo/results")
    call(folder, f"extract {CORPORA} -f IS09 -f mfcc")
    call(folder, "extract emodb -f mfcc --segment 1")
    call(folder, "features export mfcc whole.csv --corpus emodb")
    own = pd.read_csv(folder / "whole.csv")
    own.drop(columns=[c for c in own if c in ("corpus", "speaker", "emotion")]).iloc[::-1, :41].to_csv(
        folder / "own.csv", index=False
    )
    for grid in GRIDS:
        call(folder, f"grid {grid}")
    call(folder, "folds emodb -o folds.csv")
    folds = pd.read_csv(folder / "folds.csv", dtype=str)
    folds["prediction"] = folds["emotion"].where(folds.index % 3 != 0, "neutral")  # a third is called neutral
    folds.to_csv(folder / "outside.csv", index=False)
    call(folder, "score outside.csv")
    call(folder, f"run {HERE / 'claims.yaml'} --partial")
    call(folder, "report")


def call(folder, arguments):
    """Run one command of serbench in a folder; its words are shown where it fails."""
    print("serbench", arguments, flush=True)
    command = [sys.executable, "-c", "from serbench.cli import main; main()", *arguments.split()]
    done = subprocess.run(command, cwd=folder, env=os.environ, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}ended with {done.returncode}")


def predictions(folder):
    """One row per cell: the number of its jobs and a digest of what each predicted, in any order of the jobs."""
    rows = []
    for record in (json.loads(path.read_text()) for path in sorted(folder.glob("results/cells/*.json"))):
        jobs = sorted(content(folder / "results" / "jobs" / f"{key}.parquet") for key in record.get("jobs", ()))
        digest = hashlib.sha256("".join(jobs).encode()).hexdigest()[:16]
        rows.append({**{name: str(record["cell"][name]) for name in CELL}, "n_jobs": len(jobs), "digest": digest})
    return keyed(pd.DataFrame(rows), CELL)


def content(path):
    """Digest of a job: the utterances that it predicts, and the codes of its predictions by every setting."""
    table = pq.read_table(path).sort_by("utterance")
    codes = table["predictions"].combine_chunks().flatten().to_numpy()
    text = "\n".join(table["utterance"].to_pylist())
    return hashlib.sha256(text.encode() + b"\0" + codes.astype("uint8").tobytes()).hexdigest()


def values(folder):
    """All numbers of the reports: one row per row of a table, in words as they are printed."""
    frames = []
    for name, report in (("demo", "demo/results/report"), ("real", "results/report")):
        for table, (key, figures) in FIGURES.items():
            frame = read(folder / report / f"{table}.csv")
            frames.append(facts(f"{name} {table}", frame, key, figures))
        for table in TABLES:
            path = folder / report / f"{table}.csv"
            if path.exists():
                frames += [rows_of(f"{name} {table}", block) for block in blocks(path)]
    return keyed(pd.concat(frames), ["file", "row"])


def read(path):
    """Read a table as text."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def blocks(path):
    """Read the tables of one file, each under a header of its own where its columns differ."""
    found = []
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.reader(file):
            if row and row[0] == "table":
                found.append((row, []))
            elif row:
                found[-1][1].append(row)
    return [pd.DataFrame(rows, columns=header).drop(columns="provenance") for header, rows in found]


def rows_of(file, frame):
    """Return the rows of a table by the columns that name them."""
    key = [column for column in frame if column in LABELS]
    return facts(file, frame, key, [column for column in frame if column not in key])


def facts(file, frame, key, figures):
    """Return rows of a table as two texts: what names each, and its numbers."""
    row = frame[key].agg(" | ".join, axis=1)
    told = frame[figures].apply(lambda line: " ".join(f"{c}={rounded(v)}" for c, v in line.items() if v != ""), axis=1)
    return pd.DataFrame({"file": file, "row": row, "values": told})


def rounded(text):
    """Return a number with 12 digits, so that the order of a sum does not matter; other text as it is."""
    try:
        return f"{float(text):.12g}" if len(text) > 12 else text
    except ValueError:
        return text


def keyed(frame, key):
    """Sort a table by what names its rows, each of which is there once."""
    frame = frame.set_index(key).sort_index()
    assert frame.index.is_unique, frame.index[frame.index.duplicated()].tolist()[:3]
    return frame.astype(str)


def differences(name, found):
    """Yield a line for each row that is not as it was recorded."""
    recorded = pd.read_csv(HERE / name, dtype=str, keep_default_na=False, index_col=list(found.index.names))
    for key in recorded.index.union(found.index):
        was, now = (" ".join(f.loc[key]) if key in f.index else "absent" for f in (recorded, found))
        if was != now:
            yield f"{name}: {' '.join(key)}\n  recorded {was}\n  now      {now}"


if __name__ == "__main__":
    main()
