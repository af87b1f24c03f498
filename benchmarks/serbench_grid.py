"""The same as grid_search.py by serbench, in one process with its workers; features lie in the store already.

Usage: serbench_grid.py CLASSIFIER RESULTS OUTPUT.json. Beside the time it tells the bare sum: the seconds that the
workers spent inside fits and predictions (of rf: where its forests grow), and nowhere else.
"""

import json
import os
import sys
import time
from pathlib import Path

import serbench
import serbench.grid.workers
from serbench import plan_grid, run_planned_grid
from serbench.classifiers import find_classifier
from serbench.grid.workers import attempt
from serbench.scores.predictions import load_predictions

CLOCKS = Path(sys.argv[-1]).parent / "clocks"


def clocked_job(key, job, root):
    """Run a job and note what its fits and predictions took; sent to the workers in the place of `attempt`."""
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import SVC

    from serbench.classifiers.forest import Forests

    spent = []

    def clocked(method):
        def call(*args, **kwargs):
            started = time.perf_counter()
            try:
                return method(*args, **kwargs)
            finally:
                spent.append(time.perf_counter() - started)

        return call

    fits = [(kind, name) for kind in (SVC, MLPClassifier) for name in ("fit", "predict")]
    fits += [(Forests, "__init__"), (Forests, "predict_proba")]
    original = [getattr(kind, name) for kind, name in fits]
    for (kind, name), method in zip(fits, original, strict=True):
        setattr(kind, name, clocked(method))
    try:
        return attempt(key, job, root)
    finally:
        for (kind, name), method in zip(fits, original, strict=True):
            setattr(kind, name, method)
        with (CLOCKS / f"{os.getpid()}.txt").open("a") as file:
            file.write(f"{sum(spent)}\n")


def bare_seconds():
    """Return the sum of all fits and predictions so far, and forget it."""
    files = list(CLOCKS.glob("*.txt"))
    total = sum(float(line) for path in files for line in path.read_text().splitlines())
    for path in files:
        path.unlink()
    return total


def main():
    """Time planning and running a grid once the libraries are imported and the workers are up."""
    classifier, results, output = sys.argv[1:]
    CLOCKS.mkdir(exist_ok=True)
    serbench.grid.workers.attempt = clocked_job
    workspace = serbench.Workspace(results=results, jobs=2)

    def run(name):
        request = serbench.GridRequest(features=("IS09",), classifiers=(name,))
        return run_planned_grid(plan_grid(["emodb"], request, workspace))

    run("dummy")
    find_classifier(classifier).prepare(workspace.progress)  # compiled once per machine
    bare_seconds()
    started = time.perf_counter()
    done = run(classifier)
    seconds = time.perf_counter() - started
    assert not done.refused, done.refused
    cell = next(c for c in load_predictions(workspace.store()) if c.cell["classifier"] == classifier)
    nested = cell.of("nested")
    labels = {u: cell.emotions[code] for u, code in zip(nested["utterance"], nested["prediction"], strict=True)}
    selected = {fold: setting for fold, setting, _ in cell.settings["nested"]}
    told = {"seconds": seconds, "labels": labels, "selected": selected, "bare_seconds": bare_seconds()}
    Path(output).write_text(json.dumps({**told, "jobs": len(done.plan.todo)}))


if __name__ == "__main__":
    main()
