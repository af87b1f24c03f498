"""Evaluations -> the smallest set of training jobs, and the check that none of them leaks.

A job is one training set times one classifier on one feature set: all settings fitted once, everything held out
predicted. Jobs with the same training set are one job, whoever asks for them: the model that validates group i for
test group o is also the one that validates o for i. Jobs are names and JSON; any process that sees the store can run
one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serbench.errors import ProtocolError, listed
from serbench.keys import digest
from serbench.protocols import Evaluation, TrainingSet


@dataclass(frozen=True, slots=True)
class Rows:
    """What is known of each utterance of a cell: label code, person, fingerprint of its audio, corpus."""

    labels: Mapping[str, int]
    people: Mapping[str, str]
    hashes: Mapping[str, str]
    corpora: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a cell's jobs have in common: all that decides a model beside its training set.

    `normalised` holds, with per-speaker scaling, all extracted utterances of every speaker (transductive).
    """

    classifier: str
    revision: int
    settings: tuple[Mapping[str, str | int | float], ...]
    features: str
    scaling: str
    seed: int
    emotions: tuple[str, ...]
    versions: Mapping[str, str]
    normalised: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def json(self) -> dict[str, Any]:
        """The recipe as JSON."""
        return {
            "classifier": self.classifier,
            "revision": self.revision,
            "settings": [dict(setting) for setting in self.settings],
            "features": self.features,
            "scaling": self.scaling,
            "seed": self.seed,
            "emotions": list(self.emotions),
            "versions": dict(self.versions),
            "normalised": {speaker: dict(hashes) for speaker, hashes in self.normalised.items()},
        }


@dataclass(frozen=True, slots=True)
class Job:
    """One training set and everything held out that its models predict; `key` names its file in the store."""

    key: str
    json: Mapping[str, Any]

    @property
    def n_training(self) -> int:
        """Rows to train on."""
        return len(self.json["training"]["utterances"])


@dataclass(frozen=True, slots=True)
class PlannedEvaluation:
    """An evaluation with the keys of the jobs that predict its test group and its validations."""

    evaluation: Evaluation
    job: str
    inner: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A cell as the plan sees it."""

    recipe: Recipe
    rows: Rows
    evaluations: tuple[Evaluation, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Distinct jobs by key, and for each request its evaluations with their jobs."""

    jobs: Mapping[str, Job]
    evaluations: tuple[tuple[PlannedEvaluation, ...], ...]


def make_plan(requests: Sequence[Request]) -> Plan:
    """Merge equal training sets across all requests and name every job.

    Raises
    ------
    ProtocolError : an evaluation leaks.
    """
    for request in requests:
        check_no_leak(request.evaluations, request.rows)
    wanted: dict[tuple[str, TrainingSet, str], set[str]] = {}
    first: dict[tuple[str, TrainingSet, str], Request] = {}
    recipes = [digest(request.recipe.json) for request in requests]
    labels = [_labels_key(request) for request in requests]
    for request, recipe, label in zip(requests, recipes, labels, strict=True):
        for train, test in _trainings(request.evaluations):
            wanted.setdefault((recipe, train, label), set()).update(test)
            first.setdefault((recipe, train, label), request)
    named = {place: _job(first[place], place[1], held) for place, held in wanted.items()}
    return Plan(
        {job.key: job for job in named.values()},
        tuple(
            tuple(
                PlannedEvaluation(
                    e, named[recipe, e.train, label].key, tuple(named[recipe, v.train, label].key for v in e.inner)
                )
                for e in request.evaluations
            )
            for request, recipe, label in zip(requests, recipes, labels, strict=True)
        ),
    )


def check_no_leak(evaluations: Iterable[Evaluation], rows: Rows) -> None:
    """Check that no person and no audio is on both sides of any test or validation.

    Raises
    ------
    ProtocolError : with the evaluation and what it shares.
    """
    for evaluation in evaluations:
        _check_apart(evaluation.name, evaluation.train, evaluation.test, rows)
        for inner in evaluation.inner:
            name = f"{evaluation.name}, validation {inner.name}"
            _check_apart(name, inner.train, inner.test, rows)
            _check_apart(f"{name} against its test", inner.train, evaluation.test, rows)
            _check_apart(f"{name} on its test", TrainingSet(inner.test), evaluation.test, rows)


def _check_apart(name: str, train: TrainingSet, test: Sequence[str], rows: Rows) -> None:
    for what, of in (("speakers", rows.people), ("recordings", rows.hashes)):
        shared = {of[u] for u in train.utterances} & {of[u] for u in test}
        if shared:
            found = f"{what} in training and test: {listed(sorted(shared))}"
            raise ProtocolError(f"plan, {name}", found, "none", "This is a leak; the run is stopped")


def _trainings(evaluations: Iterable[Evaluation]) -> Iterable[tuple[TrainingSet, tuple[str, ...]]]:
    for evaluation in evaluations:
        yield evaluation.train, evaluation.test
        for inner in evaluation.inner:
            yield inner.train, inner.test


def _labels_key(request: Request) -> str:
    """Tell apart requests whose rows differ in label, person or audio under the same ids."""
    rows = request.rows
    return digest([sorted(mapping.items()) for mapping in (rows.labels, rows.people, rows.hashes)])


def _job(request: Request, train: TrainingSet, held: set[str]) -> Job:
    rows = request.rows
    evaluated = sorted(held)
    used = [*train.utterances, *evaluated]
    content = {
        **request.recipe.json,
        "training": {
            "utterances": list(train.utterances),
            "labels": [rows.labels[u] for u in train.utterances],
            "weights": None if train.weights is None else list(train.weights),
            "speakers": [rows.people[u] for u in train.utterances],
        },
        "evaluated": evaluated,
        "evaluated_speakers": [rows.people[u] for u in evaluated],
        "hashes": {u: rows.hashes[u] for u in used},
        "corpora": sorted({rows.corpora[u] for u in used}),
    }
    return Job(digest(content), content)
