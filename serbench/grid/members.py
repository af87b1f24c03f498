"""A corpus as a cell meets it: its utterances of the task, which of them have features, and its test groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from serbench.classifiers import Classifier, Input
from serbench.corpora.divisions import sentences
from serbench.corpora.entry import Corpus
from serbench.corpora.index import SILENCE, overlapping_segments
from serbench.corpora.people import (
    Spoken,
    check_declared,
    check_distinct,
    confounded,
    rows_of_all,
    same_people,
    shared_recordings,
)
from serbench.corpora.segments import name_in_store
from serbench.corpora.tasks import EmotionTask
from serbench.errors import ProtocolError, listed
from serbench.features.table import stored_rows
from serbench.grid.plan import Rows
from serbench.protocols import Group, Protocol, Side, independent_units, restrict
from serbench.store.files import read_frame
from serbench.store.results import Store

SCALING_NEEDS = 10
"""Utterances below which a speaker or a corpus is not scaled by itself."""


@dataclass(frozen=True, slots=True)
class CorpusData:
    """A corpus as the grid meets it: its entry, its index, what its copy lacks, what else tables must tell of it.

    `namespace` names the corpora that it shares speakers with, after one of them; empty where there are none.
    """

    corpus: Corpus
    index: pd.DataFrame
    partial: str
    note: str = ""
    namespace: str = ""

    @property
    def spoken(self) -> Spoken:
        """Who speaks in it."""
        return Spoken(self.corpus.name, self.index, self.corpus.person, self.namespace or self.corpus.name)

    @property
    def stored(self) -> str:
        """Its name in the store: another than its own where its utterances were cut into pieces."""
        return name_in_store(self.index)

    @property
    def language(self) -> str:
        """Its language without the region: en of en-US."""
        return self.corpus.language.partition("-")[0]


@dataclass(frozen=True, slots=True)
class FeatureSource:
    """Features as the grid meets them: name, folder in the store, number, and what `--features` calls them.

    `is_assumed` plans as if they had all been extracted. `hop_s`: seconds from one frame to the next of a framewise
    set, None where there is one row per recording.
    """

    name: str
    key: str
    n_features: int
    versions: Mapping[str, str]
    argument: str
    is_assumed: bool = False
    hop_s: float | None = None

    @property
    def gives(self) -> Input:
        """What a classifier must take to go with them."""
        return "rows" if self.hop_s is None else "frames"

    def numbers(self, corpora: Sequence[CorpusData]) -> int:
        """Count the features of an utterance, of a framewise set those of all frames of one of mean length."""
        if self.hop_s is None:
            return self.n_features
        duration_s = pd.concat([data.index["duration_s"] for data in corpora]).mean()
        return self.n_features * max(1, round(float(0 if pd.isna(duration_s) else duration_s) / self.hop_s))


@dataclass(frozen=True, slots=True)
class Member:
    """A corpus of a cell.

    `groups` and `held_out` are whole, dropped emotions included. `selected` are the utterances of the task, of which
    those that are `here` have features; `extracted` are all that have, with their fingerprints. `n_copies` recordings
    of it are another corpus' too, and take no part. `same` is one name for each person of corpora that share people,
    by utterance; `shares` words what became of those who are tested too.
    """

    data: CorpusData
    groups: tuple[Group, ...]
    held_out: tuple[Group, ...]
    selected: pd.DataFrame
    here: Sequence[bool]
    extracted: frozenset[tuple[str, str]]
    n_copies: int = 0
    same: Mapping[str, str] = field(default_factory=dict)
    shares: str = ""

    @property
    def name(self) -> str:
        """Name of the corpus."""
        return self.data.corpus.name

    @property
    def person(self) -> str:
        """Field that keeps its people apart."""
        return self.data.corpus.person

    @property
    def present(self) -> pd.DataFrame:
        """Utterances of the task that have features."""
        return self.selected[np.array(self.here, dtype=bool)]

    @property
    def absent(self) -> pd.DataFrame:
        """Utterances of the task that have none."""
        return self.selected[~np.array(self.here, dtype=bool)]

    def people(self, rows: pd.DataFrame) -> list[str]:
        """Who speaks in rows of the index; a speaker's name holds the corpus already, that of a voice does not."""
        names = rows[self.person].astype(str).tolist()
        return names if self.person == "speaker" else [f"{self.name}/{name}" for name in names]

    def side(self, *, is_alone: bool) -> Side:
        """Return what a protocol sees of it; beside other corpora, groups are named with the corpus."""
        present = self.present
        there = set(present["utterance"])
        prefix = "" if is_alone else f"{self.name}/"
        named = [[replace(g, name=f"{prefix}{g.name}") for g in of] for of in (self.groups, self.held_out)]
        groups, held_out = (tuple(restrict(of, there)) for of in named)
        labels = dict(zip(present["utterance"], present["emotion"], strict=True))
        return Side(self.name, self.data.language, groups, labels, held_out)


def task_index(data: CorpusData, task: EmotionTask) -> pd.DataFrame:
    """Return the labelled utterances of a task, but for copies of another speaker's recordings."""
    selected = task.select(data.index, data.corpus)
    return selected[selected["duplicate"].isna()].sort_values("utterance", ignore_index=True)


def find_member(
    data: CorpusData, task: EmotionTask, protocol: Protocol, partition: str, source: FeatureSource, store: Store
) -> Member:
    """Look up what a cell may use of a corpus.

    Raises
    ------
    ProtocolError : it cannot be divided as the protocol asks.
    CorpusError : it lacks what the task asks for.
    """
    groups, held_out = divided(data, protocol, partition)
    members = {u for group in (*groups, *held_out) for u in group.utterances}
    selected = task_index(data, task)
    selected = selected[selected["utterance"].isin(members)].reset_index(drop=True)
    extracted = _extracted(data, source, store)
    here = [place in extracted for place in zip(selected["utterance"], selected["audio_hash"], strict=True)]
    return Member(data, tuple(groups), tuple(held_out), selected, here, frozenset(extracted))


def apart(tested: Sequence[Member], others: Sequence[Member], protocol: Protocol) -> tuple[list[Member], list[Member]]:
    """Keep people and recordings that several corpora of a cell have on one side.

    A recording stays in the first corpus. A person who is tested trains in no other corpus; where every test group has
    a training set of its own, this holds for that group only, and `keep_apart` sees to it.

    Raises
    ------
    ProtocolError : corpora share recordings and no entry says so, one person is tested under two names, or all people
        of a corpus are tested.
    """
    if not others and len(tested) == 1:
        return list(tested), []
    rows = rows_of_all(member.data.spoken for member in (*tested, *others))
    shared = shared_recordings(rows)
    check_declared(shared)
    members = without_copies([*tested, *others])
    if rows["namespace"].nunique() == len(members):
        return members[: len(tested)], members[len(tested) :]
    same = same_people(rows, shared)
    people = [who for m in tested for who in m.people(m.selected)]
    check_distinct(people, [same[u] for m in tested for u in m.selected["utterance"]])
    members = [replace(member, same=same) for member in members]
    known = {same[u] for m in tested for u in m.selected["utterance"]}
    own, beside = members[: len(tested)], members[len(tested) :]
    return own, [_without_people(m, known, protocol) for m in beside]


def _without_people(member: Member, tested: set[str], protocol: Protocol) -> Member:
    """Take people who are tested out of a corpus that trains; only word it where `keep_apart` does so fold by fold."""
    others = np.array([member.same[u] not in tested for u in member.selected["utterance"]], dtype=bool)
    shared = {member.same[u] for u in member.selected["utterance"]} & tested
    if not shared:
        return member
    if protocol.trains_fold_by_fold:
        return replace(member, shares=f"{len(shared)} speakers of {member.name} do not train where they are tested")
    if not others.any():
        todo = "Leave this corpus out, or use --protocol pooled, which leaves out the people of each test group only"
        raise ProtocolError(member.name, "all of its speakers are tested in another corpus", "some others", todo)
    here = [there for there, kept in zip(member.here, others, strict=True) if kept]
    shares = f"{len(shared)} speakers of {member.name} are tested and do not train"
    return replace(member, selected=member.selected[others].reset_index(drop=True), here=here, shares=shares)


def without_copies(members: Sequence[Member]) -> list[Member]:
    """Leave out recordings that an earlier corpus of a cell has too: nobody may be tested on what has trained.

    Only byte-identical ones are known. What stays is the corpus that is tested, which comes first.
    """
    known: set[str] = set()
    kept = []
    for member in members:
        is_own = np.array([audio not in known for audio in member.selected["audio_hash"]], dtype=bool)
        known |= set(member.selected["audio_hash"].dropna())
        here = [there for there, own in zip(member.here, is_own, strict=True) if own]
        selected = member.selected[is_own].reset_index(drop=True)
        kept.append(replace(member, selected=selected, here=here, n_copies=int((~is_own).sum())))
    return kept


def divided(data: CorpusData, protocol: Protocol, partition: str) -> tuple[list[Group], list[Group]]:
    """Divide a whole corpus into its groups and, by a partition, into those that train and those that are tested."""
    if protocol.needs != "partition":
        return protocol.groups(data.index, data.corpus), []
    from serbench.corpora.divisions import partition_of

    train, test = partition_of(data.index, data.corpus, partition)
    parts = [data.index[data.index["utterance"].isin(ids)] for ids in (train, test)]
    _check_units_apart(data, partition, *parts)
    groups, held_out = (protocol.groups(part, data.corpus) for part in parts)
    return groups, held_out


def _check_units_apart(data: CorpusData, partition: str, *parts: pd.DataFrame) -> None:
    """Check that nobody who trains talks to somebody who is tested, and that no fold is on both sides."""
    field, units = independent_units(data.index, data.corpus.person)
    for kept_apart in dict.fromkeys((field, data.corpus.folds.by)):
        unit_of = (
            units if kept_apart == field else dict(zip(data.index["utterance"], data.index[kept_apart], strict=True))
        )
        one, other = ({str(unit_of[u]) for u in part["utterance"]} for part in parts)
        if one & other:
            found = f"{kept_apart} {listed(sorted(one & other))} both in training and test"
            raise ProtocolError(f"{data.corpus.name}.partitions.{partition}", found, f"each {kept_apart} on one side")


def _extracted(data: CorpusData, source: FeatureSource, store: Store) -> set[tuple[str, str]]:
    """Utterances with features, each with the fingerprint of its audio."""
    if source.is_assumed:
        decoded = data.index[data.index["audio_hash"].notna()]
        return set(zip(decoded["utterance"], decoded["audio_hash"], strict=True))
    return stored_rows(store.features(source.key, data.stored))


def check_has_emotions(corpus: str, selected: pd.DataFrame, task: EmotionTask) -> None:
    """Check that a corpus has each emotion of a task; `ProtocolError` says which it has."""
    lacking = sorted(set(task.emotions) - set(selected["emotion"]))
    if lacking:
        there = ",".join(sorted(set(selected["emotion"])))
        todo = f"Use --task available or --emotions {there}" if "," in there and task.target == "emotion" else ""
        raise ProtocolError(corpus, f"no utterances of {listed(lacking)}", f"all of {task.title}", todo)


def check_member(member: Member, task: EmotionTask, source: FeatureSource) -> None:
    """Check that a corpus that is tested has each emotion, and features of some of each."""
    check_has_emotions(member.name, member.selected, task)
    bare = sorted(set(task.emotions) - set(member.present["emotion"]))
    if bare:
        n, n_all = len(member.present), len(member.selected)
        found = f"{source.name} has no features of {listed(bare)} ({n} of {n_all} utterances)"
        raise ProtocolError(member.name, found, "features of every emotion", "See the failures table")


def rows_of(members: Sequence[Member], task: EmotionTask, *, scaling: str, with_texts: bool) -> Rows:
    """Collect what is known of the utterances of a cell that have features."""
    code = {emotion: i for i, emotion in enumerate(task.emotions)}
    labels: dict[str, int] = {}
    people: dict[str, str] = {}
    hashes: dict[str, str] = {}
    corpora: dict[str, str] = {}
    texts: dict[str, str] = {}
    overlaps: list[tuple[str, str]] = []
    for member in members:
        present = member.present
        ids = present["utterance"]
        labels |= {u: code[e] for u, e in zip(ids, present["emotion"], strict=True)}
        people |= dict(zip(ids, member.people(present), strict=True))
        hashes |= dict(zip(ids, present["audio_hash"], strict=True))
        corpora |= dict.fromkeys(ids, member.data.stored)
        texts |= dict(zip(ids, sentences(present), strict=True)) if with_texts else {}
        overlaps += overlapping_segments(present, person=member.person)
    extracted = {unit: of for member in members for unit, of in _scaled_alone(member, task, scaling).items()}
    same = {u: member.same[u] for member in members if member.same for u in member.present["utterance"]}
    return Rows(labels, people, hashes, corpora, tuple(overlaps), texts, extracted, same=same)


Extracted = dict[str, dict[str, str]]
"""Unit that is scaled by itself -> its extracted utterances, labelled or not, with their fingerprints."""


def _scaled_alone(member: Member, task: EmotionTask, scaling: str) -> Extracted:
    """Return what a scaling looks at beside training rows: nothing, each speaker's utterances, or the corpus'."""
    if scaling == "speaker":
        return _speakers(member, task)
    return _corpus(member) if scaling == "corpus" else {}


def _speakers(member: Member, task: EmotionTask) -> Extracted:
    """All extracted utterances of each speaker, dropped emotions too; refused where a speaker cannot bear it."""
    person, index = member.person, member.data.index
    decoded = index[index["audio_hash"].notna()]
    there = sorted(set(member.people(member.present)))
    owners = pd.Series(member.people(decoded), index=decoded.index)
    speakers = {speaker: _with_features(decoded[owners == speaker], member) for speaker in there}
    # What a speaker's scaling needs is variety: of all emotions, or of the labels where these are another target's.
    kind, labelled = ("emotion", index) if task.target == "emotion" else ("label", member.selected)
    n_labels = labelled.groupby(member.people(labelled))["emotion"].nunique()
    few = [f"{s} ({len(h)} utterances)" for s, h in speakers.items() if len(h) < SCALING_NEEDS]
    single = [f"{s} (one {kind})" for s in speakers if n_labels[s] < 2]
    if few or single:
        need = f"at least {SCALING_NEEDS} utterances and two {kind}s per {person}"
        raise ProtocolError(f"{member.name}, --scaling speaker", listed(few + single), need, "Use --scaling train")
    return speakers


def _corpus(member: Member) -> Extracted:
    """All extracted utterances of a corpus, dropped emotions too."""
    decoded = member.data.index[member.data.index["audio_hash"].notna()]
    return {member.data.stored: _with_features(decoded, member)}


def _with_features(rows: pd.DataFrame, member: Member) -> dict[str, str]:
    places = zip(rows["utterance"], rows["audio_hash"], strict=True)
    return {u: h for u, h in places if (u, h) in member.extracted}


def auxiliary_labels(member: Member, classifier: Classifier) -> dict[str, dict[str, str]]:
    """Return the labels that a classifier declares beside the emotion, by name and utterance.

    The language of a corpus without a column of that name is the one of its entry.

    Raises
    ------
    ProtocolError : the corpus lacks one, or has it for a part of its utterances only.
    """
    rows = member.present
    told = rows if "language" in rows else rows.assign(language=member.data.language)
    for name in classifier.auxiliary:
        values = told[name] if name in told else pd.Series([None] * len(told))
        lacking = told["utterance"][[not isinstance(value, str) for value in values]]
        if len(lacking):
            found = f"{len(lacking)} of {len(told)} utterances without a label of '{name}' (first {lacking.iloc[0]})"
            todo = f"Give the corpus' entry a field '{name}', or leave {classifier.name} out"
            raise ProtocolError(f"{member.name} with {classifier.name}", found, "one for each, as text", todo)
    return {name: dict(zip(told["utterance"], told[name], strict=True)) for name in classifier.auxiliary}


def missing_features(member: Member, source: FeatureSource, store: Store) -> dict[str, str]:
    """Return the utterances of the task without features, with the reason."""
    path = store.failures(source.key, member.data.stored)
    known = read_frame(path) if path.is_file() else pd.DataFrame({"utterance": [], "reason": []})
    reasons = dict(zip(known["utterance"], known["reason"], strict=True))
    return {u: reasons.get(u, "no features") for u in member.absent["utterance"]}


def remarks_on(tested: Sequence[Member], others: Sequence[Member], task: EmotionTask, *, is_across: bool) -> list[str]:
    """Word what every table must say of the corpora of a cell, beside what its test corpus lacks."""
    told = [m.data.note for m in tested]
    told += [] if task.is_of_people else [confounded(m.selected, m.person) for m in tested]
    for member in (*tested, *others):
        notes = task.notes(member.data.index, member.data.corpus)
        told += [f"{member.name}: {note}" for note in notes] if len(tested) + len(others) > 1 else notes
    if is_across and task.target == "emotion":
        told += [f"{m.name} dropped {dropped}" for m in (*tested, *others) if (dropped := _dropped(m, task))]
    for member in (*tested, *others):
        told += [f"{member.name}: {note}" if is_across else note for note in _left_out(member, task)]
    told += [f"trained on {m.name}, {m.data.partial}" for m in others if m.data.partial]
    told += [
        f"{m.n_copies} recordings of {m.name} are another corpus' too and take no part"
        for m in (*tested, *others)
        if m.n_copies
    ]
    told += [m.shares for m in others]
    told += [
        f"{len(m.absent)} utterances of {m.name} have no features and do not train" for m in others if len(m.absent)
    ]
    return [note for note in told if note]


def independence_notes(tested: Sequence[Member], protocol: Protocol) -> list[str]:
    """Word what is left out of corpora that name no speakers, so that nobody takes their folds for more."""
    words = {m.name: protocol.independence_of(m.person) for m in tested if m.person != "speaker"}
    told = {name: text for name, text in words.items() if text != protocol.independence}
    return [f"{name}: {text}" if protocol.is_across else text for name, text in told.items()]


def _left_out(member: Member, task: EmotionTask) -> Iterator[str]:
    """How many utterances of the task take no part as they are copies, or as they are digital silence."""
    asked = task.select(member.data.index, member.data.corpus)
    silent = asked[asked["duplicate"] == SILENCE]
    n_copies = int(asked["duplicate"].notna().sum()) - len(silent)
    if n_copies:
        yield f"{n_copies} utterances are copies of other speakers' recordings and take no part"
    if len(silent):
        gone = set(silent["whole"]) - set(asked["whole"].drop(silent.index)) if "whole" in asked else set()
        left = f"; nothing else is left of {listed(sorted(gone))}" if gone else ""
        kind = "pieces" if "whole" in asked else "utterances"
        yield f"{len(silent)} {kind} are digital silence and take no part{left}"


def _dropped(member: Member, task: EmotionTask) -> str:
    """Emotions of a corpus that the task leaves out, with their number of utterances."""
    used = {source for _, sources in task.merges for source in sources}
    counts = member.data.index["emotion"].value_counts()
    return listed((f"{e} ({n})" for e, n in sorted(counts.items()) if e not in used)) if used else ""
