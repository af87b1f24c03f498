"""Run the benchmarks: `nox -s bench`, or `nox -s bench -- SECTION ... --pairs N`.

Each section builds its own comparison, prints its table and writes it into `RESULTS.md`. Two workers, everywhere.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from measured import HERE, keep, spread
from processes import ONE_THREAD, run_script, serbench

DEFAULT_PAIRS = 3
HEADER = ("", "to reach", "reached")


def data():
    """Return the folder of corpora; EmoDB has to be in it."""
    folder = Path(os.environ.get("SERBENCH_DATA", ""))
    if not (folder / "emodb" / "wav").is_dir():
        raise SystemExit("Set SERBENCH_DATA to a folder that holds emodb/wav; these benchmarks use real recordings")
    return folder


def ratio(numerators, denominators, digits=2):
    """Word the ratios of pairs."""
    return spread([a / b for a, b in zip(numerators, denominators, strict=True)], digits)


def nested(work, pairs, classifiers=("svc", "rf", "mlp")):
    """(a) Nested leave-one-speaker-out on EmoDB, IS09, against GridSearchCV; and against the bare sum of its fits."""
    table = _emodb_table(work)
    ours, theirs = {c: [] for c in classifiers}, {c: [] for c in classifiers}
    for _ in range(pairs):
        for name in classifiers:
            ours[name].append(_grid(work, name))
            theirs[name].append(_search(work, name, table))
    for name in classifiers:
        keep(f"a-nested-{name}", **_nested_section(name, ours[name], theirs[name]))
    if len(classifiers) == 3:
        _keep_total(ours, theirs)


def _emodb_table(work):
    from serbench import GridRequest, Workspace, list_folds, load_features

    workspace = Workspace(results=work / "features", jobs=2)
    features = load_features("emodb", "IS09", workspace)
    folds = list_folds("emodb", GridRequest(), workspace).set_index("utterance")
    chosen = features.loc[sorted(folds.index)]
    columns = {"labels": folds.loc[chosen.index, "emotion"], "speakers": folds.loc[chosen.index, "fold"]}
    arrays = {name: values.to_numpy(dtype=str) for name, values in columns.items()}
    np.savez(work / "emodb.npz", x=chosen.to_numpy(), utterances=chosen.index.to_numpy(dtype=str), **arrays)
    return work / "emodb.npz"


def _grid(work, name):
    results, output = work / f"grid-{name}", work / "grid.json"
    shutil.rmtree(results, ignore_errors=True)
    shutil.copytree(work / "features", results)
    process = run_script("serbench_grid.py", name, results, output)
    return {**json.loads(output.read_text()), "process_s": process.seconds}


def _search(work, name, table):
    output = work / "search.json"
    process = run_script("grid_search.py", name, table, output)
    return {**json.loads(output.read_text()), "process_s": process.seconds}


def _nested_section(name, ours, theirs):
    both = list(zip(ours, theirs, strict=True))
    n = len(ours[0]["labels"])
    other_labels = max(sum(a["labels"][u] != b["labels"][u] for u in b["labels"]) for a, b in both)
    other_settings = max(sum(a["selected"][f] != s for f, s in b["selected"].items()) for a, b in both)
    target, over_bare = ("7", "1.5") if name == "svc" else ("1.6", "1.05")
    bare = [a["seconds"] / (a["bare_seconds"] / 2) for a in ours]
    in_session = ratio(_of(theirs, "seconds"), _of(ours, "seconds"))
    whole = ratio(_of(theirs, "process_s"), _of(ours, "process_s"))
    rows = [
        ["GridSearchCV / serbench", f">= {target}", in_session],
        ["the same, whole processes with imports and start of workers", "", whole],
        [f"labels that differ, of {n}", "0", other_labels],
        ["selected settings that differ, of 10", "0", other_settings],
        ["time of the grid / (sum of its fits and predictions / 2 workers)", f"<= {over_bare}", spread(bare)],
    ]
    notes = [
        f"serbench {_median(ours, 'seconds')} s for {ours[0]['jobs']} jobs, GridSearchCV "
        f"{_median(theirs, 'seconds')} s; both once the libraries are imported and the workers are up."
    ]
    title = f"Nested leave-one-speaker-out, EmoDB, IS09, {name}"
    return {"title": title, "header": HEADER, "rows": rows, "notes": notes}


def _keep_total(ours, theirs):
    def totals(runs):
        return [sum(one["seconds"] for one in pair) for pair in zip(*runs.values(), strict=True)]

    rows = [["GridSearchCV / serbench, svc, rf and mlp together", ">= 1.6", ratio(totals(theirs), totals(ours))]]
    keep("a-nested-total", "Nested leave-one-speaker-out, EmoDB, IS09, all three", HEADER, rows)


def _of(runs, name):
    return [one[name] for one in runs]


def _median(runs, name):
    return f"{statistics.median(_of(runs, name)):.1f}"


def extraction(work, pairs):
    """(b) Extraction to parquet against `process_files`, and (c) a second run of it."""
    wavs = data() / "emodb" / "wav"
    cold, warm, rehash, theirs = [], [], [], []
    for _ in range(max(pairs, 5)):
        shutil.rmtree(work / "extract", ignore_errors=True)
        command = ("extract", "emodb", "-f", "IS09", "--results", work / "extract", "--jobs", 2)
        cold.append(serbench(*command).seconds)
        theirs.append(run_script("process_files.py", wavs, work / "smile.parquet").seconds)
        warm.append(serbench(*command).seconds)
        rehash.append(serbench(*command, "--rehash").seconds)
    parts = json.loads(run_script("extraction_parts.py", wavs).output)
    rows = [
        ["cold serbench extract / process_files", "<= 0.65", ratio(cold, theirs)],
        ["warm / cold serbench extract", "<= 0.15", ratio(warm, cold)],
        ["warm serbench extract --rehash / cold", "", ratio(rehash, cold)],
    ]
    engine_s = parts["recordings"] * parts["engine_ms"] / 1000 / 2
    floor = (engine_s + parts["import_s"]) / statistics.median(theirs)
    notes = [
        f"Whole processes on two workers; medians: cold {statistics.median(cold):.2f} s, process_files "
        f"{statistics.median(theirs):.2f} s, warm {statistics.median(warm):.2f} s.",
        f"One recording takes {parts['engine_ms']:.2f} ms in an engine that is kept, {parts['run_ms']:.2f} ms of it "
        f"inside openSMILE's run, and {parts['smile_ms']:.2f} ms through opensmile.Smile. Decoding, fingerprint and "
        f"clipping take {parts['decode_ms']:.2f} ms; imports take {parts['import_s']:.2f} s.",
        f"So two threads in openSMILE from the moment the imports are done would be at {floor:.2f} of process_files: "
        "what is above that is ours.",
    ]
    keep("b-extraction", "Extraction, EmoDB (535 recordings), IS09", HEADER, rows, notes)


def startup(work, pairs):
    """(e) Start-up of commands, and a grid with nothing left to do."""
    results = work / "startup"
    request = ("emodb", "-f", "IS09", "-c", "svc", "--results", results, "--jobs", 2)
    serbench("grid", *request)
    serbench("report", "--results", results)
    commands = {
        "serbench --help": ("--help",),
        "serbench corpora list": ("corpora", "list"),
        "serbench report, one cell": ("report", "--results", results),
        "serbench grid, nothing left to do": ("grid", *request),
    }
    rows = []
    for title, command in commands.items():
        libraries = run_script("libraries.py", "list", *command).output.split()
        ours = [serbench(*command).seconds for _ in range(max(pairs, 5))]
        imports = [run_script("libraries.py", "import", *libraries).seconds for _ in ours]
        target = "<= 2" if "nothing" in title else ""
        rows.append([title, f"{statistics.median(ours):.2f} s", target, ratio(ours, imports)])
    header = ["whole process", "median", "to reach", "time / that of importing the libraries it used"]
    keep("e-startup", "Start-up", header, rows)


def growth(work, pairs, sizes=(1000, 2000, 5000, 10_000)):
    """(d) Seconds and memory per job of each classifier as the training set grows."""
    from serbench.classifiers import CLASSIFIERS

    rows, growths = [], {}
    for name in CLASSIFIERS:
        told = [json.loads(run_script("one_job.py", name, n, env=ONE_THREAD).output) for n in sizes]
        seconds, peaks = _of(told, "seconds"), _of(told, "peak_mib")
        exponent = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
        growths[name] = peaks[-1] / peaks[-2]
        cells = [f"{s:.2f} s, {p:.0f} MiB" for s, p in zip(seconds, peaks, strict=True)]
        rows.append([name, *cells, f"{exponent:.1f}", f"{growths[name]:.2f}"])
    header = ["classifier", *(f"{n:,} rows" for n in sizes), "exponent of time", "peak, last / last but one (<= 4.2)"]
    notes = [
        "A job: the whole space on so many made-up training rows of 384 features, and a tenth as many predicted; one "
        "process, one thread, one run."
    ]
    keep("d-growth", "Growth of a job with the training set", header, rows, notes)


def seven(work, pairs):
    """Seven values of C at 10,000 rows against one fit of libsvm each."""
    told = [json.loads(run_script("seven_c.py", 10_000, env=ONE_THREAD).output) for _ in range(pairs)]
    rows = [
        ["one fit of libsvm each / sweep", ">= 5", ratio(_of(told, "loop_s"), _of(told, "sweep_s"))],
        ["labels that differ, of 7 x 1,000", "0", max(_of(told, "labels_that_differ"))],
    ]
    notes = [f"Sweep {_median(told, 'sweep_s')} s, fits {_median(told, 'loop_s')} s, predictions included."]
    keep("d-seven-c", "Seven values of C, 10,000 made-up training rows x 384", HEADER, rows, notes)


def memory(work, pairs):
    """Peak memory of a whole grid of svc: 10,000 utterances on two workers, 25,000 on one."""
    rows = []
    for n, workers, bound in ((10_000, 2, 4), (25_000, 1, 12)):
        folder = work / f"memory-{n}"
        run_script("large_corpus.py", folder, n)
        arguments = ("--corpora", folder / "corpora.yaml", "--results", folder / "results")
        grid = ("grid", "made-up", "-f", folder / "rows.parquet", "-c", "svc", "--space", folder / "space.yaml")
        told = serbench(*grid, "--inner", "none", "--jobs", workers, *arguments, watch=True)
        rows.append([f"{n:,} utterances, {workers} workers", f"< {bound} GB", f"{told.peak_mib * 2**20 / 1e9:.2f} GB"])
    header = ["serbench grid, all its processes together", "bound", "peak"]
    notes = [
        "Made-up rows of 384 features as a user's own, two settings (linear and RBF) so that both kernels are made; "
        "memory does not depend on the number of settings. Pages that processes share count once."
    ]
    keep("d-memory", "Memory of svc on large corpora", header, rows, notes)


def rings(work, pairs):
    """(f) `--inner 4` against `all`: jobs, time, and the change of UAR over 20 rings."""
    from rings import changes

    told = {}
    for inner in ("all", "4"):
        results = work / f"inner-{inner}"
        command = ("grid", "emodb", "-f", "IS09", "-c", "svc", "-c", "logistic", "--inner", inner, "--results", results)
        times = []
        for _ in range(pairs):
            for folder in ("jobs", "cells"):
                shutil.rmtree(results / folder, ignore_errors=True)
            serbench("extract", "emodb", "-f", "IS09", "--results", results)
            times.append(serbench(*command, "--jobs", 2).seconds)
        told[inner] = {"jobs": len(list((results / "jobs").iterdir())), "seconds": times}
    rows = [
        ["jobs, 4 against all", f"{told['4']['jobs']} against {told['all']['jobs']}"],
        ["whole process, 4 / all", ratio(told["4"]["seconds"], told["all"]["seconds"])],
    ]
    for name, (whole, uars) in changes(work / "inner-all", n_rings=20).items():
        points = [100 * (uar - whole) for uar in uars]
        rows.append([f"nested UAR of {name} with all", f"{whole:.4f}"])
        change = f"{np.mean(points):+.2f}, sd {np.std(points, ddof=1):.2f}, {min(points):+.2f} to {max(points):+.2f}"
        rows.append(["change with 4, points, over 20 rings in random order", change])
    keep("f-inner", "Inner validation on 4 neighbours of a ring, EmoDB, IS09, svc and logistic", ["", ""], rows)


SECTIONS = {f.__name__: f for f in (nested, extraction, startup, growth, seven, memory, rings)}


def main():
    """Run the sections asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[[], *SECTIONS], metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--pairs", type=int, default=DEFAULT_PAIRS, help="how often each comparison runs")
    parser.add_argument("--classifier", action="append", help="nested: only this classifier; may be repeated")
    options = parser.parse_args()
    data()
    for name in options.sections or SECTIONS:
        with tempfile.TemporaryDirectory(prefix="serbench-bench-") as work:
            chosen = {"classifiers": tuple(options.classifier)} if name == "nested" and options.classifier else {}
            SECTIONS[name](Path(work), options.pairs, **chosen)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    main()
