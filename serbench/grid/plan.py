"""What each cell trains and tests, and the smallest set of training jobs for all cells; the check that none leaks.

A job is one training set times one classifier on one feature set: all settings fitted once, everything held out
predicted. Jobs with the same training set are one job, whoever asks for them: the model that validates group i for
test group o is also the one that validates o for i. Jobs are names and JSON; any process that sees the store can run
one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from serbench import __version__
from serbench.classifiers import Classifier
from serbench.classifiers.spaces import Space
from serbench.corpora.divisions import partition_notes, sentences
from serbench.corpora.index import entry_parts, index_fingerprint, overlapping_segments
from serbench.corpora.segments import segment_title
from serbench.corpora.tasks import EmotionTask
from serbench.errors import ProtocolError, SerbenchError, listed
from serbench.grid.cells import Cell, CellRecord, FoldJobs
from serbench.grid.utterances import (
    SCALING_NEEDS,
    CorpusData,
    FeatureSource,
    auxiliary_labels,
    basis,
    check_emotions,
    divisible,
    group_keys,
    grouped,
    join,
    keep_apart,
    missing_features,
    of_task,
    remarks,
    scaled_alone,
)
from serbench.protocols import Draw, Fold, Protocol, TrainingSet
from serbench.store.keys import digest
from serbench.store.results import Store


@dataclass(frozen=True, slots=True)
class Choice:
    """One combination of the grid: the corpora that it tests, the others that it trains on, and how."""

    tested: tuple[CorpusData, ...]
    others: tuple[CorpusData, ...]
    protocol: Protocol
    source: FeatureSource
    classifier: Classifier
    space: Space
    seed: int
    draw: Draw | None = None

    @property
    def corpora(self) -> tuple[CorpusData, ...]:
        """All of its corpora."""
        return (*self.tested, *self.others)


def joined(corpora: Iterable[CorpusData]) -> str:
    """Name corpora together."""
    return "+".join(sorted(data.name for data in corpora))


@dataclass(frozen=True, slots=True)
class GridOptions:
    """What is asked of every cell.

    `space_file` is what `--space` was called, `pool` names all corpora asked for, `segment` the seconds of pieces.
    """

    task: EmotionTask
    protocol: str = "within"
    scaling: str = "train"
    inner: str = "auto"
    seeds: tuple[int, ...] = (0,)
    space_file: str = ""
    partition: str = ""
    draws: tuple[tuple[int, float], ...] = ()
    pool: str = ""
    segment: float | None = None

    def of(self, choice: Choice) -> GridOptions:
        """Return what is asked of one cell: its own emotions, where these are what the corpus tested has."""
        tested = choice.tested[0]
        try:
            return replace(self, task=self.task.for_index(tested.index, tested.corpus))
        except SerbenchError:  # a filter that does not fit the corpus, for which `plan_cell` refuses the cell
            return self


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell's record, complete but for the jobs, and its request to the plan; None where the cell is refused."""

    record: CellRecord
    request: Request | None

    @property
    def cell(self) -> Cell:
        """The cell."""
        return self.record.cell

    @property
    def refused(self) -> str:
        """Why it cannot be carried out."""
        return self.record.reason


def plan_cell(choice: Choice, options: GridOptions, store: Store) -> PlannedCell:
    """Lay out one cell; what cannot be carried out is recorded as refused."""
    record = _asked(choice, options)
    try:
        _check_options(choice, options)
        extracted = {data.name: choice.source.extracted(data, store) for data in choice.corpora}
        whole = [grouped(data, choice.protocol, options.partition) for data in choice.corpora]
        rows, shared = _utterances(choice, options.task, whole, extracted)
        divided = divisible(rows)
        rule, auto = (choice.protocol.rule(asked, divided) for asked in (options.inner, "auto"))
        cell = replace(record.cell, inner=rule.name)
        title = "auto" if rule.name == auto.name else rule.name
        record = replace(record, cell=cell, inner_title=title, no_nested=rule.reason)
        check_emotions(rows, choice.tested, options.task, choice.source)
        known = _known(choice, options, rows, extracted)
        folds = tuple(choice.protocol.folds(divided, rule, choice.draw))
        for fold in folds:
            check_no_overlap(fold, known)
        notes = [*remarks(choice.tested, choice.others, rows, options.task, choice.protocol, shared)]
        notes += _notes_on_folds(choice, options, folds, divided)
        _check_trained_emotions(choice, options.task, folds, known)
        record = _filled(record, choice, options, rows, whole, folds)
        request = Request(_recipe(choice, options), known, folds, choice.protocol.sees_target)
        is_transductive = any(scaled_on(request.recipe, known, f.train.utterances, f.test) for f in folds)
        missing = missing_features(rows[rows["utterance"].isin(record.utterances["id"])], choice.source, store)
    except SerbenchError as error:
        return PlannedCell(replace(record, state="refused", reason=store.worded(str(error))), None)
    notes = [note for note in notes if note]
    return PlannedCell(replace(record, notes=tuple(notes), transductive=is_transductive, missing=missing), request)


def _asked(choice: Choice, options: GridOptions) -> CellRecord:
    """Record what was asked for and of which state of the corpora."""
    protocol, task = choice.protocol, options.task
    trains_all = protocol.sees_target and not choice.draw
    title = choice.draw.title if choice.draw else ""
    cell = Cell(
        protocol=protocol.name,
        task=task.title,
        train=joined(choice.corpora if trains_all else choice.others),
        corpus=joined(choice.tested),
        features=choice.source.name,
        classifier=choice.classifier.name,
        space=choice.space.name,
        scaling=options.scaling,
        inner=options.inner,
        preprocessing=segment_title(options.segment),
        seed=choice.seed,
        options=f"partition={options.partition}" if protocol.needs == "partition" else title,
        map=task.map,
    )
    parts = {"folds", f"partition {options.partition}", f"target {task.target}"}
    parts |= {"shares_speakers_with"} if protocol.is_across else set()
    parts |= {"language"} if protocol.goes_by_language or task.target == "language" else set()
    pool = joined(choice.others) if protocol.is_pairwise else options.pool if protocol.is_across else ""
    return CellRecord(
        cell=cell,
        inner_title=options.inner,
        emotions=task.emotions,
        task_map=task.spelt,
        target=task.target,
        indexes={data.stored: index_fingerprint(data.index) for data in choice.corpora},
        entries={d.stored: {p: of for p, of in entry_parts(d.corpus).items() if p in parts} for d in choice.corpora},
        tested=tuple(data.stored for data in choice.tested),
        pool=pool,
        partials={data.stored: data.partial for data in choice.corpora if data.partial},
        features_argument=choice.source.argument,
        space_file=options.space_file,
        serbench=__version__,
        versions={**choice.source.versions, **choice.classifier.versions},
        feature_key=choice.source.key,
        revision=choice.classifier.revision,
        settings=tuple(dict(setting) for setting in choice.space.settings),
        default=choice.space.default,
        persons={data.stored: data.corpus.person for data in choice.tested},
    )


def _check_options(choice: Choice, options: GridOptions) -> None:
    """Refuse what a classifier or a scaling cannot do."""
    check_input(choice.source, choice.classifier)
    name = choice.classifier.name
    if options.scaling == "none" and choice.classifier.needs_scaling:
        raise ProtocolError(joined(choice.tested), f"{name} with --scaling none", "--scaling train or speaker")
    if choice.draw and choice.draw.weight != 1 and not choice.classifier.takes_weights:
        raise ProtocolError(joined(choice.tested), f"{name} with --weight {choice.draw.weight:g}", "--weight 1")
    if choice.draw and options.scaling == "corpus" and choice.draw.k < SCALING_NEEDS:
        found = f"--scaling corpus with {choice.draw.k} utterances of {joined(choice.tested)}"
        raise ProtocolError("adapt", found, f"at least {SCALING_NEEDS}", "Use --scaling train, or a larger --k")


def _utterances(
    choice: Choice, task: EmotionTask, whole: Sequence[pd.DataFrame], extracted: Mapping[str, set[tuple[str, str]]]
) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Return the table of utterances of a cell, and notes on people and copies that its corpora share."""
    tables = []
    for data, of in zip(choice.corpora, whole, strict=True):
        rows = of_task(data, of, task)
        places = zip(rows["utterance"], rows["audio_hash"], strict=True)
        is_tested = rows["held_out"] if choice.protocol.needs == "partition" else data in choice.tested
        tables.append(rows.assign(present=[place in extracted[data.name] for place in places], tested=is_tested))
    return keep_apart(join(choice.corpora, tables), whole, choice.protocol)


def _known(
    choice: Choice, options: GridOptions, rows: pd.DataFrame, extracted: Mapping[str, set[tuple[str, str]]]
) -> Rows:
    """Return what jobs must know of each utterance with features."""
    present = rows[rows["present"]]
    code = {emotion: i for i, emotion in enumerate(options.task.emotions)}
    overlaps = [
        overlapping_segments(present[present["corpus"] == data.name], person=data.corpus.person)
        for data in choice.corpora
    ]

    def by_utterance(column: pd.Series[Any]) -> dict[str, Any]:
        return dict(zip(present["utterance"], column, strict=True))

    return Rows(
        labels=by_utterance(present["emotion"].map(code)),
        people=by_utterance(present["who"]),
        hashes=by_utterance(present["audio_hash"]),
        corpora=by_utterance(present["stored"]),
        overlaps=tuple(pair for pairs in overlaps for pair in pairs),
        texts=by_utterance(sentences(present)) if choice.protocol.holds_out_texts else {},
        extracted=scaled_alone(choice.corpora, rows, options.task, scaling=options.scaling, extracted=extracted),
        auxiliary=auxiliary_labels(choice.corpora, present, choice.classifier),
        same=by_utterance(present["person"]) if "person" in present else {},
    )


def _filled(
    record: CellRecord,
    choice: Choice,
    options: GridOptions,
    rows: pd.DataFrame,
    whole: Sequence[pd.DataFrame],
    folds: Sequence[Fold],
) -> CellRecord:
    """Add to a record the utterances that are to be predicted, and the state of labels, recordings and folds."""
    asked = rows[rows["tested"]]
    gender = asked["gender"].where(asked["gender"].notna(), None) if "gender" in asked else [None] * len(asked)
    columns = {"id": asked["utterance"], "emotion": asked["emotion"], "speaker": asked["who"], "gender": gender}
    validated = {u for fold in folds for v in fold.inner for u in v.test} - set(asked["utterance"])
    sources = rows[rows["utterance"].isin(validated)].sort_values("utterance")
    states = [
        basis(rows[rows["corpus"] == d.name], of, options.task) for d, of in zip(choice.corpora, whole, strict=True)
    ]
    n, held_out = len(choice.tested), [group_keys(of[of["held_out"]]) for of in whole[: len(choice.tested)]]
    trained = [[data.name, state] for data, state in zip(choice.others, states[n:], strict=True)]
    is_plain = n == 1 and not trained and not any(held_out)
    return replace(
        record,
        basis=states[0] if is_plain else digest([states[:n], trained, held_out]),
        utterances={**{name: list(of) for name, of in columns.items()}, "present": asked["present"].tolist()},
        sources={"id": sources["utterance"].tolist(), "emotion": sources["emotion"].tolist()},
    )


def _notes_on_folds(choice: Choice, options: GridOptions, folds: Sequence[Fold], rows: pd.DataFrame) -> Iterator[str]:
    """Word what a partition is; what a fold is where texts are held out, and how much that leaves to train on."""
    if choice.protocol.needs == "partition":
        for data in choice.tested:
            yield from partition_notes(data.index, data.corpus, options.partition)
    if choice.protocol.holds_out_texts:
        group_of = dict(zip(rows["utterance"], rows["group"], strict=True))
        sizes = rows["group"].value_counts()
        others = sum(len(rows) - sizes[group_of[fold.test[0]]] for fold in folds)
        left = sum(len(fold.train.utterances) for fold in folds) / others
        what = f"{rows['group'].nunique()} groups of speakers x {rows['text_group'].nunique()} of texts"
        yield f"{what}, which leaves {left:.0%} of the other speakers' utterances to train on"
        if options.scaling == "speaker":
            yield "speakers are scaled on their utterances of the texts held out too"


def _check_trained_emotions(choice: Choice, task: EmotionTask, folds: Sequence[Fold], rows: Rows) -> None:
    """Check that what is held out takes no emotion out of what a model is trained on, those that validate included."""
    protocol = choice.protocol
    if not (protocol.holds_out_texts or protocol.is_across or protocol.needs or task.is_of_people):
        return
    trainings = {f.train: f"fold {f.name}" for f in folds}
    trainings |= {v.train: f"fold {f.name}, validation {v.name}" for f in folds for v in f.inner}
    for train, name in trainings.items():
        absent = set(range(len(task.emotions))) - {rows.labels[u] for u in train.utterances}
        if absent:
            found = f"{name}: no utterance of {listed(task.emotions[c] for c in sorted(absent))} to train on"
            todo = "Leave these emotions out with --emotions, or use --protocol within"
            where = f"{joined(choice.tested)}, --protocol {protocol.name}"
            raise ProtocolError(where, found, "some of each emotion", todo)


def check_input(source: FeatureSource, classifier: Classifier) -> None:
    """Check that a classifier takes what the features are: rows or frames.

    Raises
    ------
    ProtocolError : it takes the other.
    """
    if source.gives != classifier.input:
        found = f"{classifier.name} takes {classifier.input}, and {source.name} gives {source.gives}"
        what = "frames of each recording" if classifier.input == "frames" else "one row per recording"
        raise ProtocolError(f"{source.name} with {classifier.name}", found, f"features of {what}", _LISTS)


def check_inputs(sources: Sequence[FeatureSource], classifiers: Sequence[Classifier]) -> None:
    """Check that one combination goes together at least, before anything is extracted; see `check_input`."""
    pairs = [(source, classifier) for source in sources for classifier in classifiers]
    if not any(source.gives == classifier.input for source, classifier in pairs):
        for source, classifier in pairs:
            check_input(source, classifier)


_LISTS = "`serbench features list` and `serbench classifiers list` tell which go together"


def _recipe(choice: Choice, options: GridOptions) -> Recipe:
    return Recipe(
        classifier=choice.classifier.name,
        revision=choice.classifier.revision,
        settings=choice.space.settings,
        features=choice.source.key,
        scaling=options.scaling,
        seed=choice.seed,
        emotions=options.task.emotions,
        versions=choice.classifier.versions,
    )


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
class PlannedFold:
    """A fold with the keys of the jobs that predict its test group and its validations."""

    fold: Fold
    job: str
    inner: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Request:
    """A cell as the plan sees it; `sees_target` says whether utterances of a corpus tested may train."""

    recipe: Recipe
    rows: Rows
    folds: tuple[Fold, ...]
    sees_target: bool = True


@dataclass(frozen=True, slots=True)
class Plan:
    """Distinct jobs by key, and for each request its folds with their jobs."""

    jobs: Mapping[str, Job]
    folds: tuple[tuple[PlannedFold, ...], ...]


def make_plan(requests: Sequence[Request]) -> Plan:
    """Merge equal training sets across all requests and name every job.

    Raises
    ------
    ProtocolError : a fold leaks.
    """
    for request in requests:
        check_no_leak(request.folds, request.rows)
        if not request.sees_target:
            check_unseen(request.folds, request.rows)
    keys = _Keys()
    wanted: dict[_Place, set[str]] = {}
    asked_by: dict[_Place, Request] = {}
    places = [keys.places(request) for request in requests]
    for request, place in zip(requests, places, strict=True):
        for train, test in _trainings(request.folds):
            wanted.setdefault((*place, train), set()).update(test)
            asked_by.setdefault((*place, train), request)
    named = {place: keys.job(asked_by[place], place, tuple(sorted(held))) for place, held in wanted.items()}
    folds = tuple(
        tuple(
            PlannedFold(f, named[*place, f.train].key, tuple(named[*place, v.train].key for v in f.inner))
            for f in request.folds
        )
        for request, place in zip(requests, places, strict=True)
    )
    return Plan({job.key: job for job in named.values()}, folds)


def check_no_leak(folds: Iterable[Fold], rows: Rows) -> None:
    """Check that no person and no audio is on both sides of any test or validation, and no text of a test elsewhere.

    Texts are looked at where the rows tell them. A validation may say what its training says, but not what the test
    says.

    Raises
    ------
    ProtocolError : with the fold and what it shares.
    """
    sides = _Sides(rows)
    for fold in folds:
        test = sides.of(fold.test)
        sides.check_apart(fold.name, sides.of(fold.train.utterances), test)
        check_no_overlap(fold, rows)
        for inner in fold.inner:
            name = f"{fold.name}, validation {inner.name}"
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


def check_no_overlap(fold: Fold, rows: Rows) -> None:
    """Check that no test utterance shares a stretch of a recording with one outside the test.

    Raises
    ------
    ProtocolError : with the pairs that do.
    """
    test = set(fold.test) if rows.overlaps else set()
    shared = [f"{one} and {other}" for one, other in rows.overlaps if (one in test) != (other in test)]
    if shared:
        todo = "Group those who talk to each other: `folds: {by: session}`, or cut the segments apart"
        raise ProtocolError(f"plan, {fold.name}", f"overlapping segments apart: {listed(shared)}", "none", todo)


def check_unseen(folds: Iterable[Fold], rows: Rows) -> None:
    """Check that no utterance of a corpus tested trains or validates anything.

    Raises
    ------
    ProtocolError : with the fold and the corpora.
    """
    for fold in folds:
        tested = {rows.corpora[u] for u in fold.test}
        trainings = (fold.train.utterances, *(v.train.utterances for v in fold.inner))
        seen = {rows.corpora[u] for of in (*trainings, *(v.test for v in fold.inner)) for u in of}
        if tested & seen:
            found = f"corpora in training and test: {listed(sorted(tested & seen))}"
            raise ProtocolError(f"plan, {fold.name}", found, "none", "This is a leak; the run is stopped")


def _trainings(folds: Iterable[Fold]) -> Iterable[tuple[TrainingSet, tuple[str, ...]]]:
    for fold in folds:
        yield fold.train, fold.test
        for inner in fold.inner:
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


def with_jobs(record: CellRecord, planned: Sequence[PlannedFold]) -> CellRecord:
    """Complete a cell's record with its folds and the jobs that predict them."""
    sets: dict[str, tuple[str, ...]] = {}
    for of in (p.fold for p in planned):
        for name, utterances in ((of.name, of.test), *((v.name, v.test) for v in of.inner)):
            if sets.setdefault(name, utterances) != utterances:
                raise ProtocolError("plan", f"two sets of utterances are named '{name}'", "a name for each")
    folds = [
        FoldJobs(p.fold.name, p.job, tuple(zip((v.name for v in p.fold.inner), p.inner, strict=True))) for p in planned
    ]
    jobs = sorted({key for p in planned for key in (p.job, *p.inner)})
    return replace(record, jobs=tuple(jobs), folds=tuple(folds), sets=sets)
