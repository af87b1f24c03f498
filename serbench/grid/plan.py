"""Evaluations -> the smallest set of training jobs, and the check that none of them leaks.

A job is one training set times one classifier on one feature set: all settings fitted once, everything held out
predicted. Jobs with the same training set are one job, whoever asks for them: the model that validates group i for
test group o is also the one that validates o for i. Jobs are names and JSON; any process that sees the store can run
one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from serbench.errors import ProtocolError, listed
from serbench.protocols import Evaluation, TrainingSet
from serbench.store.keys import digest


@dataclass(frozen=True, slots=True)
class Rows:
    """What is known of each utterance of a cell: label code, person, fingerprint of its audio, corpus.

    `same`, where corpora share speakers, is one name for each person under whatever names, by utterance.
    `overlaps` are pairs of utterances that share a stretch of one recording. `texts`, where the protocol holds out
    texts, is what each utterance says. `extracted` are all utterances with features, labelled or not, and their
    fingerprints, of each speaker or corpus that is scaled by itself. `auxiliary` are the labels, by name and utterance,
    that the classifier declares.
    """

    labels: Mapping[str, int]
    people: Mapping[str, str]
    hashes: Mapping[str, str]
    corpora: Mapping[str, str]
    overlaps: tuple[tuple[str, str], ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    extracted: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    auxiliary: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    same: Mapping[str, str] = field(default_factory=dict)

    def auxiliary_of(self, utterances: Sequence[str]) -> dict[str, dict[str, list[str]]]:
        """Auxiliary labels of utterances as a field of JSON; no field where the classifier declares none."""
        labels = {name: [of[u] for u in utterances] for name, of in sorted(self.auxiliary.items())}
        return {"auxiliary": labels} if labels else {}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a cell's jobs have in common: all that decides a model beside its training set."""

    classifier: str
    revision: int
    settings: tuple[Mapping[str, str | int | float], ...]
    features: str
    scaling: str
    seed: int
    emotions: tuple[str, ...]
    versions: Mapping[str, str]

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
        }


@dataclass(frozen=True, slots=True)
class Job:
    """One training set and everything held out that its models predict; `key` names its file in the store."""

    key: str
    recipe: Recipe
    train: TrainingSet
    evaluated: tuple[str, ...]
    rows: Rows

    @property
    def n_training(self) -> int:
        """Rows to train on."""
        return len(self.train.utterances)

    @property
    def json(self) -> dict[str, Any]:
        """All that a worker must know; put together when asked for, as a plan may hold thousands of jobs."""
        used = [*self.train.utterances, *self.evaluated]
        return {
            **self.recipe.json,
            "normalised": scaled_on(self.recipe, self.rows, self.train.utterances, self.evaluated),
            "training": {
                "utterances": list(self.train.utterances),
                "labels": [self.rows.labels[u] for u in self.train.utterances],
                "weights": None if self.train.weights is None else list(self.train.weights),
                "speakers": [self.rows.people[u] for u in self.train.utterances],
                "corpora": [self.rows.corpora[u] for u in self.train.utterances],
                **self.rows.auxiliary_of(self.train.utterances),
            },
            "evaluated": list(self.evaluated),
            "evaluated_speakers": [self.rows.people[u] for u in self.evaluated],
            "evaluated_corpora": [self.rows.corpora[u] for u in self.evaluated],
            "hashes": {u: self.rows.hashes[u] for u in used},
            "corpora": sorted({self.rows.corpora[u] for u in used}),
        }


def scaled_on(recipe: Recipe, rows: Rows, train: Sequence[str], evaluated: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the utterances, with their fingerprints, that a job fits scalers on beyond its training rows.

    Per speaker, all extracted ones of every speaker of the job. Per corpus, all of each corpus without a training row.
    Both are unlabelled audio of what is tested: transductive.
    """
    if recipe.scaling == "speaker":
        units = {rows.people[u] for u in (*train, *evaluated)}
    elif recipe.scaling == "corpus":
        units = {rows.corpora[u] for u in evaluated} - {rows.corpora[u] for u in train}
    else:
        return {}
    return {unit: dict(rows.extracted[unit]) for unit in sorted(units)}


@dataclass(frozen=True, slots=True)
class PlannedEvaluation:
    """An evaluation with the keys of the jobs that predict its test group and its validations."""

    evaluation: Evaluation
    job: str
    inner: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A cell as the plan sees it; `sees_target` says whether utterances of a corpus tested may train."""

    recipe: Recipe
    rows: Rows
    evaluations: tuple[Evaluation, ...]
    sees_target: bool = True


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
        if not request.sees_target:
            check_unseen(request.evaluations, request.rows)
    keys = _Keys()
    wanted: dict[_Place, set[str]] = {}
    asked_by: dict[_Place, Request] = {}
    places = [keys.places(request) for request in requests]
    for request, place in zip(requests, places, strict=True):
        for train, test in _trainings(request.evaluations):
            wanted.setdefault((*place, train), set()).update(test)
            asked_by.setdefault((*place, train), request)
    named = {place: keys.job(asked_by[place], place, tuple(sorted(held))) for place, held in wanted.items()}
    evaluations = tuple(
        tuple(
            PlannedEvaluation(e, named[*place, e.train].key, tuple(named[*place, v.train].key for v in e.inner))
            for e in request.evaluations
        )
        for request, place in zip(requests, places, strict=True)
    )
    return Plan({job.key: job for job in named.values()}, evaluations)


def check_no_leak(evaluations: Iterable[Evaluation], rows: Rows) -> None:
    """Check that no person and no audio is on both sides of any test or validation, and no text of a test elsewhere.

    Texts are looked at where the rows tell them. A validation may say what its training says, but not what the test
    says.

    Raises
    ------
    ProtocolError : with the evaluation and what it shares.
    """
    sides = _Sides(rows)
    for evaluation in evaluations:
        test = sides.of(evaluation.test)
        sides.check_apart(evaluation.name, sides.of(evaluation.train.utterances), test)
        check_no_overlap(evaluation, rows)
        for inner in evaluation.inner:
            name = f"{evaluation.name}, validation {inner.name}"
            train, validation = sides.of(inner.train.utterances), sides.of(inner.test)
            sides.check_apart(name, replace(train, texts=frozenset()), validation)
            sides.check_apart(f"{name} against its test", train, test)
            sides.check_apart(f"{name} on its test", validation, test)


@dataclass(frozen=True, slots=True)
class _Side:
    """People, audio fingerprints and texts of a set of utterances."""

    speakers: frozenset[str]
    recordings: frozenset[str]
    texts: frozenset[str]


class _Sides:
    """What sets of utterances hold, each worked out once."""

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.known: dict[tuple[str, ...], _Side] = {}

    def of(self, utterances: tuple[str, ...]) -> _Side:
        if utterances not in self.known:
            known = (self.rows.same or self.rows.people, self.rows.hashes, self.rows.texts)
            self.known[utterances] = _Side(
                *(frozenset(of[u] for u in utterances) if of else frozenset() for of in known)
            )
        return self.known[utterances]

    def check_apart(self, name: str, one: _Side, other: _Side) -> None:
        """Check that two sets have no person, no recording and no text in common."""
        for what in ("speakers", "recordings", "texts"):
            shared = getattr(one, what) & getattr(other, what)
            if shared:
                found = f"{what} in training and test: {listed(self._named(what, shared))}"
                raise ProtocolError(f"plan, {name}", found, "none", "This is a leak; the run is stopped")

    def _named(self, what: str, shared: frozenset[str]) -> list[str]:
        """Name what is shared; recordings by the utterances that have them, as nobody knows a fingerprint."""
        if what != "recordings":
            return sorted(shared)
        return sorted(u for u, audio in self.rows.hashes.items() if audio in shared)


def check_no_overlap(evaluation: Evaluation, rows: Rows) -> None:
    """Check that no test utterance shares a stretch of a recording with one outside the test.

    Raises
    ------
    ProtocolError : with the pairs that do.
    """
    test = set(evaluation.test) if rows.overlaps else set()
    shared = [f"{one} and {other}" for one, other in rows.overlaps if (one in test) != (other in test)]
    if shared:
        todo = "Group those who talk to each other: `folds: {by: session}`, or cut the segments apart"
        raise ProtocolError(f"plan, {evaluation.name}", f"overlapping segments apart: {listed(shared)}", "none", todo)


def check_unseen(evaluations: Iterable[Evaluation], rows: Rows) -> None:
    """Check that no utterance of a corpus tested trains or validates anything.

    Raises
    ------
    ProtocolError : with the evaluation and the corpora.
    """
    for evaluation in evaluations:
        tested = {rows.corpora[u] for u in evaluation.test}
        trainings = (evaluation.train.utterances, *(v.train.utterances for v in evaluation.inner))
        seen = {rows.corpora[u] for of in (*trainings, *(v.test for v in evaluation.inner)) for u in of}
        if tested & seen:
            found = f"corpora in training and test: {listed(sorted(tested & seen))}"
            raise ProtocolError(f"plan, {evaluation.name}", found, "none", "This is a leak; the run is stopped")


def _trainings(evaluations: Iterable[Evaluation]) -> Iterable[tuple[TrainingSet, tuple[str, ...]]]:
    for evaluation in evaluations:
        yield evaluation.train, evaluation.test
        for inner in evaluation.inner:
            yield inner.train, inner.test


_Place = tuple[str, str, TrainingSet]
"""Digest of the recipe, digest of the rows, training set: what makes a job one and the same."""


class _Keys:
    """Names jobs by digests; what many jobs share is digested once."""

    def __init__(self) -> None:
        self.trainings: dict[tuple[str, TrainingSet], str] = {}

    def places(self, request: Request) -> tuple[str, str]:
        """Digests of a request's recipe and of its rows: label, person, audio and corpus of every id."""
        rows = request.rows
        known = [sorted(m.items()) for m in (rows.labels, rows.people, rows.hashes, rows.corpora)]
        scaled = {unit: sorted(of.items()) for unit, of in rows.extracted.items()}
        return digest(request.recipe.json), digest([known, scaled, rows.auxiliary])

    def job(self, request: Request, place: _Place, evaluated: tuple[str, ...]) -> Job:
        """Name a job by its recipe, what it scales on, its training rows and its evaluated rows."""
        _, rows_key, train = place
        rows, recipe = request.rows, _as_scaled(request.recipe, request.rows, train.utterances, evaluated)
        if (rows_key, train) not in self.trainings:
            known = [[u, rows.hashes[u], rows.labels[u], rows.people[u]] for u in train.utterances]
            auxiliary = rows.auxiliary_of(train.utterances).values()
            self.trainings[rows_key, train] = digest([known, train.weights, *auxiliary])
        held = [[u, rows.hashes[u], rows.people[u]] for u in evaluated]
        scaled = scaled_on(recipe, rows, train.utterances, evaluated)
        made = digest({**recipe.json, "normalised": scaled})
        key = digest([made, self.trainings[rows_key, train], held])
        return Job(key, recipe, train, evaluated, rows)


def _as_scaled(recipe: Recipe, rows: Rows, train: Sequence[str], evaluated: Sequence[str]) -> Recipe:
    """Return the recipe of a job; in one corpus alone, scaling per corpus is scaling on the training rows."""
    is_one = len({rows.corpora[u] for u in (*train, *evaluated)}) == 1
    return replace(recipe, scaling="train") if recipe.scaling == "corpus" and is_one else recipe
