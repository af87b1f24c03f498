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

from serbench.classifiers import Classifier
from serbench.classifiers.spaces import Space
from serbench.corpora.check import confounded
from serbench.corpora.schema import Corpus
from serbench.corpora.tasks import EmotionTask
from serbench.errors import ProtocolError, listed
from serbench.keys import digest, package_versions
from serbench.plan import PlannedEvaluation, Recipe, Request, Rows
from serbench.protocols import InnerRule, find_protocol, inner_rule, restrict, test_groups
from serbench.store import Store, read_frame, stored_rows

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
    """A corpus as the grid meets it: its entry, its index, and what its copy lacks."""

    corpus: Corpus
    index: pd.DataFrame
    partial: str


@dataclass(frozen=True, slots=True)
class FeatureSource:
    """Features as the grid meets them: name, folder in the store, number, and what `--features` calls them."""

    name: str
    key: str
    n_features: int
    versions: Mapping[str, str]
    argument: str


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
    """What is asked of every cell."""

    task: EmotionTask
    protocol: str = "within"
    scaling: str = "train"
    inner: str = "auto"
    seeds: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class PlannedCell:
    """A cell with its record, complete but for the jobs; `request` is None where `refused` says why."""

    cell: Cell
    record: Mapping[str, Any]
    request: Request | None
    refused: str


def task_index(data: CorpusData, task: EmotionTask) -> pd.DataFrame:
    """Return the utterances of a task that take part: labelled, decoded, no copy of another speaker's recording."""
    selected = task.select(data.index)
    return selected[selected["problem"].isna()].sort_values("utterance", ignore_index=True)


def plan_cell(choice: Choice, options: GridOptions, store: Store) -> PlannedCell:
    """Lay out one cell; what cannot be carried out is recorded as refused."""
    data = choice.data
    groups = test_groups(data.index, data.corpus)
    selected = task_index(data, options.task)
    taking_part = set(selected["utterance"])
    rule = inner_rule(options.inner, sum(any(u in taking_part for u in g.utterances) for g in groups))
    cell = Cell(
        protocol=options.protocol,
        task=options.task.title,
        train=data.corpus.name,
        corpus=data.corpus.name,
        features=choice.source.name,
        classifier=choice.classifier.name,
        space=choice.space.name,
        scaling=options.scaling,
        inner=rule.name,
        preprocessing="none",
        seed=choice.seed,
    )
    try:
        return _filled_cell(cell, choice, selected, rule, options, store)
    except ProtocolError as error:
        record = {"cell": dataclasses.asdict(cell), "refused": str(error), "requested_inner": options.inner}
        return PlannedCell(cell, record, None, str(error))


def _filled_cell(
    cell: Cell, choice: Choice, selected: pd.DataFrame, rule: InnerRule, options: GridOptions, store: Store
) -> PlannedCell:
    data, source, classifier, space = choice.data, choice.source, choice.classifier, choice.space
    _check_emotions(data, selected, options.task)
    if options.scaling == "none" and classifier.needs_scaling:
        raise ProtocolError(cell.name, f"{classifier.name} with --scaling none", "--scaling train or speaker")
    stored = stored_rows(store.features(source.key, data.corpus.name))
    here = [place in stored for place in zip(selected["utterance"], selected["audio_hash"], strict=True)]
    present = selected[here]
    groups = restrict(test_groups(data.index, data.corpus), set(present["utterance"]))
    evaluations = tuple(find_protocol(options.protocol).evaluations(groups, rule))
    emotions = options.task.emotions
    code = {emotion: i for i, emotion in enumerate(emotions)}
    rows = Rows(
        labels={u: code[e] for u, e in zip(present["utterance"], present["emotion"], strict=True)},
        people=dict(zip(present["utterance"], present[data.corpus.person], strict=True)),
        hashes=dict(zip(present["utterance"], present["audio_hash"], strict=True)),
        corpora=dict.fromkeys(present["utterance"], data.corpus.name),
    )
    normalised = _normalised(data, present, stored) if options.scaling == "speaker" else {}
    recipe = Recipe(
        classifier=classifier.name,
        revision=classifier.revision,
        settings=space.settings,
        features=source.key,
        scaling=options.scaling,
        seed=cell.seed,
        emotions=emotions,
        versions=classifier.versions,
        normalised=normalised,
    )
    record = {
        "cell": dataclasses.asdict(cell),
        "refused": "",
        "requested_inner": options.inner,
        "no_nested": rule.reason,
        "partial": data.partial,
        "notes": [note for note in (confounded(selected, data.corpus.person),) if note],
        "emotions": list(emotions),
        "settings": [dict(setting) for setting in space.settings],
        "default": space.default,
        "feature_key": source.key,
        "features_argument": source.argument,
        "versions": {**source.versions, **classifier.versions, **package_versions(["serbench"])},
        "utterances": _columns(selected, here, data.corpus.person),
        "missing": _missing(selected[[not h for h in here]], source, data, store),
    }
    return PlannedCell(cell, record, Request(recipe, rows, evaluations), "")


def _check_emotions(data: CorpusData, selected: pd.DataFrame, task: EmotionTask) -> None:
    lacking = sorted(set(task.emotions) - set(selected["emotion"]))
    if lacking:
        there = ",".join(sorted(set(selected["emotion"]))) or "none"
        todo = f"Use --emotions {there}" if there != "none" else ""
        raise ProtocolError(data.corpus.name, f"no utterances of {listed(lacking)}", f"all of {task.title}", todo)


def _normalised(data: CorpusData, present: pd.DataFrame, stored: set[tuple[str, str]]) -> dict[str, dict[str, str]]:
    """All extracted utterances of each speaker, dropped emotions too; refused where a speaker cannot bear it."""
    person = data.corpus.person
    decoded = data.index[data.index["audio_hash"].notna()]
    normalised: dict[str, dict[str, str]] = {}
    for speaker, rows in decoded.groupby(person, sort=True):
        if speaker in set(present[person]):
            places = zip(rows["utterance"], rows["audio_hash"], strict=True)
            normalised[str(speaker)] = {u: h for u, h in places if (u, h) in stored}
    emotions = data.index.groupby(person)["raw_label"].nunique()
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
    path = store.failures(source.key, data.corpus.name)
    known = read_frame(path) if path.is_file() else pd.DataFrame({"utterance": [], "reason": []})
    reasons = dict(zip(known["utterance"], known["reason"], strict=True))
    return {u: reasons.get(u, "not extracted") for u in absent["utterance"]}


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
