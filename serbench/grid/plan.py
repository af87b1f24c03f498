"""What each cell trains and tests, and the smallest set of training jobs for all cells; the check that none leaks.

A job is one training set times one classifier on one feature set: all settings fitted once, everything held out
predicted. Jobs with the same training set are one job, whoever asks for them: the model that validates group i for
test group o is also the one that validates o for i. Jobs are names and JSON; any process that sees the store can run
one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from serbench import __version__
from serbench.classifiers import Classifier
from serbench.classifiers.spaces import Space
from serbench.corpora.divisions import sentences
from serbench.corpora.index import entry_parts, index_fingerprint, overlapping_segments
from serbench.corpora.segments import WHOLE
from serbench.corpora.tasks import OF_PEOPLE
from serbench.errors import ProtocolError, SerbenchError, listed
from serbench.features import FeatureSet
from serbench.features.own import OwnFeatures
from serbench.grid.cells import Cell, CellRecord, FoldJobs
from serbench.grid.request import Recipe
from serbench.grid.utterances import (
    SCALING_NEEDS,
    Question,
    auxiliary_labels,
    basis,
    check_emotions,
    divisible,
    group_keys,
    joined,
    missing_features,
    notes_of,
    scaled_alone,
    utterances_of,
)
from serbench.protocols import Fold, TrainingSet
from serbench.store.keys import digest
from serbench.store.results import Store

AUXILIARY = "auxiliary "  # how the columns of labels begin that a classifier declares beside the emotion

_OF_JOB = ("utterance", "audio_hash", "label", "who", "stored")  # columns of the utterances of a job that decide it

Scaled = Mapping[str, Mapping[str, str]]
"""Audio that scalers are fitted on beyond training rows, by speaker or corpus: fingerprints by utterance."""


@dataclass(frozen=True, slots=True, eq=False)
class PlannedCell:
    """A cell as the plan sees it; `sees_target` is whether utterances of a corpus tested may train.

    `rows`: one per utterance with features, `utterance` the index too, with `label` (code), `who`, `audio_hash` and
    `stored` (its corpus); `person` where corpora share people, `said` where texts are held out, and a column for each
    of the labels that the classifier declares.
    """

    recipe: Recipe
    rows: pd.DataFrame
    folds: tuple[Fold, ...]
    scaled: Scaled = field(default_factory=dict)
    sees_target: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One training set and everything held out that its models predict; `key` names its file in the store."""

    key: str
    recipe: Recipe
    train: TrainingSet
    evaluated: tuple[str, ...]
    rows: pd.DataFrame
    scaled: Scaled = field(default_factory=dict)

    @property
    def json(self) -> dict[str, Any]:
        """All that a worker must know; made when asked for, as a plan may hold thousands of jobs."""
        train, held = (_columns_of(self.rows, ids) for ids in (self.train.utterances, self.evaluated))
        auxiliary = _auxiliary(train)
        return {
            **self.recipe.json,
            "normalised": {unit: dict(of) for unit, of in self.scaled.items()},
            "training": {
                "utterances": list(self.train.utterances),
                "labels": train["label"],
                "weights": None if self.train.weights is None else list(self.train.weights),
                "speakers": train["who"],
                "corpora": train["stored"],
                **({"auxiliary": auxiliary} if auxiliary else {}),
            },
            "evaluated": list(self.evaluated),
            "evaluated_speakers": held["who"],
            "evaluated_corpora": held["stored"],
            "hashes": {u: h for of in (train, held) for u, h in zip(of["utterance"], of["audio_hash"], strict=True)},
            "corpora": sorted({*train["stored"], *held["stored"]}),
        }


def plan_cells(
    question: Question, variants: Iterable[tuple[Classifier, Space, int]], store: Store, *, space_file: str = ""
) -> Iterator[tuple[CellRecord, PlannedCell | None]]:
    """Lay out the cells of a question, one for each classifier with its space and seed, all but their jobs.

    A cell that cannot be carried out has a record alone: it is refused, with the reason.
    """
    first = divided = _record(question)
    folds: tuple[Fold, ...] = ()
    fault = None
    try:
        rows, whole, shared = utterances_of(question)
        rule, auto = (question.protocol.rule(inner, divisible(rows)) for inner in (question.inner, "auto"))
        title = "auto" if rule.name == auto.name else rule.name
        divided = replace(first, cell=replace(first.cell, inner=rule.name), inner_title=title, no_nested=rule.reason)
        check_emotions(question, rows)
        scaled = scaled_alone(question, rows)
        folds = tuple(question.protocol.folds(divisible(rows), rule, question.draw))
        known = _checked_rows(question, rows, folds)
        made = _made_of(question, rows, whole, folds)
        notes = tuple((about, note) for about, note in notes_of(question, rows, shared, folds) if note)
        is_scaled = any(scaled_on(question.scaling, known, scaled, f.train.utterances, f.test) for f in folds)
        made |= {"notes": notes, "transductive": is_scaled, "missing": missing_features(question, rows, store)}
    except SerbenchError as error:
        fault = error
    for classifier, space, seed in variants:
        own: dict[str, Any] = {
            "space_file": space_file,
            "versions": {**question.source.versions, **classifier.versions},
            "revision": classifier.revision,
            "settings": tuple(dict(setting) for setting in space.settings),
            "default": space.default,
        }
        record = first
        try:
            _check_classifier(question, classifier)
            record = divided
            if fault is not None:
                raise fault
            auxiliary = auxiliary_labels(question.corpora, known, classifier)
            record = replace(record, **made)
            reason = ""
        except SerbenchError as error:
            reason = store.worded(str(error))
        cell = replace(record.cell, classifier=classifier.name, space=space.name, seed=seed)
        record = replace(record, cell=cell, **own)
        if reason:
            yield replace(record, reason=reason), None
            continue
        recipe = Recipe(
            classifier=classifier.name,
            revision=classifier.revision,
            settings=record.settings,
            features=record.feature_key,
            seed=seed,
            emotions=question.task.emotions,
            versions=classifier.versions,
            **question.axes,
        )
        columns = {f"{AUXILIARY}{name}": known["utterance"].map(of) for name, of in auxiliary.items()}
        table = known.assign(**columns) if columns else known
        yield record, PlannedCell(recipe, table, folds, scaled, question.protocol.sees_target)


def _record(question: Question) -> CellRecord:
    """Record what was asked for and of which state of the corpora, without a classifier."""
    protocol, task, draw, partition = question.protocol, question.task, question.draw, question.partition
    trains_all = protocol.sees_target and not draw
    cell = Cell(
        protocol=protocol.name,
        task=task.title,
        train=joined(question.corpora if trains_all else question.others),
        corpus=joined(question.tested),
        features=question.source.name,
        classifier="",
        space="",
        inner=question.inner,
        preprocessing=WHOLE if question.segment is None else f"segment {question.segment:g} s",
        seed=0,
        options=draw.title if draw else f"partition={partition}" if partition else "",
        map=task.map,
        **question.axes,
    )
    parts = {"folds", f"partition {partition}", f"target {task.target}"}
    parts |= {"shares_speakers_with"} if protocol.is_across else set()
    parts |= {"language"} if protocol.meets == "other languages" or task.target == "language" else set()
    pool = joined(question.others) if protocol.is_pairwise else question.pool if protocol.is_across else ""
    return CellRecord(
        cell=cell,
        inner_title=question.inner,
        emotions=task.emotions,
        task_map=task.spelt,
        target=task.target,
        indexes={data.stored: index_fingerprint(data.index) for data in question.corpora},
        entries={d.stored: {p: of for p, of in entry_parts(d.corpus).items() if p in parts} for d in question.corpora},
        tested=tuple(data.stored for data in question.tested),
        pool=pool,
        partials={data.stored: data.partial for data in question.corpora if data.partial},
        features_argument=getattr(question.source, "argument", question.source.name),
        serbench=__version__,
        feature_key=question.source.key,
        persons={data.stored: data.corpus.person_field for data in question.tested},
    )


def _check_classifier(question: Question, classifier: Classifier) -> None:
    """Refuse what a classifier or a scaling cannot do."""
    check_input(question.source, classifier)
    where, name = joined(question.tested), classifier.name
    if question.scaling == "none" and classifier.needs_scaling:
        raise ProtocolError(where, f"{name} with --scaling none", "--scaling train or speaker")
    if question.draw and question.draw.weight != 1 and not classifier.takes_weights:
        raise ProtocolError(where, f"{name} with --weight {question.draw.weight:g}", "--weight 1")
    if question.draw and question.scaling == "corpus" and question.draw.k < SCALING_NEEDS:
        found = f"--scaling corpus with {question.draw.k} utterances of {where}"
        raise ProtocolError("adapt", found, f"at least {SCALING_NEEDS}", "Use --scaling train, or a larger --k")


def check_input(source: FeatureSet | OwnFeatures, classifier: Classifier) -> None:
    """Check that a classifier takes what the features are, rows or frames; `ProtocolError` where it does not."""
    gives = "rows" if source.hop_s is None else "frames"
    if gives != classifier.input:
        found = f"{classifier.name} takes {classifier.input}, and {source.name} gives {gives}"
        what = "frames of each recording" if classifier.input == "frames" else "one row per recording"
        todo = "`serbench features list` and `serbench classifiers list` tell which go together"
        raise ProtocolError(f"{source.name} with {classifier.name}", found, f"features of {what}", todo)


def _checked_rows(question: Question, rows: pd.DataFrame, folds: Sequence[Fold]) -> pd.DataFrame:
    """Return the rows of a cell, once its folds cut through no recording and train on each emotion."""
    protocol, task, divided = question.protocol, question.task, divisible(rows)
    for data in question.corpora:
        overlaps = overlapping_segments(divided[divided["corpus"] == data.name], person=data.corpus.person_field)
        check_no_overlap(folds, overlaps)
    code = {emotion: i for i, emotion in enumerate(task.emotions)}
    known = divided.assign(label=divided["label"].map(code)).set_index("utterance", drop=False)
    if protocol.holds_out_texts:
        known = known.assign(said=sentences(known))
    if not protocol.may_lose_emotions or task.target in OF_PEOPLE:
        label_of = dict(zip(known["utterance"], known["label"], strict=True))
        trainings = {f.train: f"fold {f.name}" for f in folds}
        trainings |= {v.train: f"fold {f.name}, validation {v.name}" for f in folds for v in f.inner}
        for train, name in trainings.items():
            if absent := set(range(len(code))) - {label_of[u] for u in train.utterances}:
                found = f"{name}: no utterance of {listed(task.emotions[c] for c in sorted(absent))} to train on"
                todo = "Leave these emotions out with --emotions, or use --protocol within"
                where = f"{joined(question.tested)}, --protocol {protocol.name}"
                raise ProtocolError(where, found, "some of each emotion", todo)
    return known


def _made_of(
    question: Question, rows: pd.DataFrame, whole: Sequence[pd.DataFrame], folds: Sequence[Fold]
) -> dict[str, Any]:
    """Return the utterances that are to be predicted, and the state of labels, recordings and folds."""
    tested, n = rows[rows["tested"]], len(question.tested)
    validated = {u for fold in folds for v in fold.inner for u in v.test} - set(tested["utterance"])
    sources = rows[rows["utterance"].isin(validated)].sort_values("utterance")
    state_of = zip(question.corpora, whole, strict=True)
    states = [basis(rows[rows["corpus"] == data.name], of, question.task) for data, of in state_of]
    held_out = [group_keys(of[of["held_out"]]) for of in whole[:n]]
    trained = [[data.name, state] for data, state in zip(question.others, states[n:], strict=True)]
    is_plain = n == 1 and not trained and not any(held_out)
    return {
        "basis": states[0] if is_plain else digest([states[:n], trained, held_out]),
        "utterances": {
            "id": tested["utterance"].tolist(),
            "emotion": tested["emotion"].tolist(),
            "speaker": tested["who"].tolist(),
            "present": tested["present"].tolist(),
        },
        "sources": {"id": sources["utterance"].tolist(), "emotion": sources["emotion"].tolist()},
    }


def scaled_on(
    scaling: str, rows: pd.DataFrame, scaled: Scaled, train: Sequence[str], evaluated: Sequence[str]
) -> dict[str, Mapping[str, str]]:
    """Return the audio that a job fits scalers on beyond its training rows: all of its speakers, or unseen corpora.

    This audio is unlabelled and tested: transductive.
    """
    if scaling not in ("speaker", "corpus"):
        return {}
    unit = rows["who" if scaling == "speaker" else "stored"]
    tested, trained = (set(unit.loc[list(ids)]) for ids in (evaluated, train))
    return {name: scaled[name] for name in sorted(tested | trained if scaling == "speaker" else tested - trained)}


def make_plan(cells: Sequence[PlannedCell]) -> tuple[dict[str, Job], list[dict[str, Any]]]:
    """Merge equal training sets across all cells and name every job; `ProtocolError` where a fold leaks.

    Return distinct jobs by key, and for each cell the fields `folds`, `sets` and `jobs` of its record.
    """
    states: dict[tuple[int, ...], str] = {}  # digests of rows, once for all classifiers
    known_of: dict[int, dict[str, list[Any]]] = {}
    wanted: dict[tuple[str, str, TrainingSet], tuple[PlannedCell, set[str]]] = {}
    places = []
    for cell in cells:
        rows, same = cell.rows, (id(cell.rows), id(cell.folds), id(cell.scaled))
        if same not in states:
            check_no_leak(cell.folds, rows, sees_target=cell.sees_target)
            decisive = [rows[name].tolist() for name in _OF_JOB]
            scaled = {unit: sorted(of.items()) for unit, of in cell.scaled.items()}
            states[same] = digest([decisive, scaled, _auxiliary(rows)])
            columns = rows[["utterance", "audio_hash", "label", "who"]].to_numpy(dtype=object).tolist()
            known_of[id(rows)] = dict(zip(rows["utterance"], columns, strict=True))
        places.append((digest(cell.recipe.json), states[same]))
        for fold in cell.folds:
            for train, test in ((fold.train, fold.test), *((v.train, v.test) for v in fold.inner)):
                wanted.setdefault((*places[-1], train), (cell, set()))[1].update(test)
    trainings: dict[tuple[str, TrainingSet], str] = {}
    jobs = {}
    for (recipe, state, train), (cell, held) in wanted.items():
        known = known_of[id(cell.rows)]
        if (state, train) not in trainings:
            auxiliary = _auxiliary(cell.rows) and _auxiliary(_columns_of(cell.rows, train.utterances))
            trained = [[known[u] for u in train.utterances], train.weights, *([auxiliary] if auxiliary else [])]
            trainings[state, train] = digest(trained)
        jobs[recipe, state, train] = _job(cell, known, train, tuple(sorted(held)), trainings[state, train])
    planned = []
    for cell, place in zip(cells, places, strict=True):
        key_of = {
            train: jobs[*place, train].key for f in cell.folds for train in (f.train, *(v.train for v in f.inner))
        }
        planned.append(_fields(cell.folds, key_of))
    return {job.key: job for job in jobs.values()}, planned


def _fields(folds: Sequence[Fold], key_of: Mapping[TrainingSet, str]) -> dict[str, Any]:
    """Return the fields of a cell's record that say which jobs predict what."""
    sets: dict[str, tuple[str, ...]] = {}
    for name, utterances in [pair for f in folds for pair in [(f.name, f.test), *((v.name, v.test) for v in f.inner)]]:
        if sets.setdefault(name, utterances) != utterances:
            raise ProtocolError("plan", f"two sets of utterances are named '{name}'", "a name for each")
    made = (FoldJobs(f.name, key_of[f.train], tuple((v.name, key_of[v.train]) for v in f.inner)) for f in folds)
    return {"folds": tuple(made), "sets": sets, "jobs": tuple(sorted(set(key_of.values())))}


def _columns_of(rows: pd.DataFrame, utterances: Sequence[str]) -> dict[str, list[Any]]:
    """Return what decides a job of utterances, a list for each column; `loc` of all columns takes ten times as long."""
    at = rows.index.get_indexer(pd.Index(utterances))
    names = [name for name in map(str, rows) if name in _OF_JOB or name.startswith(AUXILIARY)]
    return {name: rows[name].to_numpy()[at].tolist() for name in names}


def _auxiliary(rows: Mapping[str, Sequence[str]] | pd.DataFrame) -> dict[str, list[str]]:
    """Return the labels that a classifier declares beside the emotion, by name."""
    names = sorted(name for name in map(str, rows) if name.startswith(AUXILIARY))
    return {name.removeprefix(AUXILIARY): list(rows[name]) for name in names}


def _job(
    cell: PlannedCell, known: Mapping[str, list[Any]], train: TrainingSet, evaluated: tuple[str, ...], training: str
) -> Job:
    """Name a job by its recipe, what it scales on, its training rows and its evaluated rows."""
    recipe, rows = cell.recipe, cell.rows
    if recipe.scaling == "corpus" and rows["stored"].loc[[*train.utterances, *evaluated]].nunique() == 1:
        recipe = replace(recipe, scaling="train")  # in one corpus alone, scaling per corpus is just that
    scaled = scaled_on(recipe.scaling, rows, cell.scaled, train.utterances, evaluated)
    made = digest({**recipe.json, "normalised": scaled})
    held = [[u, audio_hash, who] for u, audio_hash, _, who in (known[u] for u in evaluated)]
    return Job(digest([made, training, held]), recipe, train, evaluated, rows, scaled)


def check_no_leak(folds: Iterable[Fold], rows: pd.DataFrame, *, sees_target: bool = True) -> None:
    """Check that no person and no audio is on both sides of a test or validation; `ProtocolError` names the fold.

    What trains or validates has no text of the test, where the rows have texts, and no utterance of its corpus, unless
    the protocol sees it.
    """
    columns = {"speakers": "person" if "person" in rows else "who", "recordings": "audio_hash"}
    columns |= {"texts": "said"} if "said" in rows else {}
    columns |= {} if sees_target else {"corpora": "stored"}
    coded = {what: pd.factorize(rows[name], use_na_sentinel=False) for what, name in columns.items()}
    place = {u: i for i, u in enumerate(rows["utterance"])}

    @functools.cache
    def held(what: str, utterances: tuple[str, ...]) -> np.ndarray:
        codes, names = coded[what]
        return np.isin(np.arange(len(names)), codes[[place[u] for u in utterances]])

    def check_apart(name: str, one: tuple[str, ...], other: tuple[str, ...], *, what: Iterable[str] = columns) -> None:
        for kind in what:
            shared = coded[kind][1][held(kind, one) & held(kind, other)]
            if len(shared):
                is_audio = kind == "recordings"  # named by the utterances that have it: nobody knows a fingerprint
                named = rows["utterance"][rows["audio_hash"].isin(shared)] if is_audio else shared
                found = f"{kind} in training and test: {listed(sorted(map(str, named)))}"
                raise ProtocolError(f"plan, {name}", found, "none", "This is a leak; the run is stopped")

    for fold in folds:
        check_apart(fold.name, fold.train.utterances, fold.test)
        for inner in fold.inner:
            name, train = f"{fold.name}, validation {inner.name}", inner.train.utterances
            check_apart(name, train, inner.test, what=("speakers", "recordings"))
            check_apart(f"{name} against its test", train, fold.test)
            check_apart(f"{name} on its test", inner.test, fold.test)


def check_no_overlap(folds: Iterable[Fold], overlaps: Sequence[tuple[str, str]]) -> None:
    """Check that no test utterance shares a stretch of a recording with one outside; `ProtocolError` names them."""
    for fold in folds if overlaps else ():
        test = set(fold.test)
        shared = [f"{one} and {other}" for one, other in overlaps if (one in test) != (other in test)]
        if shared:
            todo = "Group those who talk to each other: `folds: {by: session}`, or cut the segments apart"
            raise ProtocolError(f"plan, {fold.name}", f"overlapping segments apart: {listed(shared)}", "none", todo)
