"""Run one job: read its rows from the store, scale, sweep, write the predictions.

This is what worker processes execute. A job is told by its JSON alone, so any process that sees the store can run it.
"""

from __future__ import annotations

import functools
import importlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from serbench.classifiers import Training, find_classifier
from serbench.errors import Fault, FeatureError, PluginError, listed
from serbench.features.table import FeatureTable, Ragged, Rows, flat, for_each_row, map_features, with_flat
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


Tables = Mapping[str, FeatureTable]
"""Features by corpus."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a job gives: codes of shape (n_settings, n_evaluated), settings that did not converge, seconds taken."""

    codes: np.ndarray
    not_converged: tuple[int, ...]
    seconds: float


def run_job(key: str, job: Mapping[str, Any], root: str) -> float:
    """Fit every setting on the job's training set, predict all it holds out, store that, and return the seconds taken.

    Meant for a worker process: it leaves the process with one thread for BLAS and OpenMP.

    Raises
    ------
    FeatureError : the store lacks a row that the job names.
    PluginError : the classifier is not the one that the job was planned with.
    """
    store = Store(Path(root))
    started = time.perf_counter()
    tables = {}
    for corpus in job["corpora"]:
        folder = store.features(job["features"], corpus)
        tables[corpus] = _mapped(folder, tuple(path.name for path in every_file(folder, "part-*.parquet")))
    predicted = predict(job, tables)
    store_predictions(key, job, predicted, store)
    return time.perf_counter() - started


def predict(job: Mapping[str, Any], tables: Tables) -> Predicted:
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
    names = ("classifier", "revision", "settings", "features", "scaling", "seed", "emotions", "versions")
    write_predictions(
        store.job(key),
        utterances=job["evaluated"],
        predictions=predicted.codes,
        metadata={**{n: job[n] for n in names}, "key": key, "not_converged": list(predicted.not_converged)},
    )


def check_versions(job: Mapping[str, Any]) -> None:
    """Check that this process would compute what the job's key says.

    Raises
    ------
    PluginError : another revision, or other versions of packages, than the job was planned with.
    """
    (revision, versions), planned = made_with(job["classifier"]), job["versions"]
    other = [f"revision {revision}, not {job['revision']} as planned"] if revision != job["revision"] else []
    for name in sorted({*versions, *planned}):
        if versions.get(name) != planned.get(name):
            other.append(f"{name} {versions.get(name, 'none')}, not {planned.get(name, 'none')} as planned")
    if other:
        todo = "Start the program and its workers anew, with the same packages"
        raise PluginError([Fault(job["classifier"], "; ".join(other), todo=todo)])


@functools.cache
def made_with(name: str) -> tuple[int, dict[str, str]]:
    """Revision of a classifier and the versions behind it, in this process."""
    classifier = find_classifier(name)
    return classifier.revision, classifier.versions


def check_predictions(predictions: np.ndarray, job: Mapping[str, Any]) -> None:
    """Check that a sweep predicted an emotion for every setting and row: a plug-in's may do otherwise.

    Raises
    ------
    PluginError : it did not.
    """
    shape = len(job["settings"]), len(job["evaluated"])
    if predictions.shape != shape or predictions.dtype.kind not in "iu":
        found = f"predictions of shape {predictions.shape} and type {predictions.dtype}"
        raise PluginError([Fault(job["classifier"], found, f"integers of shape {shape}")])
    if predictions.size and not 0 <= predictions.min() <= predictions.max() < len(job["emotions"]):
        found = f"predictions from {predictions.min()} to {predictions.max()}"
        raise PluginError([Fault(job["classifier"], found, f"codes of {len(job['emotions'])} emotions")])


def load_matrices(job: Mapping[str, Any], tables: Tables) -> tuple[Training, Rows]:
    """Read and scale the rows that a job trains on and holds out."""
    from sklearn.preprocessing import StandardScaler

    given = job["training"]
    train, held = (_rows(tables, job["hashes"], ids) for ids in (given["utterances"], job["evaluated"]))
    if job["scaling"] == "train":
        scaler = StandardScaler().fit(flat(train))
        train, held = (with_flat(rows, scaler.transform(flat(rows))) for rows in (train, held))
    elif job["scaling"] == "speaker":
        scalers = _scalers(job, tables)
        train = _scaled_by(train, given["speakers"], scalers)
        held = _scaled_by(held, job["evaluated_speakers"], scalers)
    elif job["scaling"] == "corpus":
        scalers = {**_scalers(job, tables), **_trained_scalers(train, given["corpora"])}
        train = _scaled_by(train, given["corpora"], scalers)
        held = _scaled_by(held, job["evaluated_corpora"], scalers)
    weights = None if given["weights"] is None else np.asarray(given["weights"], dtype=np.float64)
    training = Training(
        X=train,
        labels=np.asarray(given["labels"], dtype=np.int64),
        weights=weights,
        speakers=np.asarray(given["speakers"]),
        auxiliary={name: np.asarray(labels) for name, labels in given.get("auxiliary", {}).items()},
    )
    return training, held


def _rows(tables: Tables, hashes: Mapping[str, str], utterances: Sequence[str]) -> Rows:
    """Return float64 rows, shape (n_utterances, n_features), or frames as float32, of the audio that a job names."""
    located = [(table.matrix, _located(table)) for table in tables.values()]
    rows: list[np.ndarray] = []
    lost = []
    for utterance in utterances:
        place = (utterance, hashes[utterance])
        found = [matrix[where[place]] for matrix, where in located if place in where][:1]
        rows += found
        lost += [] if found else [utterance]
    if lost:
        raise FeatureError("store", f"no features of {listed(lost)}", todo="Run `serbench extract` again")
    framewise = next((table for table in tables.values() if isinstance(table.matrix, Ragged)), None)
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


def _scalers(job: Mapping[str, Any], tables: Tables) -> dict[str, StandardScaler]:
    """Fit one scaler per speaker, or per corpus that trains nothing, on all its extracted utterances, unlabelled.

    These are of what is tested, too: transductive.
    """
    from sklearn.preprocessing import StandardScaler

    units = job["normalised"].items()
    return {unit: StandardScaler().fit(flat(_rows(tables, hashes, sorted(hashes)))) for unit, hashes in units}


def _trained_scalers(train: Rows, corpora: Sequence[str]) -> dict[str, StandardScaler]:
    """Fit one scaler per corpus on its own training rows."""
    from sklearn.preprocessing import StandardScaler

    matrix, owners = flat(train), for_each_row(train, np.asarray(corpora))
    return {corpus: StandardScaler().fit(matrix[owners == corpus]) for corpus in sorted(set(corpora))}


def _scaled_by(rows: Rows, units: Sequence[str], scalers: Mapping[str, StandardScaler]) -> Rows:
    """Scale each row by the scaler of its speaker or corpus."""
    matrix, owners = flat(rows), for_each_row(rows, np.asarray(units))
    scaled = np.empty_like(matrix)
    for unit in sorted(set(units)):
        own = owners == unit
        scaled[own] = scalers[unit].transform(matrix[own])
    return with_flat(rows, scaled)
