"""Nested UAR with the inner validations of other rings, from the predictions that `--inner all` stored."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from serbench.grid.cells import read_cell
from serbench.scores.metrics import confusions, uar
from serbench.scores.rules import predicted_by_rules
from serbench.store.results import Store


def changes(results, *, n_rings, neighbours=4):
    """Return, for each classifier, the nested UAR of `--inner all` and those of rings in random order."""
    store, told, jobs = Store(Path(results)), {}, {}
    for record in map(read_cell, store.cells):
        names = [fold.name for fold in record.folds]
        orders = [np.random.default_rng(seed).permutation(names).tolist() for seed in range(n_rings)]
        uars = [_uar(store, record, order, neighbours, jobs) for order in orders]
        told[record.cell.classifier] = _uar(store, record, names, len(names), jobs), uars
    return told


def _uar(store, record, order, neighbours, jobs):
    """Score a cell whose settings are chosen on the nearest neighbours of a ring only; `jobs` are those read so far."""
    folds = []
    for fold in record.folds:
        at = order.index(fold.name)
        near = {order[(at + step) % len(order)] for step in range(-neighbours // 2, neighbours // 2 + 1)}
        folds.append(replace(fold, inner=tuple(inner for inner in fold.inner if inner[0] in near)))
    emotions = record.utterances["emotion"]
    truth = dict(zip(record.utterances["id"], map(record.emotions.index, emotions), strict=True))
    predictions, _ = predicted_by_rules(replace(record, folds=tuple(folds)), store, truth, jobs)
    rows = pd.DataFrame({"truth": list(truth.values()), "prediction": predictions["nested"]})
    return float(uar(confusions(rows, n_emotions=len(record.emotions))))
