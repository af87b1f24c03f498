"""People of several corpora: who is one person, by what entries declare and by recordings that corpora share.

Corpora whose entries name each other under `shares_speakers_with` have one namespace: speakers of one name are one
person. A byte-identical recording shows the same of two speakers, whatever they are called. Without a declaration it is
refused, because it is evidence for its own speakers and not for the others.
"""

from __future__ import annotations

import pandas as pd

from serbench.corpora.entry import Corpus
from serbench.corpora.index import is_silence
from serbench.errors import ProtocolError, listed


def shared_recordings(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose recording another corpus has too, sorted by recording; digital silence is no evidence."""
    known = rows[rows["audio_hash"].notna() & rows["audio_hash"].duplicated(keep=False)]
    known = known[~is_silence(known)]
    n_corpora = known.groupby("audio_hash")["corpus"].transform("nunique")
    return known[n_corpora > 1].sort_values(["audio_hash", "corpus", "utterance"], ignore_index=True)


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
    _check_declared(shared)
    name_of = {person: person for person in utterances["person"].unique()}
    for _, people in shared.groupby("audio_hash")["person"]:
        same = {name_of[person] for person in people}
        name_of = {person: min(same) if name in same else name for person, name in name_of.items()}
    return utterances.assign(person=utterances["person"].map(name_of))


def _check_declared(shared: pd.DataFrame) -> None:
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
