"""How a corpus divides: into published partitions, and into groups of sentences that are held out together.

In acted corpora all speakers say the same few sentences. Groups of texts depend on the index of the whole corpus alone,
dropped emotions included: never on a task, a seed or the order of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from serbench.corpora.entry import Corpus, Partition
from serbench.errors import CorpusError, Fault, ProtocolError, UnknownNameError, did_you_mean, listed

if TYPE_CHECKING:
    import pandas as pd

MOST_TEXT_GROUPS = 5
"""Groups that the texts of a corpus are dealt into at most: each one takes a fifth of the training data."""


def partition_of(index: pd.DataFrame, corpus: Corpus, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Divide a corpus as a published partition does.

    Parameters
    ----------
    index : the whole corpus, dropped emotions too. Utterances of neither side are left out.

    Returns
    -------
    Sorted ids to train on, and sorted ids to test.

    Raises
    ------
    UnknownNameError : the entry has no partition of this name.
    CorpusError : a field of which no utterance has one of the values, or a side without utterances.
    ProtocolError : an utterance or a person is on both sides.
    """
    partition, where = _partition(corpus, name), f"{corpus.name}.partitions.{name}"
    test = _having(index, partition.test, where=f"{where}.test")
    train = _having(index, partition.train, where=f"{where}.train") if partition.train else ~test
    for side, chosen in (("train", train), ("test", test)):
        if not chosen.any():
            raise CorpusError([Fault(f"{where}.{side}", "no utterance has these values together", "some")])
    if (train & test).any():
        twice = index["utterance"][train & test]
        raise ProtocolError(where, f"{len(twice)} utterances on both sides ({listed(twice)})", "each on one")
    people = index[corpus.person]
    both = sorted(set(people[train].dropna()) & set(people[test].dropna()))
    if both:
        found = f"{len(both)} {corpus.person}s on both sides ({listed(both)})"
        raise ProtocolError(where, found, f"each {corpus.person} on one: scores of known voices are too high")
    return tuple(sorted(index["utterance"][train])), tuple(sorted(index["utterance"][test]))


def partition_notes(index: pd.DataFrame, corpus: Corpus, name: str) -> list[str]:
    """Return the notes of a partition for a table: its own, and values that no utterance here has."""
    partition = _partition(corpus, name)
    notes = [partition.note] if partition.note else []
    for side, fields in (("train", partition.train), ("test", partition.test)):
        absent = {field: _absent(index, field, values) for field, values in fields.items()}
        notes += [f"no utterance of {field} {listed(values)} to {side}" for field, values in absent.items() if values]
    return [f"partition {name}: {note}" for note in notes]


def _partition(corpus: Corpus, name: str) -> Partition:
    if name not in corpus.partitions:
        raise UnknownNameError(f"partition of {corpus.name}", name, corpus.partitions)
    return corpus.partitions[name]


def _having(index: pd.DataFrame, fields: Mapping[str, Sequence[str]], *, where: str) -> pd.Series:
    """Mark the utterances that have one of the values of each field."""
    chosen = index["utterance"].notna()
    for field, values in fields.items():
        written, absent = as_written(index, field), _absent(index, field, values)
        if len(absent) == len(set(values)):
            there = sorted(written.dropna().unique())
            todo = did_you_mean(absent[0], there) or f"There are {listed(there) or 'none'}"
            raise CorpusError([Fault(f"{where}.{field}", f"no utterance of {listed(absent)}", "some", todo)])
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
    """Deal the texts of a corpus into groups of much the same number of utterances, the most frequent texts first.

    Parameters
    ----------
    index : the whole corpus.

    Returns
    -------
    The name of each utterance's group of texts, `texts1` and so on.

    Raises
    ------
    ProtocolError : an utterance has no text, there are fewer than two texts, or each emotion has texts of its own.
    """
    from serbench.corpora.people import confounded  # brings pandas, which the command line starts without

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
