"""What is held apart: the sides of published partitions, groups of sentences, and people, also across corpora.

Corpora whose entries name each other under `shares_speakers_with` have one namespace: speakers of one name are one
person. A byte-identical recording shows the same of two speakers; across corpora without a declaration it is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from serbench.errors import CorpusError, ProtocolError, UnknownNameError, did_you_mean, listed

if TYPE_CHECKING:
    import pandas as pd

    from serbench.corpora.entry import Corpus

MOST_TEXT_GROUPS = 5  # of a corpus: each one takes a fifth of the training data


def partition_of(index: pd.DataFrame, corpus: Corpus, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the sorted ids of a whole corpus that a published partition trains on, and those that it tests."""
    if name not in corpus.partitions:
        raise UnknownNameError(f"partition of {corpus.name}", name, corpus.partitions)
    partition, where = corpus.partitions[name], f"{corpus.name}.partitions.{name}"
    test = _having(index, partition.test, where=f"{where}.test")
    train = _having(index, partition.train, where=f"{where}.train") if partition.train else ~test
    for side, chosen in (("train", train), ("test", test)):
        if not chosen.any():
            raise CorpusError(f"{where}.{side}", "no utterance has these values together", "some")
    if (train & test).any():
        twice = index["utterance"][train & test]
        raise ProtocolError(where, f"{len(twice)} utterances on both sides ({listed(twice)})", "each on one")
    return tuple(sorted(index["utterance"][train])), tuple(sorted(index["utterance"][test]))


def partition_notes(index: pd.DataFrame, corpus: Corpus, name: str) -> list[str]:
    """Return the notes of a partition for a table: its own, and values that no utterance here has."""
    partition = corpus.partitions[name]
    notes = [partition.note] if partition.note else []
    for side, fields in (("train", partition.train), ("test", partition.test)):
        absent = {field: _absent(index, field, values) for field, values in fields.items()}
        notes += [f"no utterance of {field} {listed(values)} to {side}" for field, values in absent.items() if values]
    return [f"partition {name}: {note}" for note in notes]


def _having(index: pd.DataFrame, fields: Mapping[str, Sequence[str]], *, where: str) -> pd.Series:
    """Mark the utterances that have one of the values of each field."""
    chosen = index["utterance"].notna()
    for field, values in fields.items():
        written, absent = as_written(index, field), _absent(index, field, values)
        if len(absent) == len(set(values)):
            there = sorted(written.dropna().unique())
            todo = did_you_mean(absent[0], there) or f"There are {listed(there) or 'none'}"
            raise CorpusError(f"{where}.{field}", f"no utterance of {listed(absent)}", "some", todo)
        chosen &= written.isin(values).fillna(False).astype(bool)
    return chosen


def _absent(index: pd.DataFrame, field: str, values: Sequence[str]) -> list[str]:
    """Return the values that no utterance has."""
    there = set(as_written(index, field).dropna())
    return [value for value in dict.fromkeys(values) if value not in there]


def as_written(index: pd.DataFrame, field: str) -> pd.Series:
    """Return a column as entries and filters write it: speakers without their corpus."""
    values = index[field].astype("string")
    return values.str.partition("/")[2] if field == "speaker" else values


def sentences(index: pd.DataFrame) -> pd.Series[str]:
    """Return the `text` of each utterance, so that case and blanks make no difference between two sentences."""
    return index["text"].astype("string").str.casefold().str.split().str.join(" ")


def text_groups(index: pd.DataFrame, corpus: str) -> dict[str, str]:
    """Deal the texts of a whole corpus into groups (`texts1`, ...) of similar size, the most frequent texts first."""
    where, wanted = f"{corpus}, --text-independent", "what each utterance says"
    todo = "Add a `text` group to the pattern in corpora.yaml, or a `text` column where the labels are a table"
    if "text" not in index:
        raise ProtocolError(where, "its entry gives no texts", wanted, todo)
    texts = sentences(index)
    unknown = texts.fillna("") == ""
    if unknown.any():
        first = index["utterance"][unknown].iloc[0]
        found = f"{unknown.sum()} of {len(index)} utterances without text (first {first})"
        raise ProtocolError(where, found, wanted, todo)
    counts = texts.value_counts()
    if len(counts) < 2:
        raise ProtocolError(where, f"one text only ('{counts.index[0]}')", "at least two, to hold one out")
    labelled = index.assign(text=texts)[index["emotion"].notna()]
    if found := confounded(labelled, "text"):  # holding such texts out would take the emotion along
        raise ProtocolError(where, found, "texts that are said in several emotions", "Use --protocol within")
    totals = [0] * min(MOST_TEXT_GROUPS, len(counts))
    group_of: dict[str, str] = {}
    for text in sorted(counts.index, key=lambda text: (-counts[text], text)):
        smallest = totals.index(min(totals))
        totals[smallest] += int(counts[text])
        group_of[text] = f"texts{smallest + 1}"
    return dict(zip(index["utterance"], texts.map(group_of), strict=True))


def shared_recordings(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows whose recording another corpus has too, sorted by recording; digital silence is no evidence."""
    from serbench.corpora.index import is_silence  # brings soundfile, which the command line starts without

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
    """Add who speaks: `who` names them with the corpus, as results do, `person` with the namespace it shares."""
    names = index[corpus.person_field].astype(str).str.removeprefix(f"{corpus.name}/")
    shared = namespace or corpus.name
    return index.assign(who=f"{corpus.name}/" + names, namespace=shared, person=f"{shared}/" + names)


def one_person_each(utterances: pd.DataFrame) -> pd.DataFrame:
    """Give each person one name in the column `person`; a recording that two names share shows one person."""
    shared = shared_recordings(utterances)
    undeclared = shared[shared.groupby("audio_hash")["namespace"].transform("nunique") > 1]
    if len(undeclared):
        pairs = sorted(" = ".join(of) for _, of in undeclared.groupby("audio_hash")["utterance"])
        one, *others = sorted(undeclared["corpus"].unique())
        found = f"{len(pairs)} recordings are in more than one corpus ({listed(pairs)}), so speakers are shared"
        todo = f"Add `shares_speakers_with: [{one}]` to the entry of {' and '.join(others)} in corpora.yaml: speakers "
        todo += "of one name then count as one person. Or leave one corpus out"
        raise ProtocolError(f"{one} and {listed(others)}", found, "speakers of their own, or a declaration", todo)
    name_of = {person: person for person in utterances["person"].unique()}
    for _, people in shared.groupby("audio_hash")["person"]:
        same = {name_of[person] for person in people}
        name_of = {person: min(same) if name in same else name for person, name in name_of.items()}
    return utterances.assign(person=utterances["person"].map(name_of))


def is_copy_of_earlier(utterances: pd.DataFrame) -> pd.Series[bool]:
    """Tell, row by row, recordings that an earlier corpus of the table has too; tested corpora come first."""
    first = utterances.groupby("audio_hash")["corpus"].transform("first")
    return first.notna() & (first != utterances["corpus"])


def check_tested_people(tested: pd.DataFrame) -> None:
    """Check that nobody is tested under two names, by the columns `who` and `person`."""
    names = tested.groupby("person")["who"].unique()
    twins = sorted(" = ".join(sorted(of)) for of in names if len(of) > 1)
    if twins:
        todo = "Give the person one name in the entry, or leave a corpus out"
        raise ProtocolError("speakers tested", f"one person under several names: {listed(twins)}", "one name", todo)
