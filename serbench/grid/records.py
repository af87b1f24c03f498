"""What a cell's record holds: its utterances with their truth, which state of its corpora it is of, its test groups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from serbench.corpora.tasks import EmotionTask
from serbench.errors import ProtocolError
from serbench.grid.cells import CellRecord, FoldJobs
from serbench.grid.members import (
    FeatureSource,
    Member,
    missing_features,
)
from serbench.grid.plan import PlannedEvaluation
from serbench.protocols import Evaluation, Group
from serbench.store.keys import digest
from serbench.store.results import Store


def truth_of(tested: Sequence[Member]) -> dict[str, list[Any]]:
    """Utterances of the task that a cell is asked to predict, with their truth, and whether they have features."""
    trained = _only_trained(tested)
    frames = [_columns(m, trained) for m in tested]
    return {name: [value for frame in frames for value in frame[name]] for name in frames[0]}


def _only_trained(tested: Sequence[Member]) -> set[str]:
    """Utterances that a partition trains on; where there is none, every group is tested in turn."""
    return {u for m in tested if m.held_out for group in m.groups for u in group.utterances}


def _columns(member: Member, left_out: set[str]) -> dict[str, list[Any]]:
    rows = member.selected.assign(speaker=member.people(member.selected), present=list(member.here))
    rows = rows[~rows["utterance"].isin(left_out)]
    gender = rows["gender"] if "gender" in rows else pd.Series([None] * len(rows))
    return {
        "id": rows["utterance"].tolist(),
        "emotion": rows["emotion"].tolist(),
        "speaker": rows["speaker"].tolist(),
        "gender": [None if pd.isna(g) else g for g in gender],
        "present": [bool(h) for h in rows["present"]],
    }


def sources_of(
    tested: Iterable[str], members: Sequence[Member], evaluations: Sequence[Evaluation]
) -> dict[str, list[str]]:
    """Utterances that choose settings but are not tested, with their truth."""
    validated = {u for e in evaluations for v in e.inner for u in v.test} - set(tested)
    label = {u: e for m in members for u, e in zip(m.present["utterance"], m.present["emotion"], strict=True)}
    return {"id": sorted(validated), "emotion": [label[u] for u in sorted(validated)]}


def missing_of(tested: Sequence[Member], asked: set[str], source: FeatureSource, store: Store) -> dict[str, str]:
    """Utterances that a cell is asked to predict and that have no features, with the reason."""
    reasons = {u: why for member in tested for u, why in missing_features(member, source, store).items()}
    return {u: why for u, why in reasons.items() if u in asked}


def basis_of(tested: Sequence[Member], others: Sequence[Member], task: EmotionTask) -> str:
    """Tell apart states of all corpora of a cell; of one alone that is every group's, it is `basis`."""
    own = [basis(m.selected, (*m.groups, *m.held_out), task) for m in tested]
    if len(tested) == 1 and not others and not tested[0].held_out:
        return own[0]
    trained = [[m.name, basis(m.selected, m.groups, task)] for m in others]
    return digest([own, trained, [[_group_key(group) for group in member.held_out] for member in tested]])


def basis(selected: pd.DataFrame, groups: Sequence[Group], task: EmotionTask) -> str:
    """Tell apart states of a corpus under one name: its labels, audio and test groups, and what the task merges.

    Parameters
    ----------
    selected : the utterances of the task.
    groups : the test groups of the whole corpus.
    """
    truth = zip(selected["utterance"], selected["emotion"], selected["audio_hash"].fillna(""), strict=True)
    return digest([list(map(list, truth)), [_group_key(group) for group in groups], task.merges])


def _group_key(group: Group) -> list[Any]:
    """Name and utterances of a test group, and their texts where these are held out too."""
    return [group.name, list(group.utterances), *([sorted(group.texts.items())] if group.texts else [])]


def text_notes(evaluations: Sequence[Evaluation], groups: Sequence[Group], scaling: str) -> list[str]:
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


def with_evaluations(record: CellRecord, planned: Sequence[PlannedEvaluation]) -> CellRecord:
    """Complete a cell's record with its test groups and the jobs that predict them."""
    names = [[v.name for v in p.evaluation.inner] for p in planned]
    folds = [
        FoldJobs(p.evaluation.name, p.job, tuple(zip(inner, p.inner, strict=True)))
        for p, inner in zip(planned, names, strict=True)
    ]
    jobs = sorted({key for p in planned for key in (p.job, *p.inner)})
    return replace(record, jobs=tuple(jobs), folds=tuple(folds), sets=_named_sets(planned))


def _named_sets(planned: Sequence[PlannedEvaluation]) -> dict[str, tuple[str, ...]]:
    """Utterances of every test group and validation, by name."""
    sets: dict[str, tuple[str, ...]] = {}
    named = [(p.evaluation.name, p.evaluation.test) for p in planned]
    named += [(v.name, v.test) for p in planned for v in p.evaluation.inner]
    for name, utterances in named:
        if sets.setdefault(name, utterances) != utterances:
            raise ProtocolError("plan", f"two sets of utterances are named '{name}'", "a name for each")
    return sets
