"""People of several corpora: who is one person, by what entries declare and by recordings that corpora share.

Corpora whose entries name each other under `shares_speakers_with` have one namespace: speakers of one name are one
person. A byte-identical recording shows the same of two speakers, whatever they are called; without a declaration it
is refused, as it tells of the speakers that it has and not of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

from serbench.corpora.entry import Corpus
from serbench.corpora.index import is_silence
from serbench.errors import ProtocolError, listed

_RECORDING = ("audio_hash", "duration_s", "sampling_rate", "channels", "start_s", "end_s")


@dataclass(frozen=True, slots=True)
class Spoken:
    """Who speaks in a corpus: its index, the field that keeps its people apart, and whom it shares speakers with."""

    corpus: str
    index: pd.DataFrame
    person: str
    namespace: str


def rows_of_all(corpora: Iterable[Spoken]) -> pd.DataFrame:
    """Join corpora: one row per utterance with its corpus, its person, and what its recording is told apart by."""
    return pd.concat([_rows(one) for one in corpora], ignore_index=True)


def _rows(one: Spoken) -> pd.DataFrame:
    names = one.index[one.person].astype(str).str.removeprefix(f"{one.corpus}/")
    kept = one.index.reindex(columns=[*_RECORDING, "utterance"])
    return kept.assign(who=f"{one.namespace}/" + names, corpus=one.corpus, namespace=one.namespace)


def shared_recordings(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose recording another corpus has too, sorted by recording; digital silence is no evidence."""
    known = rows[rows["audio_hash"].notna() & rows["audio_hash"].duplicated(keep=False)]
    known = known[~is_silence(known)]
    n_corpora = known.groupby("audio_hash")["corpus"].transform("nunique")
    return known[n_corpora > 1].sort_values(["audio_hash", "corpus", "utterance"], ignore_index=True)


def check_declared(shared: pd.DataFrame) -> None:
    """Check that corpora which share recordings say whose speakers they share.

    Raises
    ------
    ProtocolError : with how many recordings, examples, and the key that declares it.
    """
    undeclared = shared[shared.groupby("audio_hash")["namespace"].transform("nunique") > 1]
    if undeclared.empty:
        return
    pairs = [" = ".join(of) for _, of in undeclared.groupby("audio_hash")["utterance"]]
    one, *others = sorted(undeclared["corpus"].unique())
    found = f"{len(pairs)} recordings are in more than one corpus ({listed(sorted(pairs))}), so speakers are shared"
    todo = f"Add `shares_speakers_with: [{one}]` to the entry of {' and '.join(others)} in corpora.yaml: speakers of "
    todo += "one name then count as one person, who does not train where she or he is tested. Or leave one corpus out"
    raise ProtocolError(f"{one} and {listed(others)}", found, "speakers of their own, or a declaration", todo)


def same_people(rows: pd.DataFrame, shared: pd.DataFrame) -> dict[str, str]:
    """Return utterance -> person, one name for what a namespace or a recording shows to be one person."""
    leader = {who: who for who in rows["who"].unique()}

    def first(who: str) -> str:
        while leader[who] != who:
            who = leader[who]
        return who

    for _, people in shared.groupby("audio_hash")["who"]:
        least, *others = sorted({first(who) for who in people})
        leader.update(dict.fromkeys(others, least))
    return dict(zip(rows["utterance"], rows["who"].map({who: first(who) for who in leader}), strict=True))


def check_distinct(people: Sequence[str], same: Sequence[str]) -> None:
    """Check that no two people who are tested in one cell are one person.

    Raises
    ------
    ProtocolError : with those that are.
    """
    names: dict[str, set[str]] = {}
    for who, person in zip(people, same, strict=True):
        names.setdefault(person, set()).add(who)
    twins = sorted(" = ".join(sorted(of)) for of in names.values() if len(of) > 1)
    if twins:
        todo = "Give the person one name in the entry, or leave a corpus out"
        raise ProtocolError("speakers tested", f"one person under several names: {listed(twins)}", "one name", todo)


def confounded(index: pd.DataFrame, person: str) -> str:
    """Word that at least half of the people have one emotion only; empty where fewer have."""
    emotions = index.groupby(person)["emotion"].nunique()
    single = int((emotions == 1).sum())
    if single * 2 < len(emotions) or not single:
        return ""
    return f"{person} and emotion are confounded ({single} of {len(emotions)} have one emotion only)"


def with_people(index: pd.DataFrame, corpus: Corpus, *, namespace: str = "") -> pd.DataFrame:
    """Add who speaks to the utterances of a corpus: the columns `who`, `namespace` and `person`.

    `who` names the speaker (or the voice) with the corpus, as results show them. `person` names them with the
    namespace of the corpus, so that speakers of one name are one person in corpora that share speakers.

    Parameters
    ----------
    namespace : see `Catalogue.namespace`; empty for a corpus that shares its speakers with none.
    """
    names = index[corpus.person].astype(str).str.removeprefix(f"{corpus.name}/")
    shared = namespace or corpus.name
    return index.assign(who=f"{corpus.name}/" + names, namespace=shared, person=f"{shared}/" + names)


def one_person_each(utterances: pd.DataFrame) -> pd.DataFrame:
    """Give each person one name in the column `person`, where a recording shows that two names are one person.

    Parameters
    ----------
    utterances : of all corpora of a cell, from `with_people`, dropped emotions included.

    Raises
    ------
    ProtocolError : corpora share recordings, and no entry says that they share speakers.
    """
    shared = shared_recordings(utterances)
    check_declared(shared)
    name_of = {person: person for person in utterances["person"].unique()}
    for _, people in shared.groupby("audio_hash")["person"]:
        same = {name_of[person] for person in people}
        name_of = {person: min(same) if name in same else name for person, name in name_of.items()}
    return utterances.assign(person=utterances["person"].map(name_of))


def is_copy_of_earlier(utterances: pd.DataFrame) -> pd.Series[bool]:
    """Tell, row by row, recordings that an earlier corpus of the table has too, byte by byte.

    Nobody may be tested on what has trained. Corpora that are tested come first, so their recordings stay.
    """
    first = utterances.groupby("audio_hash")["corpus"].transform("first")
    return first.notna() & (first != utterances["corpus"])


def check_tested_people(tested: pd.DataFrame) -> None:
    """Check that nobody is tested under two names, by the columns `who` and `person`.

    Raises
    ------
    ProtocolError : with the people who are.
    """
    names = tested.groupby("person")["who"].unique()
    twins = sorted(" = ".join(sorted(of)) for of in names if len(of) > 1)
    if twins:
        todo = "Give the person one name in the entry, or leave a corpus out"
        raise ProtocolError("speakers tested", f"one person under several names: {listed(twins)}", "one name", todo)
