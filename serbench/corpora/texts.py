"""Texts of a corpus: which utterances say the same sentence, and the groups of sentences that are held out together.

In acted corpora all speakers say the same few sentences. The groups depend on the index of the whole corpus alone,
dropped emotions included: never on a task, a seed or the order of rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from serbench.errors import ProtocolError

if TYPE_CHECKING:
    import pandas as pd

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
    from serbench.corpora.check import confounded  # brings pandas and soundfile, which the command line starts without

    found = confounded(index[index["emotion"].notna()], "text")
    if found:
        raise ProtocolError(_where(corpus), found, "texts that are said in several emotions", "Use --protocol within")
