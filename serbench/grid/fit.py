"""Run one job: read its rows from the store, scale, sweep, write the predictions.

This is what worker processes execute. A job's JSON describes it whole, so any process that sees the store can run it.
"""

from __future__ import annotations

import functools
import importlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serbench.classifiers import Training, find_classifier
from serbench.errors import FeatureError, PluginError, listed
from serbench.features.table import FeatureTable, Ragged, Rows, flat, for_each_row, map_features, with_flat
from serbench.grid.request import FitAxes, Recipe
from serbench.store.results import Store, every_file, write_predictions

if TYPE_CHECKING:
    from sklearn.preprocessing import StandardScaler


@functools.cache
def settle_process() -> None:
    """Import what fits need and give this process one thread for each of them; done once per process."""
    from threadpoolctl import threadpool_limits

    for module in ("sklearn.preprocessing", "sklearn.svm"):
        importlib.import_module(module)
    threadpool_limits(1)


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a job gives: codes of shape (n_settings, n_evaluated), settings that did not converge, seconds taken."""

    codes: np.ndarray
    not_converged: tuple[int, ...]
    seconds: float


def run_job(key: str, job: Mapping[str, Any], root: str) -> float:
    """Fit every setting on the training set, predict and store what is held out; return the seconds taken.

    It leaves the process with one thread for BLAS and OpenMP.

    Raises
    ------
    FeatureError : the store lacks a row that the job names.
    PluginError : the classifier is not the one that the job was planned with.
    """
    store = Store(Path(root))
    started = time.perf_counter()
    folders = [store.features(job["features"], corpus) for corpus in job["corpora"]]
    names = [tuple(path.name for path in every_file(folder, "part-*.parquet")) for folder in folders]
    predicted = predict(job, list(map(_mapped, folders, names)))
    store_predictions(key, job, predicted, store)
    return time.perf_counter() - started


def predict(job: Mapping[str, Any], tables: Sequence[FeatureTable]) -> Predicted:
    """Fit every setting of a job on rows of the tables and predict what it holds out; see `run_job`."""
    settle_process()
    from sklearn import config_context

    started = time.perf_counter()
    classifier = find_classifier(job["classifier"])
    check_versions(job)
    # Features are finite and settings valid, or they would not have come here; asking again at every fit takes as
    # long as a small fit itself.
    with config_context(assume_finite=True, skip_parameter_validation=True):
        training, held = load_matrices(job, tables)
        swept = classifier.sweep(classifier, job["settings"], training, held, seed=job["seed"])
    check_predictions(swept.predictions, job)
    return Predicted(swept.predictions, tuple(swept.not_converged), time.perf_counter() - started)


def store_predictions(key: str, job: Mapping[str, Any], predicted: Predicted, store: Store) -> None:
    """Write what a job gave, with all that decided it but the rows."""
    recipe = {of.name: job[of.name] for of in fields(Recipe) if of.name in job}
    about = {**recipe, "key": key, "not_converged": list(predicted.not_converged)}
    write_predictions(store.job(key), utterances=job["evaluated"], predictions=predicted.codes, metadata=about)


def check_versions(job: Mapping[str, Any]) -> None:
    """Check that this process has the revision and the versions that the job was planned with, or a PluginError."""
    revision, versions = made_with(job["classifier"])
    here, planned = {"revision": revision, **versions}, {"revision": job["revision"], **job["versions"]}
    other = [
        f"{name} {here.get(name, 'none')}, not {planned.get(name, 'none')} as planned"
        for name in sorted({*here, *planned})
        if here.get(name) != planned.get(name)
    ]
    if other:
        todo = "Start the program and its workers anew, with the same packages"
        raise PluginError(job["classifier"], "; ".join(other), todo=todo)


@functools.cache
def made_with(name: str) -> tuple[int, dict[str, str]]:
    """Revision of a classifier and the versions behind it, in this process."""
    classifier = find_classifier(name)
    return classifier.revision, classifier.versions


def check_predictions(predictions: np.ndarray, job: Mapping[str, Any]) -> None:
    """Check that a sweep predicted an emotion for every setting and row: a plug-in may do otherwise."""
    shape = len(job["settings"]), len(job["evaluated"])
    if predictions.shape != shape or predictions.dtype.kind not in "iu":
        found = f"predictions of shape {predictions.shape} and type {predictions.dtype}"
        raise PluginError(job["classifier"], found, f"integers of shape {shape}")
    if predictions.size and not 0 <= predictions.min() <= predictions.max() < len(job["emotions"]):
        found = f"predictions from {predictions.min()} to {predictions.max()}"
        raise PluginError(job["classifier"], found, f"codes of {len(job['emotions'])} emotions")


def load_matrices(job: Mapping[str, Any], tables: Sequence[FeatureTable]) -> tuple[Training, Rows]:
    """Read and scale the rows that a job trains on and holds out."""
    from sklearn.preprocessing import StandardScaler

    given, axes = job["training"], FitAxes(**{of.name: job[of.name] for of in fields(FitAxes) if of.name in job})
    train, held = (_rows(tables, job["hashes"], ids) for ids in (given["utterances"], job["evaluated"]))
    if axes.scaling == "train":
        scaler = StandardScaler().fit(flat(train))
        train, held = (with_flat(rows, scaler.transform(flat(rows))) for rows in (train, held))
    elif axes.scaling in ("speaker", "corpus"):
        # Of each speaker, or corpus that trains nothing, all rows, unlabelled, tested ones too: transductive.
        units = job["normalised"].items()
        scalers = {unit: StandardScaler().fit(flat(_rows(tables, ids, sorted(ids)))) for unit, ids in units}
        trained, tested = given["speakers"], job["evaluated_speakers"]
        if axes.scaling == "corpus":
            trained, tested = given["corpora"], job["evaluated_corpora"]
            matrix, owners = flat(train), for_each_row(train, np.asarray(trained))
            scalers |= {corpus: StandardScaler().fit(matrix[owners == corpus]) for corpus in sorted(set(trained))}
        train, held = _scaled_by(train, trained, scalers), _scaled_by(held, tested, scalers)
    training = Training(
        X=train,
        labels=np.asarray(given["labels"], dtype=np.int64),
        weights=None if given["weights"] is None else np.asarray(given["weights"], dtype=np.float64),
        speakers=np.asarray(given["speakers"]),
        auxiliary={name: np.asarray(labels) for name, labels in given.get("auxiliary", {}).items()},
    )
    return training, held


def _rows(tables: Sequence[FeatureTable], hashes: Mapping[str, str], utterances: Sequence[str]) -> Rows:
    """Return float64 rows, shape (n_utterances, n_features), or frames as float32, of the audio that a job names."""
    located = [(table.matrix, _located(table)) for table in tables]
    rows: list[np.ndarray] = []
    for place in ((utterance, hashes[utterance]) for utterance in utterances):
        rows += [matrix[where[place]] for matrix, where in located if place in where][:1]
    if len(rows) < len(utterances):
        lost = [u for u in utterances if not any((u, hashes[u]) in where for _, where in located)]
        raise FeatureError("store", f"no features of {listed(lost)}", todo="Run `serbench extract` again")
    framewise = next((table for table in tables if isinstance(table.matrix, Ragged)), None)
    if framewise is not None:
        return Ragged.of(rows, n_features=len(framewise.columns))
    return np.asarray(rows, dtype=np.float64)


@functools.lru_cache(maxsize=16)
def _located(table: FeatureTable) -> dict[tuple[str, str], int]:
    """Return the place of each row; made once per table, as long as that is the same object."""
    ids = zip(table.utterances, table.audio_hashes, strict=True)
    return {place: i for i, place in enumerate(ids)}


@functools.lru_cache(maxsize=16)
def _mapped(folder: Path, names: tuple[str, ...]) -> FeatureTable:
    """Open a folder of parts once per process; parts never change, so their names tell whether it is current."""
    return map_features(folder)


def _scaled_by(rows: Rows, units: Sequence[str], scalers: Mapping[str, StandardScaler]) -> Rows:
    """Scale each row by the scaler of its speaker or corpus."""
    matrix, owners = flat(rows), for_each_row(rows, np.asarray(units))
    scaled = np.empty_like(matrix)
    for unit in sorted(set(units)):
        own = owners == unit
        scaled[own] = scalers[unit].transform(matrix[own])
    return with_flat(rows, scaled)
