"""How predictions of a cell follow from its stored jobs: a rule chooses the setting of each test group.

`nested` chooses the setting with the highest UAR pooled over that group's inner validations (ties are exact; the
earlier wins), `default` the default, and `oracle` the one setting that is best on the test data of the whole cell.
Predictions of another system have one rule, `given`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serbench.errors import StoreError, listed
from serbench.grid.cells import CellRecord
from serbench.grid.request import DEFAULTS
from serbench.store.results import Store, read_predictions

RULES = ("nested", "default", "oracle")
Chosen = tuple[str, int, bool]
"""A fold, the place of its setting in the record's settings, and whether that setting converged."""


@dataclass(frozen=True, slots=True, eq=False)
class StoredJob:
    """A job as read: `codes` has shape (n_settings, n_utterances), `places` the column of each utterance."""

    places: dict[str, int]
    codes: np.ndarray
    metadata: dict[str, Any]


def predicted_by_rules(
    record: CellRecord, store: Store, tested: Mapping[str, int], jobs: dict[str, StoredJob]
) -> tuple[dict[str, np.ndarray], dict[str, list[Chosen]]]:
    """Return the codes that a cell of the grid predicts by rule, and the settings of its folds by rule.

    `tested` has the code of the true emotion by test utterance, in the order of the predictions.
    """
    for key in record.jobs:
        if key not in jobs:
            utterances, codes, metadata = read_predictions(store.job(key))
            jobs[key] = StoredJob({u: i for i, u in enumerate(utterances)}, codes, metadata)
    _check_jobs(record, jobs)
    code = {emotion: i for i, emotion in enumerate(record.emotions)}
    sources = zip(record.sources["id"], record.sources["emotion"], strict=True)
    truth = {**tested, **{u: code[emotion] for u, emotion in sources}}
    folds = record.folds

    def codes_of(name: str, job: str) -> np.ndarray:
        stored = jobs[job]
        return stored.codes[:, [stored.places[u] for u in record.sets[name]]]

    def best(pools: Sequence[tuple[str, str]]) -> int:
        codes = np.concatenate([codes_of(*pool) for pool in pools], axis=1)
        true = np.array([truth[u] for name, _ in pools for u in record.sets[name]])
        return best_setting(codes, true, n_emotions=len(record.emotions))

    chosen = {"nested": [best(fold.inner) for fold in folds]} if all(fold.inner for fold in folds) else {}
    chosen["default"] = [record.default] * len(folds)
    chosen["oracle"] = [best([(fold.name, fold.job) for fold in folds])] * len(folds)
    place = {utterance: i for i, utterance in enumerate(tested)}
    places = [place[u] for fold in folds for u in record.sets[fold.name]]
    of_folds = [codes_of(fold.name, fold.job) for fold in folds]
    predictions, settings = {}, dict[str, list[Chosen]]()
    for rule, of_rule in chosen.items():
        predictions[rule] = np.empty(len(place), np.int64)
        predictions[rule][places] = np.concatenate([of[i] for of, i in zip(of_folds, of_rule, strict=True)])
        settings[rule] = [
            (fold.name, setting, setting not in jobs[fold.job].metadata["not_converged"])
            for fold, setting in zip(folds, of_rule, strict=True)
        ]
    return predictions, settings


def best_setting(codes: np.ndarray, truth: np.ndarray, *, n_emotions: int) -> int:
    """Return the setting with the highest UAR, the earlier of equals; codes have shape (n_settings, n_utterances)."""
    hits = np.stack([(codes[:, truth == code] == code).sum(axis=1) for code in range(n_emotions)], axis=1)
    totals = np.bincount(truth, minlength=n_emotions).tolist()
    whole = math.lcm(*filter(None, totals))  # as whole numbers, the sums of recalls are exact
    weights = np.array([whole // total if total else 0 for total in totals], dtype=object)
    return int(np.argmax(hits.astype(object) @ weights))


def _check_jobs(record: CellRecord, jobs: Mapping[str, StoredJob]) -> None:
    """Check that files are those of their jobs, and made as the cell's record says, or raise a StoreError.

    A job of a single corpus that is scaled per corpus is scaled on its training rows.
    """
    cell, settings, emotions = record.cell, list(record.settings), list(record.emotions)
    wanted = {"classifier": cell.classifier, "revision": record.revision, "features": record.feature_key}
    wanted |= cell.axes | {"scaling": cell.scaling, "seed": cell.seed}
    usual = {name: DEFAULTS.axes.get(name) for name in wanted}
    wanted |= record.versions
    for key in record.jobs:
        metadata, where, todo = (
            jobs[key].metadata,
            f"jobs/{key}.parquet",
            "Delete this file and run `serbench grid` again",
        )
        if metadata["key"] != key or len(jobs[key].codes) != len(settings) or metadata["emotions"] != emotions:
            raise StoreError(where, "does not belong to the cell that names it", todo=todo)
        made = {name: metadata.get(name, value) for name, value in usual.items()} | metadata.get("versions", {})
        if (metadata.get("scaling"), cell.scaling) == ("train", "corpus"):
            made["scaling"] = "corpus"
        other = {f"{n} {value}": f"{n} {wanted.get(n)}" for n, value in made.items() if value != wanted.get(n)}
        if metadata.get("settings") != settings:
            other["other settings"] = f"{len(settings)} settings of {cell.space}"
        if other:
            expected = f"what the cell's record says: {listed(other.values())}"
            raise StoreError(where, f"made with {listed(other)}", expected, todo)
