"""Cells: what each combination of the grid trains and tests, written down before anything is fitted.

A cell is one combination of protocol, task, corpus, feature set, classifier, space, scaling, inner rule, preprocessing
and seed. Its record holds its utterances with their truth, its test groups, and (once planned) the jobs that predict
them; a cell that cannot be carried out keeps the reason instead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from serbench import __version__
from serbench.classifiers import Classifier
from serbench.classifiers.spaces import Space
from serbench.corpora.check import confounded
from serbench.corpora.duplicates import overlapping_segments
from serbench.corpora.fingerprint import index_fingerprint
from serbench.corpora.schema import Corpus
from serbench.corpora.segments import name_in_store, segment_title
from serbench.corpora.tasks import EmotionTask
from serbench.corpora.texts import sentences
from serbench.errors import ProtocolError, SerbenchError, UnknownNameError, listed
from serbench.keys import digest
from serbench.plan import PlannedEvaluation, Recipe, Request, Rows, check_no_overlap
from serbench.protocols import Evaluation, Group, InnerRule, find_protocol, inner_rule, restrict
from serbench.sealed import read_frame
from serbench.store import Store, stored_rows

SCALINGS = ("train", "speaker", "none")
SPEAKER_SCALING_NEEDS = 10
"""Utterances of a speaker below which per-speaker scaling is refused."""


@dataclass(frozen=True, slots=True)
class Cell:
    """The fields that tell one cell from another; all are columns of the scores."""

    protocol: str
    task: str
    train: str
    corpus: str
    features: str
    classifier: str
    space: str
    scaling: str
    inner: str
    preprocessing: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its record in the store."""
        key = digest(dataclasses.asdict(self))[:10]
        return f"{self.protocol}-{self.corpus}-{self.features}-{self.classifier}-{key}"


@dataclass(frozen=True, slots=True)
class CorpusData:
    """A corpus as the grid meets it: its entry, its index, what its copy lacks, what else tables must tell of it."""

    corpus: Corpus
    index: pd.DataFrame
    partial: str
    note: str = ""

    @property
    def stored(self) -> str:
        """Its name in the store: another than its own where its utterances were cut into pieces."""
        return name_in_store(self.index)


@dataclass(frozen=True, slots=True)
class FeatureSource:
    """Features as the grid meets them: name, folder in the store, number, and what `--features` calls them.

    `is_assumed` plans as if they had all been extracted.
    """

    name: str
    key: str
    n_features: int
    versions: Mapping[str, str]
    argument: str
    is_assumed: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """One combination of the grid."""

    data: CorpusData
    source: FeatureSource
    classifier: Classifier
    space: Space
    seed: int


@dataclass(frozen=True, slots=True)
class GridOptions:
    """What is asked of every cell; `space_file` is what `--space` was called, `segment` the seconds of pieces."""

    task: EmotionTask
    protocol: str = "within"
    scaling: str = "train"
    inner: str = "auto"
    seeds: tuple[int, ...] = (0,)
    space_file: str = ""
    segment: float | None = None


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell with its record, complete but for the jobs; `request` is None where `refused` says why."""

    cell: Cell
    record: Mapping[str, Any]
    request: Request | None
    refused: str


def check_scaling(scaling: str) -> None:
    """Check the name of a scaling; `UnknownNameError` suggests the nearest."""
    if scaling not in SCALINGS:
        raise UnknownNameError("scaling", scaling, SCALINGS)


def task_index(data: CorpusData, task: EmotionTask) -> pd.DataFrame:
    """Return the labelled utterances of a task, but for copies of another speaker's recordings."""
    selected = task.select(data.index)
    return selected[selected["duplicate"].isna()].sort_values("utterance", ignore_index=True)


def plan_cell(choice: Choice, options: GridOptions, store: Store) -> PlannedCell:
    """Lay out one cell; what cannot be carried out is recorded as refused."""
    cell, protocol = _cell(choice, options, inner=options.inner), find_protocol(options.protocol)
    record = {
        "cell": dataclasses.asdict(cell),
        "inner_title": options.inner,
        "refused": "",
        "task_emotions": list(options.task.emotions),
        "index": index_fingerprint(choice.data.index, with_texts=protocol.holds_out_texts),
        "partial": choice.data.partial,
        "features_argument": choice.source.argument,
        "space_file": options.space_file,
        **({} if choice.data.stored == choice.data.corpus.name else {"stored": choice.data.stored}),
        **_made_by(choice),
    }
    try:
        groups = protocol.groups(choice.data.index, choice.data.corpus)
        rows = _select(choice, options, store)
        n_groups = len([g for g in restrict(groups, set(rows.present["utterance"])) if g.utterances])
        rule = inner_rule(options.inner, n_groups)
        cell = _cell(choice, options, inner=rule.name)
        is_auto = rule.name == inner_rule("auto", n_groups).name
        record |= {"cell": dataclasses.asdict(cell), "inner_title": "auto" if is_auto else rule.name}
        filled, request = _fill(choice, options, store, rows=rows, groups=groups, rule=rule)
    except SerbenchError as error:
        return PlannedCell(cell, {**record, "refused": str(error)}, None, str(error))
    return PlannedCell(cell, {**record, **filled}, request, "")


@dataclass(frozen=True, slots=True)
class _Selected:
    """Utterances of a task, which of them have features (`here`), and all extracted ones with their fingerprints."""

    selected: pd.DataFrame
    here: list[bool]
    extracted: set[tuple[str, str]]

    @property
    def present(self) -> pd.DataFrame:
        return self.selected[self.here]


def _select(choice: Choice, options: GridOptions, store: Store) -> _Selected:
    selected = task_index(choice.data, options.task)
    extracted = _extracted(choice.data, choice.source, store)
    here = [place in extracted for place in zip(selected["utterance"], selected["audio_hash"], strict=True)]
    return _Selected(selected, here, extracted)


def _cell(choice: Choice, options: GridOptions, *, inner: str) -> Cell:
    return Cell(
        protocol=options.protocol,
        task=options.task.title,
        train=choice.data.corpus.name,
        corpus=choice.data.corpus.name,
        features=choice.source.name,
        classifier=choice.classifier.name,
        space=choice.space.name,
        scaling=options.scaling,
        inner=inner,
        preprocessing=segment_title(options.segment),
        seed=choice.seed,
    )


def _made_by(choice: Choice) -> dict[str, Any]:
    """Say what makes a cell's predictions, beside its rows: releases, features, classifier and settings."""
    return {
        "serbench": __version__,
        "versions": {**choice.source.versions, **choice.classifier.versions},
        "feature_key": choice.source.key,
        "revision": choice.classifier.revision,
        "settings": [dict(setting) for setting in choice.space.settings],
        "default": choice.space.default,
    }


def _fill(
    choice: Choice,
    options: GridOptions,
    store: Store,
    *,
    rows: _Selected,
    groups: Sequence[Group],
    rule: InnerRule,
) -> tuple[dict[str, Any], Request]:
    """Work out what a cell trains and tests: the rest of its record, and the request to the plan."""
    data, source = choice.data, choice.source
    if options.scaling == "none" and choice.classifier.needs_scaling:
        raise ProtocolError(
            data.corpus.name, f"{choice.classifier.name} with --scaling none", "--scaling train or speaker"
        )
    present, protocol = rows.present, find_protocol(options.protocol)
    _check_emotions(data, rows.selected, present, source, options.task)
    filled = restrict(groups, set(present["utterance"]))
    evaluations = protocol.evaluations(filled, rule)
    normalised = _normalised(data, present, rows.extracted) if options.scaling == "speaker" else {}
    known = _known(present, data, options.task.emotions, with_texts=protocol.holds_out_texts)
    for evaluation in evaluations:
        check_no_overlap(evaluation, known)
    notes = [data.note, confounded(rows.selected, data.corpus.person)]
    if protocol.holds_out_texts:
        _check_trained_emotions(evaluations, known, data, options.task)
        notes += _text_notes(evaluations, filled, options.scaling)
    request = Request(_recipe(choice, options, normalised), known, tuple(evaluations))
    record = {
        "basis": basis(rows.selected, groups, options.task),
        "no_nested": rule.reason,
        "notes": [note for note in notes if note],
        "person": data.corpus.person,
        "utterances": _columns(rows.selected, rows.here, data.corpus.person),
        "missing": _missing(rows.selected[[not here for here in rows.here]], source, data, store),
    }
    return record, request


def _extracted(data: CorpusData, source: FeatureSource, store: Store) -> set[tuple[str, str]]:
    """Utterances with features, each with the fingerprint of its audio."""
    if source.is_assumed:
        decoded = data.index[data.index["audio_hash"].notna()]
        return set(zip(decoded["utterance"], decoded["audio_hash"], strict=True))
    return stored_rows(store.features(source.key, data.stored))


def _known(present: pd.DataFrame, data: CorpusData, emotions: Sequence[str], *, with_texts: bool) -> Rows:
    code = {emotion: i for i, emotion in enumerate(emotions)}
    ids = present["utterance"]
    return Rows(
        labels={u: code[e] for u, e in zip(ids, present["emotion"], strict=True)},
        people=dict(zip(ids, present[data.corpus.person], strict=True)),
        hashes=dict(zip(ids, present["audio_hash"], strict=True)),
        corpora=dict.fromkeys(ids, data.stored),
        overlaps=overlapping_segments(present, person=data.corpus.person),
        texts=dict(zip(ids, sentences(present), strict=True)) if with_texts else {},
    )


def _recipe(choice: Choice, options: GridOptions, normalised: Mapping[str, Mapping[str, str]]) -> Recipe:
    return Recipe(
        classifier=choice.classifier.name,
        revision=choice.classifier.revision,
        settings=choice.space.settings,
        features=choice.source.key,
        scaling=options.scaling,
        seed=choice.seed,
        emotions=options.task.emotions,
        versions=choice.classifier.versions,
        normalised=normalised,
    )


def basis(selected: pd.DataFrame, groups: Sequence[Group], task: EmotionTask) -> str:
    """Tell apart states of a corpus under one name: its labels, audio and test groups, and what the task merges.

    Parameters
    ----------
    selected : the utterances of the task.
    groups : the test groups of the whole corpus.
    """
    truth = zip(selected["utterance"], selected["emotion"], selected["audio_hash"].fillna(""), strict=True)
    return digest([list(map(list, truth)), [_members(group) for group in groups], task.merges])


def _members(group: Group) -> list[Any]:
    """Name and utterances of a test group, and their texts where these are held out too."""
    return [group.name, list(group.utterances), *([sorted(group.texts.items())] if group.texts else [])]


def check_has_emotions(corpus: str, selected: pd.DataFrame, task: EmotionTask) -> None:
    """Check that a corpus has each emotion of a task; `ProtocolError` says which it has."""
    lacking = sorted(set(task.emotions) - set(selected["emotion"]))
    if lacking:
        there = ",".join(sorted(set(selected["emotion"])))
        todo = f"Use --emotions {there}" if "," in there else ""
        raise ProtocolError(corpus, f"no utterances of {listed(lacking)}", f"all of {task.title}", todo)


def _check_emotions(
    data: CorpusData, selected: pd.DataFrame, present: pd.DataFrame, source: FeatureSource, task: EmotionTask
) -> None:
    check_has_emotions(data.corpus.name, selected, task)
    bare = sorted(set(task.emotions) - set(present["emotion"]))
    if bare:
        found = f"{source.name} has no features of {listed(bare)} ({len(present)} of {len(selected)} utterances)"
        raise ProtocolError(data.corpus.name, found, "features of every emotion", "See the failures table")


def _check_trained_emotions(evaluations: Sequence[Evaluation], rows: Rows, data: CorpusData, task: EmotionTask) -> None:
    """Check that the texts held out take no emotion out of what a model is trained on, those that validate included."""
    folds = [(e.train, f"fold {e.name}") for e in evaluations]
    validations = [(v.train, f"fold {e.name}, validation {v.name}") for e in evaluations for v in e.inner]
    for train, name in {**dict(folds), **dict(validations)}.items():
        lacking = set(range(len(task.emotions))) - {rows.labels[u] for u in train.utterances}
        if lacking:
            found = f"{name}: no utterance of {listed(task.emotions[c] for c in sorted(lacking))} to train on"
            todo = "Leave these emotions out with --emotions, or use --protocol within"
            raise ProtocolError(f"{data.corpus.name}, --text-independent", found, "some of each emotion", todo)


def _text_notes(evaluations: Sequence[Evaluation], groups: Sequence[Group], scaling: str) -> list[str]:
    """Word what a fold is where texts are held out, how much that leaves to train on, and what scaling has heard."""
    group_of = {u: group for group in groups for u in group.utterances}
    others = [len(group_of) - len(group_of[e.test[0]].utterances) for e in evaluations]
    left = sum(len(e.train.utterances) for e in evaluations) / sum(others)
    n_speakers, n_texts = len([g for g in groups if g.utterances]), len({g.texts[u] for u, g in group_of.items()})
    fold = f"{n_speakers} groups of speakers x {n_texts} of texts"
    notes = [f"{fold}, which leaves {left:.0%} of the other speakers' utterances to train on"]
    return notes + (
        ["speakers are scaled on their utterances of the texts held out too"] if scaling == "speaker" else []
    )


def _normalised(data: CorpusData, present: pd.DataFrame, extracted: set[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """All extracted utterances of each speaker, dropped emotions too; refused where a speaker cannot bear it."""
    person = data.corpus.person
    decoded = data.index[data.index["audio_hash"].notna()]
    normalised: dict[str, dict[str, str]] = {}
    for speaker, rows in decoded.groupby(person, sort=True):
        if speaker in set(present[person]):
            places = zip(rows["utterance"], rows["audio_hash"], strict=True)
            normalised[str(speaker)] = {u: h for u, h in places if (u, h) in extracted}
    emotions = data.index.groupby(person)["emotion"].nunique()
    few = [f"{s} ({len(h)} utterances)" for s, h in normalised.items() if len(h) < SPEAKER_SCALING_NEEDS]
    single = [f"{s} (one emotion)" for s in normalised if emotions[s] < 2]
    if few or single:
        need = f"at least {SPEAKER_SCALING_NEEDS} utterances and two emotions per {person}"
        raise ProtocolError(f"{data.corpus.name}, --scaling speaker", listed(few + single), need, "Use --scaling train")
    return normalised


def _columns(selected: pd.DataFrame, here: Sequence[bool], person: str) -> dict[str, list[Any]]:
    gender = selected["gender"] if "gender" in selected else pd.Series([None] * len(selected))
    return {
        "id": selected["utterance"].tolist(),
        "emotion": selected["emotion"].tolist(),
        "speaker": selected[person].tolist(),
        "gender": [None if pd.isna(g) else g for g in gender],
        "present": [bool(h) for h in here],
    }


def _missing(absent: pd.DataFrame, source: FeatureSource, data: CorpusData, store: Store) -> dict[str, str]:
    path = store.failures(source.key, data.stored)
    known = read_frame(path) if path.is_file() else pd.DataFrame({"utterance": [], "reason": []})
    reasons = dict(zip(known["utterance"], known["reason"], strict=True))
    return {u: reasons.get(u, "no features") for u in absent["utterance"]}


def with_evaluations(record: Mapping[str, Any], planned: Sequence[PlannedEvaluation]) -> dict[str, Any]:
    """Complete a cell's record with its test groups and the jobs that predict them."""
    evaluations = [
        {
            "name": p.evaluation.name,
            "job": p.job,
            "inner": [{"name": v.name, "job": job} for v, job in zip(p.evaluation.inner, p.inner, strict=True)],
        }
        for p in planned
    ]
    sets = {p.evaluation.name: list(p.evaluation.test) for p in planned}
    for p in planned:
        sets.update({v.name: list(v.test) for v in p.evaluation.inner})
    jobs = sorted({key for p in planned for key in (p.job, *p.inner)})
    return {**record, "jobs": jobs, "evaluations": evaluations, "sets": sets}
