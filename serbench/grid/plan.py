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

AUXILIARY = "auxiliary "
"""How the columns of labels begin that a classifier declares beside the emotion."""

Scaled = Mapping[str, Mapping[str, str]]
"""Audio that scalers are fitted on beyond training rows, by speaker or corpus: fingerprints by utterance."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
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
        train, held = (self.rows.loc[list(ids)] for ids in (self.train.utterances, self.evaluated))
        auxiliary = _auxiliary(train)
        return {
            **self.recipe.json,
            "normalised": {unit: dict(of) for unit, of in self.scaled.items()},
            "training": {
                "utterances": list(self.train.utterances),
                "labels": train["label"].tolist(),
                "weights": None if self.train.weights is None else list(self.train.weights),
                "speakers": train["who"].tolist(),
                "corpora": train["stored"].tolist(),
                **({"auxiliary": auxiliary} if auxiliary else {}),
            },
            "evaluated": list(self.evaluated),
            "evaluated_speakers": held["who"].tolist(),
            "evaluated_corpora": held["stored"].tolist(),
            "hashes": dict(zip([*train.index, *held.index], [*train["audio_hash"], *held["audio_hash"]], strict=True)),
            "corpora": sorted({*train["stored"], *held["stored"]}),
        }


def plan_cells(
    asked: Question, variants: Iterable[tuple[Classifier, Space, int]], store: Store, *, space_file: str = ""
) -> Iterator[tuple[CellRecord, Request | None]]:
    """Lay out the cells of a question, one for each classifier with its space and seed, all but their jobs.

    There is no request where a cell cannot be carried out: it is refused, with the reason.
    """
    first = divided = _record(asked)
    folds: tuple[Fold, ...] = ()
    fault = None
    try:
        rows, whole, shared = utterances_of(asked)
        rule, auto = (asked.protocol.rule(inner, divisible(rows)) for inner in (asked.inner, "auto"))
        title = "auto" if rule.name == auto.name else rule.name
        divided = replace(first, cell=replace(first.cell, inner=rule.name), inner_title=title, no_nested=rule.reason)
        check_emotions(asked, rows)
        scaled = scaled_alone(asked, rows)
        folds = tuple(asked.protocol.folds(divisible(rows), rule, asked.draw))
        known = _checked_rows(asked, rows, folds)
        made = _made_of(asked, rows, whole, folds)
        notes = tuple(note for note in notes_of(asked, rows, shared, folds) if note)
        is_scaled = any(scaled_on(asked.scaling, known, scaled, f.train.utterances, f.test) for f in folds)
        made |= {"notes": notes, "transductive": is_scaled, "missing": missing_features(asked, rows, store)}
    except SerbenchError as error:
        fault = error
    for classifier, space, seed in variants:
        own: dict[str, Any] = {
            "space_file": space_file,
            "versions": {**asked.source.versions, **classifier.versions},
            "revision": classifier.revision,
            "settings": tuple(dict(setting) for setting in space.settings),
            "default": space.default,
        }
        record = first
        try:
            _check_classifier(asked, classifier)
            record = divided
            if fault is not None:
                raise fault
            auxiliary = auxiliary_labels(asked.corpora, known, classifier)
            record = replace(record, **made)
            reason = ""
        except SerbenchError as error:
            reason = store.worded(str(error))
        cell = replace(record.cell, classifier=classifier.name, space=space.name, seed=seed)
        record = replace(record, cell=cell, **own)
        if reason:
            yield replace(record, state="refused", reason=reason), None
            continue
        recipe = Recipe(
            classifier=classifier.name,
            revision=classifier.revision,
            settings=record.settings,
            features=record.feature_key,
            seed=seed,
            emotions=asked.task.emotions,
            versions=classifier.versions,
            **asked.axes,
        )
        columns = {f"{AUXILIARY}{name}": known["utterance"].map(of) for name, of in auxiliary.items()}
        table = known.assign(**columns) if columns else known
        yield record, Request(recipe, table, folds, scaled, asked.protocol.sees_target)


def _record(asked: Question) -> CellRecord:
    """Record what was asked for and of which state of the corpora, without a classifier."""
    protocol, task = asked.protocol, asked.task
    trains_all = protocol.sees_target and not asked.draw
    cell = Cell(
        protocol=protocol.name,
        task=task.title,
        train=joined(asked.corpora if trains_all else asked.others),
        corpus=joined(asked.tested),
        features=asked.source.name,
        classifier="",
        space="",
        inner=asked.inner,
        preprocessing=WHOLE if asked.segment is None else f"segment {asked.segment:g} s",
        seed=0,
        options=asked.draw.title if asked.draw else f"partition={asked.partition}" if asked.partition else "",
        map=task.map,
        **asked.axes,
    )
    parts = {"folds", f"partition {asked.partition}", f"target {task.target}"}
    parts |= {"shares_speakers_with"} if protocol.is_across else set()
    parts |= {"language"} if protocol.meets == "other languages" or task.target == "language" else set()
    pool = joined(asked.others) if protocol.is_pairwise else asked.pool if protocol.is_across else ""
    return CellRecord(
        cell=cell,
        inner_title=asked.inner,
        emotions=task.emotions,
        task_map=task.spelt,
        target=task.target,
        indexes={data.stored: index_fingerprint(data.index) for data in asked.corpora},
        entries={d.stored: {p: of for p, of in entry_parts(d.corpus).items() if p in parts} for d in asked.corpora},
        tested=tuple(data.stored for data in asked.tested),
        pool=pool,
        partials={data.stored: data.partial for data in asked.corpora if data.partial},
        features_argument=getattr(asked.source, "argument", asked.source.name),
        serbench=__version__,
        feature_key=asked.source.key,
        persons={data.stored: data.corpus.person for data in asked.tested},
    )


def _check_classifier(asked: Question, classifier: Classifier) -> None:
    """Refuse what a classifier or a scaling cannot do."""
    check_input(asked.source, classifier)
    where, name = joined(asked.tested), classifier.name
    if asked.scaling == "none" and classifier.needs_scaling:
        raise ProtocolError(where, f"{name} with --scaling none", "--scaling train or speaker")
    if asked.draw and asked.draw.weight != 1 and not classifier.takes_weights:
        raise ProtocolError(where, f"{name} with --weight {asked.draw.weight:g}", "--weight 1")
    if asked.draw and asked.scaling == "corpus" and asked.draw.k < SCALING_NEEDS:
        found = f"--scaling corpus with {asked.draw.k} utterances of {where}"
        raise ProtocolError("adapt", found, f"at least {SCALING_NEEDS}", "Use --scaling train, or a larger --k")


def check_input(source: FeatureSet | OwnFeatures, classifier: Classifier) -> None:
    """Check that a classifier takes what the features are, rows or frames; `ProtocolError` where it does not."""
    gives = "rows" if source.hop_s is None else "frames"
    if gives != classifier.input:
        found = f"{classifier.name} takes {classifier.input}, and {source.name} gives {gives}"
        what = "frames of each recording" if classifier.input == "frames" else "one row per recording"
        todo = "`serbench features list` and `serbench classifiers list` tell which go together"
        raise ProtocolError(f"{source.name} with {classifier.name}", found, f"features of {what}", todo)


def _checked_rows(asked: Question, rows: pd.DataFrame, folds: Sequence[Fold]) -> pd.DataFrame:
    """Return the rows of a request, once its folds cut through no recording and train on each emotion."""
    protocol, task, divided = asked.protocol, asked.task, divisible(rows)
    for data in asked.corpora:
        overlaps = overlapping_segments(divided[divided["corpus"] == data.name], person=data.corpus.person)
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
                where = f"{joined(asked.tested)}, --protocol {protocol.name}"
                raise ProtocolError(where, found, "some of each emotion", todo)
    return known


def _made_of(
    asked: Question, rows: pd.DataFrame, whole: Sequence[pd.DataFrame], folds: Sequence[Fold]
) -> dict[str, Any]:
    """Return the utterances that are to be predicted, and the state of labels, recordings and folds."""
    tested, n = rows[rows["tested"]], len(asked.tested)
    genders = tested["gender"] if "gender" in tested else [None] * len(tested)
    validated = {u for fold in folds for v in fold.inner for u in v.test} - set(tested["utterance"])
    sources = rows[rows["utterance"].isin(validated)].sort_values("utterance")
    states = [basis(rows[rows["corpus"] == d.name], of, asked.task) for d, of in zip(asked.corpora, whole, strict=True)]
    held_out = [group_keys(of[of["held_out"]]) for of in whole[:n]]
    trained = [[data.name, state] for data, state in zip(asked.others, states[n:], strict=True)]
    is_plain = n == 1 and not trained and not any(held_out)
    return {
        "basis": states[0] if is_plain else digest([states[:n], trained, held_out]),
        "utterances": {
            "id": tested["utterance"].tolist(),
            "emotion": tested["emotion"].tolist(),
            "speaker": tested["who"].tolist(),
            "gender": [known if isinstance(known, str) else None for known in genders],
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


def make_plan(requests: Sequence[Request]) -> tuple[dict[str, Job], list[dict[str, Any]]]:
    """Merge equal training sets across all requests and name every job.

    Returns
    -------
    Distinct jobs by key, and for each request the fields `folds`, `sets` and `jobs` of its cell's record.

    Raises
    ------
    ProtocolError : a fold leaks.
    """
    states: dict[tuple[int, ...], str] = {}  # digests of rows, once for all classifiers
    known_of: dict[int, dict[str, list[Any]]] = {}
    wanted: dict[tuple[str, str, TrainingSet], tuple[Request, set[str]]] = {}
    places = []
    for request in requests:
        rows, same = request.rows, (id(request.rows), id(request.folds), id(request.scaled))
        if same not in states:
            check_no_leak(request.folds, rows, sees_target=request.sees_target)
            decisive = [rows[name].tolist() for name in ("utterance", "audio_hash", "label", "who", "stored")]
            scaled = {unit: sorted(of.items()) for unit, of in request.scaled.items()}
            states[same] = digest([decisive, scaled, _auxiliary(rows)])
            columns = rows[["utterance", "audio_hash", "label", "who"]].to_numpy(dtype=object).tolist()
            known_of[id(rows)] = dict(zip(rows["utterance"], columns, strict=True))
        places.append((digest(request.recipe.json), states[same]))
        for fold in request.folds:
            for train, test in ((fold.train, fold.test), *((v.train, v.test) for v in fold.inner)):
                wanted.setdefault((*places[-1], train), (request, set()))[1].update(test)
    trainings: dict[tuple[str, TrainingSet], str] = {}
    jobs = {}
    for (recipe, state, train), (request, held) in wanted.items():
        known = known_of[id(request.rows)]
        if (state, train) not in trainings:
            auxiliary = _auxiliary(request.rows) and _auxiliary(request.rows.loc[list(train.utterances)])
            trained = [[known[u] for u in train.utterances], train.weights, *([auxiliary] if auxiliary else [])]
            trainings[state, train] = digest(trained)
        jobs[recipe, state, train] = _job(request, known, train, tuple(sorted(held)), trainings[state, train])
    planned = []
    for request, place in zip(requests, places, strict=True):
        key_of = {
            train: jobs[*place, train].key for f in request.folds for train in (f.train, *(v.train for v in f.inner))
        }
        planned.append(_fields(request.folds, key_of))
    return {job.key: job for job in jobs.values()}, planned


def _fields(folds: Sequence[Fold], key_of: Mapping[TrainingSet, str]) -> dict[str, Any]:
    """Return the fields of a cell's record that say which jobs predict what."""
    sets: dict[str, tuple[str, ...]] = {}
    for name, utterances in [pair for f in folds for pair in [(f.name, f.test), *((v.name, v.test) for v in f.inner)]]:
        if sets.setdefault(name, utterances) != utterances:
            raise ProtocolError("plan", f"two sets of utterances are named '{name}'", "a name for each")
    made = (FoldJobs(f.name, key_of[f.train], tuple((v.name, key_of[v.train]) for v in f.inner)) for f in folds)
    return {"folds": tuple(made), "sets": sets, "jobs": tuple(sorted(set(key_of.values())))}


def _auxiliary(rows: pd.DataFrame) -> dict[str, list[str]]:
    """Return the labels that a classifier declares beside the emotion, by name."""
    names = sorted(name for name in map(str, rows) if name.startswith(AUXILIARY))
    return {name.removeprefix(AUXILIARY): rows[name].tolist() for name in names}


def _job(
    request: Request, known: Mapping[str, list[Any]], train: TrainingSet, evaluated: tuple[str, ...], training: str
) -> Job:
    """Name a job by its recipe, what it scales on, its training rows and its evaluated rows."""
    recipe, rows = request.recipe, request.rows
    if recipe.scaling == "corpus" and rows["stored"].loc[[*train.utterances, *evaluated]].nunique() == 1:
        recipe = replace(recipe, scaling="train")  # in one corpus alone, scaling per corpus is just that
    scaled = scaled_on(recipe.scaling, rows, request.scaled, train.utterances, evaluated)
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
