"""How a corpus divides: into published partitions, and into groups of sentences that are held out together.

In acted corpora all speakers say the same few sentences. Groups of texts depend on the index of the whole corpus alone,
dropped emotions included: never on a task, a seed or the order of rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from serbench.corpora.entry import Corpus, Partition
from serbench.errors import CorpusError, Fault, ProtocolError, UnknownNameError, did_you_mean, listed

if TYPE_CHECKING:
    import pandas as pd


def find_partition(corpus: Corpus, name: str) -> Partition:
    """Return a partition of a corpus; `UnknownNameError` suggests the nearest."""
    if name not in corpus.partitions:
        raise UnknownNameError(f"partition of {corpus.name}", name, corpus.partitions)
    return corpus.partitions[name]


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
    partition = find_partition(corpus, name)
    where = f"{corpus.name}.partitions.{name}"
    test = _having(index, partition.test, where=f"{where}.test")
    train = _having(index, partition.train, where=f"{where}.train") if partition.train else ~test
    for side, chosen in (("train", train), ("test", test)):
        if not chosen.any():
            raise CorpusError([Fault(f"{where}.{side}", "no utterance has these values together", "some")])
    if (train & test).any():
        twice = index["utterance"][train & test]
        raise ProtocolError(where, f"{len(twice)} utterances on both sides ({listed(twice)})", "each on one")
    _check_people(index, train, test, corpus.person, where)
    return tuple(sorted(index["utterance"][train])), tuple(sorted(index["utterance"][test]))


def partition_notes(index: pd.DataFrame, corpus: Corpus, name: str) -> list[str]:
    """Word what a table of a partition must tell: its own note, and values that no utterance here has."""
    partition = find_partition(corpus, name)
    notes = [f"partition {name}: {partition.note}"] if partition.note else []
    for side, fields in (("train", partition.train), ("test", partition.test)):
        for field, absent in _absent(index, fields):
            if absent:
                notes.append(f"partition {name}: no utterance of {field} {listed(absent)} to {side}")
    return notes


def _having(index: pd.DataFrame, fields: Mapping[str, Sequence[str]], *, where: str) -> pd.Series:
    """Tell which utterances have one of the values of each field."""
    for field, absent in _absent(index, fields):
        if len(absent) == len(set(fields[field])):
            there = sorted(_written(index, field).dropna().unique())
            todo = did_you_mean(absent[0], there) or f"There are {listed(there) or 'none'}"
            raise CorpusError([Fault(f"{where}.{field}", f"no utterance of {listed(absent)}", "some", todo)])
    chosen = index["utterance"].notna()
    for field, values in fields.items():
        chosen &= _written(index, field).isin(values).fillna(False).astype(bool)
    return chosen


def _absent(index: pd.DataFrame, fields: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, list[str]]]:
    """Yield each field with the values that no utterance has."""
    for field, values in fields.items():
        there = set(_written(index, field).dropna())
        yield field, [value for value in dict.fromkeys(values) if value not in there]


def _written(index: pd.DataFrame, field: str) -> pd.Series:
    """Return a column as entries write it: speakers without their corpus."""
    values = index[field].astype("string")
    return values.str.partition("/")[2] if field == "speaker" else values


def _check_people(index: pd.DataFrame, train: pd.Series, test: pd.Series, person: str, where: str) -> None:
    both = sorted(set(index[person][train].dropna()) & set(index[person][test].dropna()))
    if both:
        found = f"{len(both)} {person}s on both sides ({listed(both)})"
        raise ProtocolError(where, found, f"each {person} on one: scores of known voices are too high")


MOST_TEXT_GROUPS = 5
"""Groups that the texts of a corpus are dealt into at most: each one takes a fifth of the training data."""


def sentences(index: pd.DataFrame) -> pd.Series[str]:
    """Return the `text` of each utterance, worded so that case and blanks do not tell two sentences apart."""
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
    ProtocolError : an utterance has no text, there are fewer than two, or texts tell emotions.
    """
    _check_all_have_text(index, corpus)
    texts = sentences(index)
    counts = texts.value_counts()
    if len(counts) < 2:
        raise ProtocolError(_where(corpus), f"one text only ('{counts.index[0]}')", "at least two, to hold one out")
    _check_not_confounded(index.assign(text=texts), corpus)
    totals = [0] * min(MOST_TEXT_GROUPS, len(counts))
    group_of: dict[str, str] = {}
    for text in sorted(counts.index, key=lambda text: (-counts[text], text)):
        smallest = totals.index(min(totals))
        totals[smallest] += int(counts[text])
        group_of[text] = f"texts{smallest + 1}"
    return dict(zip(index["utterance"], texts.map(group_of), strict=True))


def _where(corpus: str) -> str:
    return f"{corpus}, --text-independent"


def _check_all_have_text(index: pd.DataFrame, corpus: str) -> None:
    todo = "Add a `text` group to the pattern in corpora.yaml, or a `text` column where the labels are a table"
    if "text" not in index:
        raise ProtocolError(_where(corpus), "its entry tells no texts", "what each utterance says", todo)
    unknown = sentences(index).fillna("") == ""
    if unknown.any():
        first = index["utterance"][unknown].iloc[0]
        found = f"{unknown.sum()} of {len(index)} utterances without text (first {first})"
        raise ProtocolError(_where(corpus), found, "what each utterance says", todo)


def _check_not_confounded(index: pd.DataFrame, corpus: str) -> None:
    """Refuse a corpus whose emotions have sentences of their own: holding these out would take the emotion along."""
    from serbench.corpora.people import confounded  # brings pandas, which the command line starts without

    found = confounded(index[index["emotion"].notna()], "text")
    if found:
        raise ProtocolError(_where(corpus), found, "texts that are said in several emotions", "Use --protocol within")
