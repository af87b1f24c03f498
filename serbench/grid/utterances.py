"""The table of utterances of a cell: one row per utterance of the task in the corpora that the cell tests or trains on.

It has the columns of the index and of `serbench.protocols`, and `stored` (name of the corpus in the store), `who` (the
person with the corpus), `person` (one name for each person, whatever corpora call them) and `present` (whether the row
has features).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from serbench.classifiers import Classifier, Input
from serbench.corpora.divisions import (
    check_tested_people,
    confounded,
    is_copy_of_earlier,
    one_person_each,
    partition_of,
    with_people,
)
from serbench.corpora.entry import Corpus
from serbench.corpora.index import SILENCE
from serbench.corpora.segments import name_in_store
from serbench.corpora.tasks import OF_PEOPLE, EmotionTask
from serbench.errors import ProtocolError, listed
from serbench.features.table import stored_rows
from serbench.protocols import Protocol, add_groups, independent_units
from serbench.store.files import read_frame
from serbench.store.keys import digest
from serbench.store.results import Store

SCALING_NEEDS = 10
"""Utterances below which a speaker or a corpus is not scaled by itself."""


@dataclass(frozen=True, slots=True, eq=False)
class CorpusData:
    """A corpus as the grid meets it; `namespace` is one name for all corpora that share its speakers, else empty."""

    corpus: Corpus
    index: pd.DataFrame
    partial: str
    note: str = ""
    namespace: str = ""

    @property
    def name(self) -> str:
        """Name of the corpus."""
        return self.corpus.name

    @property
    def stored(self) -> str:
        """Its name in the store: another than its own where its utterances were cut into segments."""
        return name_in_store(self.index)

    @property
    def language(self) -> str:
        """Its language without the region: en of en-US."""
        return self.corpus.language.partition("-")[0]


@dataclass(frozen=True, slots=True, eq=False)
class FeatureSource:
    """Features: name, folder in the store, number, and what `--features` calls them.

    `is_assumed` plans as if all had been extracted. `hop_s`: seconds between frames; None for one row per recording.
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

    def extracted(self, data: CorpusData, store: Store) -> set[tuple[str, str]]:
        """Return the utterances with features, each with the fingerprint of its audio."""
        if self.is_assumed:
            decoded = data.index[data.index["audio_hash"].notna()]
            return set(zip(decoded["utterance"], decoded["audio_hash"], strict=True))
        return stored_rows(store.features(self.key, data.stored))


def task_index(data: CorpusData, task: EmotionTask) -> pd.DataFrame:
    """Return the labelled utterances of a task, but for copies of another speaker's recordings."""
    selected = task.select(data.index, data.corpus)
    return selected[selected["duplicate"].isna()].sort_values("utterance", ignore_index=True)


def grouped(data: CorpusData, protocol: Protocol, partition: str = "") -> pd.DataFrame:
    """Divide a whole corpus into groups: its index with the columns of this module but `tested` and `present`.

    The column `held_out` marks what a published partition tests. Utterances of neither side are left out.
    `ProtocolError` where the corpus cannot be divided, or a person or group is on both sides.
    """
    index = with_people(data.index, data.corpus, namespace=data.namespace)
    index = index.assign(stored=data.stored, corpus_language=data.language)
    if not partition:
        return add_groups(index, data.corpus, with_texts=protocol.holds_out_texts).assign(held_out=False)
    parts = [index[index["utterance"].isin(ids)] for ids in partition_of(index, data.corpus, partition)]
    field, units = independent_units(index, data.corpus.person)
    for kept_apart in dict.fromkeys((field, data.corpus.folds.by)):
        unit = index["utterance"].map(units) if kept_apart == field else index[kept_apart].astype(str)
        both = set.intersection(*(set(unit[part.index]) for part in parts))
        if both:
            found = f"{kept_apart} {listed(sorted(both))} both in training and test"
            raise ProtocolError(f"{data.name}.partitions.{partition}", found, f"each {kept_apart} on one side")
    train, test = (add_groups(part, data.corpus) for part in parts)
    names = [*train["group"].cat.categories, *test["group"].cat.categories]
    whole = pd.concat([train.assign(held_out=False), test.assign(held_out=True)], ignore_index=True)
    return whole.assign(group=pd.Categorical(whole["group"], categories=list(dict.fromkeys(names))))


def of_task(data: CorpusData, whole: pd.DataFrame, task: EmotionTask) -> pd.DataFrame:
    """Return the utterances of a task, sorted, with the columns of `grouped`."""
    selected = task_index(data, task)
    own = [column for column in whole if column not in selected]
    return selected.merge(whole[["utterance", *own]], on="utterance")


def join(corpora: Sequence[CorpusData], rows: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join the utterances of corpora; groups are named with the corpus where there are several.

    The order of the corpora and of their groups is that of the categories, and so that of folds.
    """
    prefixes = [f"{data.name}/" if len(corpora) > 1 else "" for data in corpora]
    parts = [of.assign(group=prefix + of["group"].astype(str)) for prefix, of in zip(prefixes, rows, strict=True)]
    joined = pd.concat(parts, ignore_index=True)
    ordered = {
        "group": [p + name for p, of in zip(prefixes, rows, strict=True) for name in of["group"].cat.categories],
        "corpus": [data.name for data in corpora],
        "corpus_language": list(dict.fromkeys(data.language for data in corpora)),
    }
    return joined.assign(**{c: pd.Categorical(joined[c], categories=names) for c, names in ordered.items()})


def divisible(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that folds are made of: those with features, by utterance."""
    present = rows[rows["present"]] if "present" in rows else rows
    labelled = present.rename(columns={"emotion": "label"}, errors="raise")
    return labelled.sort_values("utterance", ignore_index=True)


def basis(selected: pd.DataFrame, whole: pd.DataFrame, task: EmotionTask) -> str:
    """Digest the state of a corpus: labels and audio of the utterances selected, its groups, what the task merges."""
    truth = zip(selected["utterance"], selected["emotion"], selected["audio_hash"].fillna(""), strict=True)
    return digest([list(map(list, truth)), group_keys(whole), task.merges])


def group_keys(whole: pd.DataFrame) -> list[list[Any]]:
    """Name and utterances of each test group, and their texts where these are held out too."""
    keys: list[list[Any]] = []
    for name, rows in whole.sort_values("utterance").groupby("group", observed=True):
        ids = rows["utterance"].tolist()
        texts = [list(map(list, zip(ids, rows["text_group"], strict=True)))] if "text_group" in rows else []
        keys.append([name, ids, *texts])
    return keys


def keep_apart(rows: pd.DataFrame, whole: Sequence[pd.DataFrame], protocol: Protocol) -> tuple[pd.DataFrame, list[str]]:
    """Keep people and recordings that several corpora of a cell have on one side.

    A recording stays in the first corpus. A person who is tested trains in no other corpus; where every test group has
    a training set of its own, this holds for that group only, and the folds see to it by the column `person`, which is
    there only where corpora share people.

    Returns
    -------
    The rows that are left, and notes on what became of copies and of shared people.

    Raises
    ------
    ProtocolError : corpora share recordings and no entry says so, one person is tested under two names, or all people
        of a corpus are tested.
    """
    if len(whole) == 1:
        return rows.drop(columns="person"), []
    everyone = one_person_each(pd.concat(whole, ignore_index=True))
    rows = rows.assign(person=rows["utterance"].map(dict(zip(everyone["utterance"], everyone["person"], strict=True))))
    copies = is_copy_of_earlier(rows)
    copied = rows["corpus"][copies].value_counts(sort=False)
    notes = [f"{n} recordings of {name} are another corpus' too and take no part" for name, n in copied.items() if n]
    rows = rows[~copies]
    if everyone["namespace"].nunique() == len(whole):
        return rows.drop(columns="person"), notes
    check_tested_people(rows[rows["tested"]])
    shared = ~rows["tested"] & rows["person"].isin(rows["person"][rows["tested"]])
    for corpus, n in rows[shared].groupby("corpus", observed=True)["person"].nunique().items():
        if protocol.part and shared[rows["corpus"] == corpus].all():
            instead = "use --protocol pooled, which leaves out the people of each test group only"
            found, todo = "all of its speakers are tested in another corpus", f"Leave this corpus out, or {instead}"
            raise ProtocolError(str(corpus), found, "some others", todo)
        became = "are tested and do not train" if protocol.part else "do not train where they are tested"
        notes.append(f"{n} speakers of {corpus} {became}")
    return rows[~shared] if protocol.part else rows, notes


def check_has_emotions(corpus: str, selected: pd.DataFrame, task: EmotionTask) -> None:
    """Check that a corpus has each emotion of a task; `ProtocolError` says which it has."""
    absent = sorted(set(task.emotions) - set(selected["emotion"]))
    if absent:
        there = ",".join(sorted(set(selected["emotion"])))
        todo = f"Use --task available or --emotions {there}" if "," in there and task.target == "emotion" else ""
        raise ProtocolError(corpus, f"no utterances of {listed(absent)}", f"all of {task.title}", todo)


def check_emotions(rows: pd.DataFrame, tested: Sequence[CorpusData], task: EmotionTask, source: FeatureSource) -> None:
    """Check that a corpus tested has each emotion, with features, and that every other one has something to train on.

    Several corpora that one cell tests need to have each emotion together only.
    """
    if len(task.emotions) < 2:
        raise ProtocolError(tested[0].name, listed(task.emotions) or "no emotion", "at least two emotions")
    for corpus, own in rows.groupby("corpus", observed=False):
        present = own[own["present"]]
        if len(tested) == 1 and corpus == tested[0].name:
            check_has_emotions(str(corpus), own, task)
            bare = sorted(set(task.emotions) - set(present["emotion"]))
            if bare:
                n = f"({len(present)} of {len(own)} utterances)"
                found = f"{source.name} has no features of {listed(bare)} {n}"
                raise ProtocolError(str(corpus), found, "features of every emotion", "See the failures table")
        if present.empty:
            found = f"no utterance of {task.title} with features of {source.name}"
            raise ProtocolError(str(corpus), found, "some", "Leave this corpus out, or extract its features")


def scaled_alone(
    corpora: Sequence[CorpusData],
    rows: pd.DataFrame,
    task: EmotionTask,
    *,
    scaling: str,
    extracted: Mapping[str, set[tuple[str, str]]],
) -> dict[str, dict[str, str]]:
    """Return the audio that a scaling looks at beside training rows: by speaker or corpus, fingerprints by utterance.

    Utterances of dropped emotions are among them. `ProtocolError` where a speaker has too few utterances, or one
    emotion only.
    """
    units: dict[str, dict[str, str]] = {}
    for data in corpora if scaling in ("speaker", "corpus") else ():
        index = with_people(data.index, data.corpus).assign(stored=data.stored)
        own = rows[rows["corpus"] == data.name]
        by = "stored" if scaling == "corpus" else "who"
        found: dict[str, dict[str, str]] = {str(unit): {} for unit in sorted(own[by][own["present"]].unique())}
        for unit, utterance, audio_hash in zip(index[by], index["utterance"], index["audio_hash"], strict=True):
            if unit in found and (utterance, audio_hash) in extracted[data.name]:
                found[unit][utterance] = audio_hash
        if scaling == "speaker":
            kind, labelled = ("emotion", index) if task.target == "emotion" else ("label", own)
            n_labels = labelled.groupby("who")["emotion"].nunique()
            refused = [f"{s} ({len(of)} utterances)" for s, of in found.items() if len(of) < SCALING_NEEDS]
            refused += [f"{s} (one {kind})" for s in found if n_labels[s] < 2]
            if refused:
                need = f"at least {SCALING_NEEDS} utterances and two {kind}s per {data.corpus.person}"
                raise ProtocolError(f"{data.name}, --scaling speaker", listed(refused), need, "Use --scaling train")
        units |= found
    return units


def auxiliary_labels(
    corpora: Sequence[CorpusData], rows: pd.DataFrame, classifier: Classifier
) -> dict[str, dict[str, str]]:
    """Return the labels that a classifier declares beside the emotion, by name and utterance.

    The language of a corpus without a column of that name is the one of its entry. `ProtocolError` where an utterance
    has no such label.
    """
    labels: dict[str, dict[str, str]] = {name: {} for name in classifier.auxiliary}
    for data, name in itertools.product(corpora, classifier.auxiliary):
        own = rows[rows["corpus"] == data.name]
        column = "corpus_language" if name == "language" and name not in data.index else name
        known = dict(zip(own["utterance"], own[column] if column in own else [None] * len(own), strict=True))
        absent = [utterance for utterance, label in known.items() if not isinstance(label, str)]
        if absent:
            found = f"{len(absent)} of {len(own)} utterances without a label of '{name}' (first {absent[0]})"
            todo = f"Give the corpus' entry a field '{name}', or leave {classifier.name} out"
            raise ProtocolError(f"{data.name} with {classifier.name}", found, "one for each, as text", todo)
        labels[name] |= known
    return labels


def missing_features(rows: pd.DataFrame, source: FeatureSource, store: Store) -> dict[str, str]:
    """Return the utterances without features, with the reason."""
    absent = rows[~rows["present"]]
    reasons: dict[str, str] = {}
    for path in (store.failures(source.key, str(stored)) for stored in absent["stored"].unique()):
        if path.is_file():
            known = read_frame(path)
            reasons |= dict(zip(known["utterance"], known["reason"], strict=True))
    return {u: reasons.get(u, "no features") for u in absent["utterance"]}


def remarks(
    tested: Sequence[CorpusData],
    others: Sequence[CorpusData],
    rows: pd.DataFrame,
    task: EmotionTask,
    protocol: Protocol,
    shared: Sequence[str],
) -> Iterator[str]:
    """Word what every table must say of the corpora of a cell, beside what the copy of a test corpus misses."""
    every, is_across = (*tested, *others), protocol.is_across
    yield from (data.note for data in tested)
    if task.target not in OF_PEOPLE:
        yield from (confounded(rows[rows["corpus"] == data.name], data.corpus.person) for data in tested)
    for data in every:
        prefix = f"{data.name}: " if len(every) > 1 else ""
        yield from (f"{prefix}{note}" for note in task.notes(data.index, data.corpus))
    if is_across and task.target == "emotion":
        used = {source for _, sources in task.merges for source in sources}
        for data in every if used else ():
            counts = data.index["emotion"].value_counts()
            dropped = [f"{emotion} ({n})" for emotion, n in sorted(counts.items()) if emotion not in used]
            yield f"{data.name} dropped {listed(dropped)}" if dropped else ""
    for data in every:
        yield from (f"{data.name}: {note}" if is_across else note for note in _left_out(data, task))
    yield from (f"trained on {data.name}, {data.partial}" for data in others if data.partial)
    yield from shared
    for data in others:
        n = int((~rows["present"] & (rows["corpus"] == data.name)).sum())
        yield f"{n} utterances of {data.name} have no features and do not train" if n else ""
    for data in tested:
        words = protocol.independence_of(data.corpus.person)
        if words != protocol.independence:
            yield f"{data.name}: {words}" if is_across else words


def _left_out(data: CorpusData, task: EmotionTask) -> Iterator[str]:
    """How many utterances of the task take no part as they are copies, or as they are digital silence."""
    asked = task.select(data.index, data.corpus)
    silent = asked[asked["duplicate"] == SILENCE]
    n_copies = int(asked["duplicate"].notna().sum()) - len(silent)
    if n_copies:
        yield f"{n_copies} utterances are copies of other speakers' recordings and take no part"
    if len(silent):
        gone = set(silent["whole"]) - set(asked["whole"].drop(silent.index)) if "whole" in asked else set()
        left = f"; nothing else is left of {listed(sorted(gone))}" if gone else ""
        kind = "pieces" if "whole" in asked else "utterances"
        yield f"{len(silent)} {kind} are digital silence and take no part{left}"
