"""The table of utterances of a cell: one row per utterance of the task in the corpora that the cell tests or trains on.

It has the columns of the index and of `serbench.protocols`, and `stored` (name of the corpus in the store), `who` (the
person with the corpus), `person` (one name for each person, whatever corpora call them) and `present` (whether the row
has features).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from serbench.classifiers import Classifier
from serbench.corpora.divisions import (
    check_tested_people,
    confounded,
    is_copy_of_earlier,
    one_person_each,
    partition_notes,
    partition_of,
    with_people,
)
from serbench.corpora.entry import Corpus
from serbench.corpora.index import SILENCE
from serbench.corpora.segments import name_in_store
from serbench.corpora.tasks import OF_PEOPLE, EmotionTask
from serbench.errors import ProtocolError, listed
from serbench.features import FeatureSet
from serbench.features.own import OwnFeatures
from serbench.grid.request import FitAxes
from serbench.protocols import Draw, Fold, Protocol, add_groups, independent_unit
from serbench.store.files import read_frame
from serbench.store.keys import digest
from serbench.store.results import Store

SCALING_NEEDS = 10  # utterances below which a speaker or a corpus is not scaled by itself


@dataclass(frozen=True, slots=True, eq=False)
class CorpusData:
    """A corpus as the grid meets it; `namespace` is one name for all corpora that share its speakers, else empty."""

    corpus: Corpus
    index: pd.DataFrame
    partial: str = ""
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
class Question(FitAxes):
    """All that is asked of cells but classifier and seed; `pool` names all corpora asked for.

    `others` are the corpora that train and are not tested. `extracted`: the utterances with features, each with the
    fingerprint of its audio, by corpus. `segment`: seconds that utterances are cut into.
    """

    tested: tuple[CorpusData, ...]
    others: tuple[CorpusData, ...]
    protocol: Protocol
    task: EmotionTask
    source: FeatureSet | OwnFeatures
    extracted: Mapping[str, set[tuple[str, str]]] = field(repr=False)
    inner: str = "auto"
    partition: str = ""
    draw: Draw | None = None
    pool: str = ""
    segment: float | None = None

    @property
    def corpora(self) -> tuple[CorpusData, ...]:
        """All of its corpora."""
        return (*self.tested, *self.others)


def joined(corpora: Iterable[CorpusData]) -> str:
    """Name corpora together."""
    return "+".join(sorted(data.name for data in corpora))


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
    person = data.corpus.person_field
    for kept_apart in dict.fromkeys((person, independent_unit(index, person), data.corpus.folds.by)):
        if both := set.intersection(*(set(part[kept_apart].dropna()) for part in parts)):
            found = f"{len(both)} {kept_apart}s on both sides ({listed(sorted(map(str, both)))})"
            expected = f"each {kept_apart} on one: scores of known voices are too high"
            raise ProtocolError(f"{data.name}.partitions.{partition}", found, expected)
    train, test = (add_groups(part, data.corpus) for part in parts)
    names = [*train["group"].cat.categories, *test["group"].cat.categories]
    whole = pd.concat([train.assign(held_out=False), test.assign(held_out=True)], ignore_index=True)
    return whole.assign(group=pd.Categorical(whole["group"], categories=list(dict.fromkeys(names))))


def of_task(data: CorpusData, whole: pd.DataFrame, task: EmotionTask) -> pd.DataFrame:
    """Return the utterances of a task, sorted, with the columns of `grouped`."""
    selected = task_index(data, task)
    own = [column for column in whole if column not in selected]
    return selected.merge(whole[["utterance", *own]], on="utterance")


def utterances_of(question: Question) -> tuple[pd.DataFrame, list[pd.DataFrame], list[str]]:
    """Return the table of utterances of a question, each whole corpus, and notes on what corpora share.

    Groups are named with the corpus where there are several. The order of the corpora and of their groups is that of
    the categories, and so that of folds.
    """
    whole = [grouped(data, question.protocol, question.partition) for data in question.corpora]
    ordered: dict[str, list[str]] = {"group": [], "corpus": [data.name for data in question.corpora]}
    ordered["corpus_language"] = list(dict.fromkeys(data.language for data in question.corpora))
    parts = []
    for data, everything in zip(question.corpora, whole, strict=True):
        rows = of_task(data, everything, question.task)
        prefix = f"{data.name}/" if len(whole) > 1 else ""
        ordered["group"] += [prefix + name for name in rows["group"].cat.categories]
        places = zip(rows["utterance"], rows["audio_hash"], strict=True)
        rows["present"] = [place in question.extracted[data.name] for place in places]
        rows["tested"] = rows["held_out"] if question.protocol.needs == "partition" else data in question.tested
        parts.append(rows.assign(group=prefix + rows["group"].astype(str)))
    rows = pd.concat(parts, ignore_index=True)
    rows = rows.assign(**{name: pd.Categorical(rows[name], categories=of) for name, of in ordered.items()})
    rows, notes = _keep_apart(rows, whole, question.protocol)
    return rows, whole, notes


def _keep_apart(
    rows: pd.DataFrame, whole: Sequence[pd.DataFrame], protocol: Protocol
) -> tuple[pd.DataFrame, list[str]]:
    """Keep people and recordings that several corpora of a cell have on one side; note what became of them.

    A recording stays in the first corpus. A person who is tested trains in no other corpus; where every test group has
    a training set of its own, this holds for that group only, and the folds see to it by the column `person`, which is
    there only where corpora share people. `ProtocolError` where corpora share recordings and no entry says so, one
    person is tested under two names, or all people of a corpus are tested.
    """
    if len(whole) == 1:
        return rows.drop(columns="person"), []
    everyone = one_person_each(pd.concat(whole, ignore_index=True))
    rows = rows.assign(person=rows["utterance"].map(everyone.set_index("utterance")["person"]))
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


def divisible(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that folds are made of: those with features, by utterance."""
    present = rows[rows["present"]] if "present" in rows else rows
    return present.rename(columns={"emotion": "label"}).sort_values("utterance", ignore_index=True)


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


def check_has_emotions(corpus: str, selected: pd.DataFrame, task: EmotionTask) -> None:
    """Check that a corpus has each emotion of a task; `ProtocolError` says which it has."""
    if absent := sorted(set(task.emotions) - set(selected["emotion"])):
        there = ",".join(sorted(set(selected["emotion"])))
        todo = f"Use --task available or --emotions {there}" if "," in there and task.target == "emotion" else ""
        raise ProtocolError(corpus, f"no utterances of {listed(absent)}", f"all of {task.title}", todo)


def check_emotions(question: Question, rows: pd.DataFrame) -> None:
    """Check that a corpus tested has each emotion, with features, and that every other one has something to train on.

    Several corpora that one cell tests need to have each emotion together only.
    """
    task, features = question.task, question.source.name
    if len(task.emotions) < 2:
        raise ProtocolError(question.tested[0].name, listed(task.emotions) or "no emotion", "at least two emotions")
    for corpus, own in rows.groupby("corpus", observed=False):
        present = own[own["present"]]
        if len(question.tested) == 1 and corpus == question.tested[0].name:
            check_has_emotions(str(corpus), own, task)
            if bare := sorted(set(task.emotions) - set(present["emotion"])):
                found = f"{features} has no features of {listed(bare)} ({len(present)} of {len(own)} utterances)"
                raise ProtocolError(str(corpus), found, "features of every emotion", "See the failures table")
        if present.empty:
            found = f"no utterance of {task.title} with features of {features}"
            raise ProtocolError(str(corpus), found, "some", "Leave this corpus out, or extract its features")


def scaled_alone(question: Question, rows: pd.DataFrame) -> dict[str, dict[str, str]]:
    """Return the audio that a scaling looks at beside training rows: by speaker or corpus, fingerprints by utterance.

    Utterances of dropped emotions are among them. `ProtocolError` where a speaker has too few utterances, or one
    emotion only.
    """
    units: dict[str, dict[str, str]] = {}
    by = "stored" if question.scaling == "corpus" else "who"
    for data in question.corpora if question.scaling in ("speaker", "corpus") else ():
        index = with_people(data.index, data.corpus).assign(stored=data.stored)
        own = rows[rows["corpus"] == data.name]
        found: dict[str, dict[str, str]] = {str(unit): {} for unit in sorted(own[by][own["present"]].unique())}
        for unit, utterance, audio_hash in zip(index[by], index["utterance"], index["audio_hash"], strict=True):
            if unit in found and (utterance, audio_hash) in question.extracted[data.name]:
                found[unit][utterance] = audio_hash
        if question.scaling == "speaker":
            kind, labelled = ("emotion", index) if question.task.target == "emotion" else ("label", own)
            n_labels = labelled.groupby("who")["emotion"].nunique()
            refused = [f"{s} ({len(of)} utterances)" for s, of in found.items() if len(of) < SCALING_NEEDS]
            refused += [f"{s} (one {kind})" for s in found if n_labels[s] < 2]
            if refused:
                need = f"at least {SCALING_NEEDS} utterances and two {kind}s per {data.corpus.person_field}"
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
    for data, name in ((data, name) for data in corpora for name in labels):
        own = rows[rows["corpus"] == data.name]
        column = "corpus_language" if name == "language" and name not in data.index else name
        known = dict(zip(own["utterance"], own[column] if column in own else [None] * len(own), strict=True))
        if absent := [utterance for utterance, label in known.items() if not isinstance(label, str)]:
            found = f"{len(absent)} of {len(own)} utterances without a label of '{name}' (first {absent[0]})"
            todo = f"Give the corpus' entry a field '{name}', or leave {classifier.name} out"
            raise ProtocolError(f"{data.name} with {classifier.name}", found, "one for each, as text", todo)
        labels[name] |= known
    return labels


def missing_features(question: Question, rows: pd.DataFrame, store: Store) -> dict[str, str]:
    """Return the utterances tested that have no features, with the reason."""
    absent, reasons = rows[rows["tested"] & ~rows["present"]], dict[str, str]()
    for path in (store.failures(question.source.key, stored) for stored in absent["stored"].unique()):
        if path.is_file():
            known = read_frame(path)
            reasons |= dict(zip(known["utterance"], known["reason"], strict=True))
    return {u: reasons.get(u, "no features") for u in absent["utterance"]}


def notes_of(
    question: Question, rows: pd.DataFrame, shared: Sequence[str], folds: Sequence[Fold]
) -> Iterator[tuple[str, str]]:
    """Word what every table must say of a cell, each with the corpus it is about, if any; some are empty.

    What copies of the corpora miss is another field of the record.
    """
    task, protocol = question.task, question.protocol
    used = {source for _, sources in task.merges for source in sources}
    for data in question.corpora:
        if data in question.tested:
            yield data.name, data.note
            if task.target not in OF_PEOPLE:
                yield data.name, confounded(rows[rows["corpus"] == data.name], data.corpus.person_field)
        yield from ((data.name, note) for note in task.notes(data.index, data.corpus))
        if protocol.is_across and task.target == "emotion" and used:
            counts = data.index["emotion"].value_counts()
            dropped = [f"{emotion} ({n})" for emotion, n in sorted(counts.items()) if emotion not in used]
            yield data.name, f"dropped {listed(dropped)}" if dropped else ""
        yield from ((data.name, note) for note in _left_out(data, task))
        if data in question.others:
            n = int((~rows["present"] & (rows["corpus"] == data.name)).sum())
            yield data.name, f"{n} utterances have no features and do not train" if n else ""
    yield from (("", note) for note in shared)
    for data in question.tested:
        words = protocol.independence_of(data.corpus.person_field)
        yield data.name, words if words != protocol.independence else ""
        if protocol.needs == "partition":
            yield from ((data.name, note) for note in partition_notes(data.index, data.corpus, question.partition))
    if protocol.holds_out_texts:
        divided = rows[rows["present"]].set_index("utterance")
        n_others = len(divided) - divided["group"].map(divided["group"].value_counts()).astype(int)
        left = sum(len(fold.train.utterances) for fold in folds) / sum(n_others[fold.test[0]] for fold in folds)
        what = f"{divided['group'].nunique()} groups of speakers x {divided['text_group'].nunique()} of texts"
        yield "", f"{what}, which leaves {left:.0%} of the other speakers' utterances to train on"
        if question.scaling == "speaker":
            yield "", "speakers are scaled on their utterances of the texts held out too"


def _left_out(data: CorpusData, task: EmotionTask) -> Iterator[str]:
    """Word how many utterances of the task take no part as they are copies, or as they are digital silence."""
    selected = task.select(data.index, data.corpus)
    silent = selected[selected["duplicate"] == SILENCE]
    if n_copies := int(selected["duplicate"].notna().sum()) - len(silent):
        yield f"{n_copies} utterances are copies of other speakers' recordings and take no part"
    if len(silent):
        is_cut = "whole" in selected
        gone = set(silent["whole"]) - set(selected["whole"].drop(silent.index)) if is_cut else set()
        left = f"; nothing else is left of {listed(sorted(gone))}" if gone else ""
        yield f"{len(silent)} {'pieces' if is_cut else 'utterances'} are digital silence and take no part{left}"
