"""Run the benchmarks: `nox -s bench`, or `nox -s bench -- SECTION ... --pairs N`.

Each section builds its own comparison, prints its table and writes it into `RESULTS.md`. Everything runs on two
processors, which the two sides of a comparison share by turns, with two workers each. Linux only.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from measured import keep, marked, reached, spread
from processes import HERE, ONE_THREAD, run, run_script, serbench

DEFAULT_PAIRS = 3
HEADER = ("", "to reach", "reached")
BEFORE = "f9bcddd"
"""The last commit whose forests and networks scikit-learn fitted."""
SIZES = (1000, 2000, 5000, 10_000)
"""Training rows of `growth`."""


def emodb():
    """Return the folder of EmoDB's recordings."""
    folder = Path(os.environ.get("SERBENCH_DATA", "")) / "emodb" / "wav"
    if not folder.is_dir():
        raise SystemExit("Set SERBENCH_DATA to a folder that holds emodb/wav; this benchmark uses real recordings")
    return folder


def ratios(numerators, denominators):
    """Ratios of pairs."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


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

    emodb()
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
    target, over_bare = {"svc": (7, 1.5), "rf": (9, 1.15), "mlp": (2.2, 1.05)}[name]
    bare = [a["seconds"] / (a["bare_seconds"] / 2) for a in ours]
    in_session = ratios(_of(theirs, "seconds"), _of(ours, "seconds"))
    whole = ratios(_of(theirs, "process_s"), _of(ours, "process_s"))
    rows = [
        ["GridSearchCV / serbench", *reached(in_session, at_least=target)],
        ["the same, whole processes with imports and start of workers", "", spread(whole)],
        [f"labels that differ, of {n}", "0", none(other_labels)],
        ["selected settings that differ, of 10", "0", none(other_settings)],
        ["time of the grid / (sum of its fits and predictions / 2 workers)", *reached(bare, at_most=over_bare)],
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

    together = ratios(totals(theirs), totals(ours))
    rows = [["GridSearchCV / serbench, svc, rf and mlp together", *reached(together, at_least=4)]]
    keep("a-nested-total", "Nested leave-one-speaker-out, EmoDB, IS09, all three", HEADER, rows)


def table(work, pairs):
    """(h) The default table of three corpora, whole command with extraction, before sweeps were compiled and now."""
    emodb()
    before, data = work / "before", {"SERBENCH_DATA": str(Path(os.environ["SERBENCH_DATA"]).resolve())}
    before.mkdir()
    archive = subprocess.run(["git", "archive", BEFORE], cwd=HERE.parent, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", before], input=archive, check=True)
    seconds, other = {"before": [], "now": []}, 0
    for _ in range(pairs):
        for side, code in (("before", before), ("now", HERE.parent)):
            results = work / f"table-{side}"
            shutil.rmtree(results, ignore_errors=True)
            grid = ("grid", "emodb", "nemo", "ravdess", "--partial", "--jobs", 2, "--results", results)
            seconds[side].append(run(sys.executable, "-m", "serbench", *grid, cwd=code, env=data).seconds)
        folders = [work / f"table-{side}" / "jobs" for side in seconds]
        jobs = [{path.name: pq.read_table(path).to_pydict() for path in folder.iterdir()} for folder in folders]
        assert jobs[0].keys() == jobs[1].keys()
        other = max(other, sum(jobs[0][name] != jobs[1][name] for name in jobs[0]))
    rows = [
        ["before / now", *reached(ratios(seconds["before"], seconds["now"]), at_least=3.5)],
        ["jobs whose predictions differ in any setting", "0", none(other)],
    ]
    medians = [statistics.median(times) for times in seconds.values()]
    notes = [f"Before (commit {BEFORE}) {medians[0]:.0f} s, now {medians[1]:.0f} s; {len(jobs[0])} jobs."]
    keep("h-table", "`serbench grid emodb nemo ravdess --partial`, the default table", HEADER, rows, notes)


def none(n):
    """Word a count that should be 0."""
    return marked(str(n), is_met=n == 0)


def _of(runs, name):
    return [one[name] for one in runs]


def _median(runs, name):
    return f"{statistics.median(_of(runs, name)):.1f}"


def extraction(work, pairs):
    """(b) Extraction to parquet against `process_files`, and (c) a second run of it."""
    wavs = emodb()
    both, warm, rehash = [], [], []
    for _ in range(max(pairs, 5)):
        both.append(_extract_both_ways(work, "IS09"))
        command = ("extract", "emodb", "-f", "IS09", "--results", work / "IS09", "--jobs", 2)
        warm.append(serbench(*command).seconds)
        rehash.append(serbench(*command, "--rehash").seconds)
    cold, theirs = zip(*both, strict=True)
    rows = [
        ["cold serbench extract / process_files", *reached(ratios(cold, theirs), at_most=0.68)],
        ["warm / cold serbench extract", *reached(ratios(warm, cold), at_most=0.15)],
        ["warm serbench extract --rehash / cold", "", spread(ratios(rehash, cold))],
        ["rows of other bits than those of process_files", "0", none(_n_of_other_bits(work, "IS09"))],
    ]
    for name in ("eGeMAPSv02", "ComParE_2016"):
        quotients = [ours / theirs for ours, theirs in (_extract_both_ways(work, name) for _ in range(pairs))]
        rows.append([f"cold / process_files, {name}", *reached(quotients, at_most=1.0)])
        rows.append([f"rows of other bits, {name}", "0", none(_n_of_other_bits(work, name))])
    medians = [statistics.median(times) for times in (cold, theirs, warm)]
    notes = [
        f"Whole processes on two workers; medians: cold {medians[0]:.2f} s, process_files {medians[1]:.2f} s, "
        f"warm {medians[2]:.2f} s.",
        *_extraction_profile(wavs, process_files_s=medians[1]),
    ]
    keep("b-extraction", "Extraction, EmoDB (535 recordings), IS09", HEADER, rows, notes)


def _extract_both_ways(work, name):
    """Return the seconds of `serbench extract` from nothing, and those of `process_files`."""
    shutil.rmtree(work / name, ignore_errors=True)
    ours = serbench("extract", "emodb", "-f", name, "--results", work / name, "--jobs", 2)
    theirs = run_script("process_files.py", emodb(), work / f"{name}.parquet", name)
    return ours.seconds, theirs.seconds


def _n_of_other_bits(work, name):
    """Count the recordings whose features differ between the two."""
    from serbench import Workspace, load_features

    ours = load_features("emodb", name, Workspace(results=work / name, jobs=2))
    return int((ours.to_numpy() != pd.read_parquet(work / f"{name}.parquet").to_numpy()).any(axis=1).sum())


def _extraction_profile(wavs, *, process_files_s):
    """Say where the time of a cold extraction goes, and what bounds it."""
    parts = json.loads(run_script("extraction_parts.py", wavs).output)

    def bound(milliseconds):
        return (parts["recordings"] * milliseconds / 1000 / 2 + parts["import_s"]) / process_files_s

    return [
        f"One recording takes {parts['engine_ms']:.2f} ms in an engine that is kept, {parts['run_ms']:.2f} ms of it "
        "inside openSMILE's run and the rest in its reset and the hand-over of samples, against "
        f"{parts['smile_ms']:.2f} ms through opensmile.Smile. Decoding, fingerprint and clipping take "
        f"{parts['decode_ms']:.2f} ms; imports take {parts['import_s']:.2f} s on one thread.",
        f"Imports and then two threads in openSMILE's run alone would be at {bound(parts['run_ms']):.2f} of "
        f"process_files, with its reset and hand-over at {bound(parts['engine_ms']):.2f}.",
    ]


def startup(work, pairs):
    """(e) Start-up of commands, and a grid with nothing left to do."""
    emodb()
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
        ours, imports = [], []
        for _ in range(max(pairs, 5)):
            ours.append(serbench(*command).seconds)
            imports.append(run_script("libraries.py", "import", *libraries).seconds)
        told = reached(ratios(ours, imports), at_most=2 if "nothing" in title else None)
        rows.append([title, f"{statistics.median(ours):.2f} s", *told])
    header = ["whole process", "median", "to reach", "time / that of importing the libraries it used"]
    keep("e-startup", "Start-up", header, rows)


def growth(work, pairs):
    """(d) Seconds and memory per job of each classifier as the training set grows."""
    from serbench.classifiers import CLASSIFIERS

    rows = []
    for name in CLASSIFIERS:
        told = [json.loads(run_script("one_job.py", name, n, env=ONE_THREAD).output) for n in SIZES]
        seconds, peaks = _of(told, "seconds"), _of(told, "peak_mib")
        exponent = np.polyfit(np.log(SIZES), np.log(seconds), 1)[0]
        growth_of_peak = peaks[-1] / peaks[-2]
        cells = [f"{s:.2f} s, {p:.0f} MiB" for s, p in zip(seconds, peaks, strict=True)]
        rows.append([name, *cells, f"{exponent:.1f}", marked(f"{growth_of_peak:.2f}", is_met=growth_of_peak <= 4.2)])
    header = ["classifier", *(f"{n:,} rows" for n in SIZES), "exponent of time", "peak, last / last but one (<= 4.2)"]
    notes = [
        "A job: the whole space on so many made-up training rows of 384 features, and a tenth as many predicted; one "
        "process, one thread, one run."
    ]
    keep("d-growth", "Growth of a job with the training set", header, rows, notes)


def seven(work, pairs):
    """Seven values of C at 10,000 rows against one fit of libsvm each."""
    told = [json.loads(run_script("seven_c.py", 10_000, env=ONE_THREAD).output) for _ in range(pairs)]
    rows = [
        ["one fit of libsvm each / sweep", *reached(ratios(_of(told, "loop_s"), _of(told, "sweep_s")), at_least=5)],
        ["labels that differ, of 7 x 1,000", "0", none(max(_of(told, "labels_that_differ")))],
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
        peak = told.peak_mib * 2**20 / 1e9
        within = marked(f"{peak:.2f} GB", is_met=peak < bound)
        rows.append([f"{n:,} utterances, workers: {workers}", f"< {bound} GB", within])
    header = ["serbench grid, all its processes together", "bound", "peak"]
    notes = [
        "Made-up rows of 384 features as a user's own, two settings (linear and RBF) so that both kernels are made; "
        "memory does not depend on the number of settings. Pages that processes share count once."
    ]
    keep("d-memory", "Memory of svc on large corpora", header, rows, notes)


def rings(work, pairs):
    """(f) `--inner 4` against `all`: jobs, time, and the change of UAR over 20 rings."""
    from rings import changes

    emodb()
    times = {"all": [], "4": []}
    for _ in range(pairs):
        for inner, seconds in times.items():
            results = work / f"inner-{inner}"
            shutil.rmtree(results, ignore_errors=True)
            serbench("extract", "emodb", "-f", "IS09", "--results", results)
            grid = ("grid", "emodb", "-f", "IS09", "-c", "svc", "-c", "logistic", "--inner", inner, "--jobs", 2)
            seconds.append(serbench(*grid, "--results", results).seconds)
    jobs = {inner: len(list((work / f"inner-{inner}" / "jobs").iterdir())) for inner in times}
    rows = [
        ["jobs, 4 against all", f"{jobs['4']} against {jobs['all']}"],
        ["whole process, 4 / all", spread(ratios(times["4"], times["all"]))],
    ]
    for name, (whole, uars) in changes(work / "inner-all", n_rings=20).items():
        points = [100 * (uar - whole) for uar in uars]
        rows.append([f"nested UAR of {name} with all", f"{whole:.4f}"])
        change = f"{np.mean(points):+.2f}, sd {np.std(points, ddof=1):.2f}, {min(points):+.2f} to {max(points):+.2f}"
        rows.append(["change with 4, points, over 20 rings in random order", change])
    keep("f-inner", "Inner validation on 4 neighbours of a ring, EmoDB, IS09, svc and logistic", ["", ""], rows)


def report(work, pairs):
    """(g) The report of few and of many cells, against reading the tables that it is made of."""
    rows, folder, n_corpora = [], work / "report", 6
    run_script("many_cells.py", folder, n_corpora)
    where = ("--corpora", folder / "corpora.yaml", "--results", folder / "results", "--jobs", 2)
    sources = ("-f", folder / "one.parquet", "-f", folder / "two.parquet", "--space", folder / "space.yaml")
    grid = ("grid", *(f"made{number}" for number in range(n_corpora)), *sources, *where)
    for protocols, n_seeds, at_most in ((["within"], 1, 1.5), (["cross"], 1, None), (["within", "cross"], 5, 10)):
        seeds = [option for seed in range(n_seeds) for option in ("--seed", seed)]
        for protocol in protocols:
            serbench(*grid, "-c", "logistic", "-c", "knn", "-c", "dummy", "--protocol", protocol, *seeds)
        n_cells = len(list((folder / "results" / "cells").glob("*.json")))
        libraries = run_script("libraries.py", "list", "report", *where[2:4]).output.split()
        ours, bare = [], []
        for _ in range(pairs):
            ours.append(serbench("report", *where[2:4]).cpu_s)
            bare.append(run_script("read_tables.py", folder / "results", *libraries).cpu_s)
        rows.append([f"{n_cells} cells", *reached(ours, at_most=at_most), spread(ratios(ours, bare))])
    header = ["serbench report", "to reach", "s of CPU", "that / reading the tables and importing the libraries"]
    keep("g-report", "The report", header, rows)


# Each takes a folder to work in and the number of pairs to run; those that run once leave the latter aside.
SECTIONS = {f.__name__: f for f in (nested, table, extraction, startup, growth, seven, memory, rings, report)}


def main():
    """Run the sections asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[[], *SECTIONS], metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--pairs", type=int, default=DEFAULT_PAIRS, help="how often each comparison runs")
    parser.add_argument("--classifier", action="append", help="nested: only this classifier; may be repeated")
    options = parser.parse_args()
    if sys.platform != "linux":
        raise SystemExit("The benchmarks read memory and processors as Linux tells them")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    for name in options.sections or SECTIONS:
        with tempfile.TemporaryDirectory(prefix="serbench-bench-") as work:
            chosen = {"classifiers": tuple(options.classifier)} if name == "nested" and options.classifier else {}
            SECTIONS[name](Path(work), options.pairs, **chosen)


if __name__ == "__main__":
    main()
