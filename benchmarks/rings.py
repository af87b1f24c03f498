"""Nested UAR with the inner validations of other rings, from the predictions that `--inner all` stored."""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from serbench.scores.metrics import confusions, uar
from serbench.scores.predictions import load_predictions
from serbench.store.results import Store


def changes(results, *, n_rings, neighbours=4):
    """Return, for each classifier, the nested UAR of `--inner all` and those of rings in random order."""
    store = Store(Path(results))
    told = {}
    for path in store.cells:
        record = json.loads(path.read_text(encoding="utf-8"))
        names = [e["name"] for e in record["folds"]]
        orders = [np.random.default_rng(seed).permutation(names).tolist() for seed in range(n_rings)]
        uars = [_uar(store, record, order, neighbours) for order in orders]
        told[record["cell"]["classifier"]] = _uar(store, record, names, len(names)), uars
    return told


def _uar(store, record, order, neighbours):
    """Score a cell whose settings are chosen on the nearest neighbours of a ring only."""
    evaluations = []
    for e in record["folds"]:
        at = order.index(e["name"])
        near = {order[(at + step) % len(order)] for step in range(-neighbours // 2, neighbours // 2 + 1)}
        evaluations.append({**e, "inner": [v for v in e["inner"] if v[0] in near]})
    with tempfile.TemporaryDirectory() as folder:
        changed = Store(Path(folder))
        shutil.copytree(store.root / "index", changed.root / "index")
        (changed.root / "jobs").symlink_to(store.root.resolve() / "jobs")
        (changed.root / "cells").mkdir()
        text = json.dumps({**record, "folds": evaluations})
        (changed.root / "cells" / "ring.json").write_text(text, encoding="utf-8")
        cell = load_predictions(changed)[0]
    return float(uar(confusions(cell.of("nested"), n_emotions=len(cell.emotions))))
