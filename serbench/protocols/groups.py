"""An index -> its test groups: people who are tested together, and what utterances are independent by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from serbench.corpora.divisions import text_groups
from serbench.corpora.entry import Corpus
from serbench.errors import ProtocolError
from serbench.protocols.evaluation import Group

if TYPE_CHECKING:
    import pandas as pd

NAMED_AT_MOST = 3
"""People whose names make the name of their group; a larger group is named after its first."""


def test_groups(index: pd.DataFrame, corpus: Corpus) -> list[Group]:
    """Divide all utterances of a corpus into its test groups.

    Parameters
    ----------
    index : the whole corpus, dropped emotions too, so that the grouping is the same for every task.

    Raises
    ------
    ProtocolError : a person is unknown, or there are fewer people than groups.
    """
    for kept_apart in (corpus.person, corpus.folds.by):
        unknown = index[kept_apart].isna()
        if unknown.any():
            first = index["utterance"][unknown].iloc[0]
            raise ProtocolError(
                corpus.name, f"{unknown.sum()} utterances without {kept_apart} (first {first})", "all known"
            )
    groups = [_group(index, corpus.folds.by, members) for members in _members(index, corpus)]
    if len({group.name for group in groups}) < len(groups):
        raise ProtocolError(f"{corpus.name}.folds", "two test groups of one name", "distinct names of people")
    return groups


def independent_units(index: pd.DataFrame, person: str = "speaker") -> tuple[str, dict[str, str]]:
    """Say what the utterances of a corpus are independent by, and which of these each utterance belongs to.

    Returns
    -------
    `session` where speakers talk to each other, else the kind of person that is kept apart; utterance -> its unit.
    """
    sessions = _sessions(index) if person == "speaker" else []
    field = "session" if sessions else person
    return field, dict(zip(index["utterance"], index[field].astype(str), strict=True))


def groups_with_texts(index: pd.DataFrame, corpus: Corpus) -> list[Group]:
    """Divide all utterances of a corpus into its test groups, as `test_groups` does, and its texts into theirs.

    Raises
    ------
    ProtocolError : as `test_groups`, and where texts are unknown, one only, or tell emotions.
    """
    texts = text_groups(index, corpus.name)
    return [replace(group, texts={u: texts[u] for u in group.utterances}) for group in test_groups(index, corpus)]


def _members(index: pd.DataFrame, corpus: Corpus) -> list[list[str]]:
    """People (or other values of `folds.by`) of each test group."""
    folds = corpus.folds
    if folds.by == "speaker" and folds.groups is not None:
        return _balanced(index, folds.groups, corpus.name)
    if folds.by == "speaker" and folds.leave_out == 2:
        return _pairs(index)
    return [[value] for value in sorted(index[folds.by].unique())]


def restrict(groups: Sequence[Group], utterances: set[str]) -> list[Group]:
    """Keep only some utterances of every group; groups may become empty."""
    return [replace(g, utterances=tuple(u for u in g.utterances if u in utterances)) for g in groups]


def _group(index: pd.DataFrame, field: str, members: Sequence[str]) -> Group:
    rows = index[index[field].isin(members)]
    sexes = set(rows["gender"].dropna()) if "gender" in rows else set()
    short = [member.removeprefix(f"{rows['corpus'].iloc[0]}/") for member in sorted(members)]
    name = "+".join(short) if len(short) <= NAMED_AT_MOST else f"{short[0]}+{len(short) - 1}more"
    return Group(name, sexes.pop() if len(sexes) == 1 else "mixed", tuple(sorted(rows["utterance"])))


def _sex_of(index: pd.DataFrame) -> dict[str, str]:
    if "gender" not in index:
        return dict.fromkeys(index["speaker"].unique(), "")
    return dict(index.groupby("speaker", sort=True)["gender"].agg(lambda genders: next(iter(genders.dropna()), "")))


def _pairs(index: pd.DataFrame) -> list[list[str]]:
    """Pairs of speakers: the session where two talk to each other, else one female and one male."""
    sessions = _sessions(index)
    if sessions:
        return sessions
    sex = _sex_of(index)
    by_sex = {wanted: sorted(s for s in sex if sex[s] == wanted) for wanted in ("female", "male")}
    pairs = [list(pair) for pair in zip(by_sex["female"], by_sex["male"], strict=False)]
    left = sorted(set(sex) - {speaker for pair in pairs for speaker in pair})
    pairs += [left[i : i + 2] for i in range(0, len(left) - 1, 2)]
    if len(left) % 2:
        odd = left[-1]
        pairs = [*pairs[:-1], [*pairs[-1], odd]] if pairs else [[odd]]
    return pairs


def _sessions(index: pd.DataFrame) -> list[list[str]]:
    """People of each recording session, where somebody talks to somebody and nobody is in two sessions."""
    if "session" not in index or index["session"].isna().any():
        return []
    if (index.groupby("speaker")["session"].nunique() > 1).any():
        return []
    members = [sorted(speakers.unique()) for _, speakers in index.groupby("session", sort=True)["speaker"]]
    return members if any(len(speakers) > 1 for speakers in members) else []


def _balanced(index: pd.DataFrame, n_groups: int, corpus: str) -> list[list[str]]:
    """Deal speakers into groups of much the same make-up of sex and emotion, the largest speakers first."""
    sex = _sex_of(index)
    if len(sex) < n_groups:
        raise ProtocolError(f"{corpus}.folds.groups", f"{n_groups} groups of {len(sex)} speakers", "fewer groups")
    made_of: dict[str, Counter[tuple[str, str]]] = {speaker: Counter() for speaker in sex}
    for speaker, emotion in zip(index["speaker"], index["emotion"].fillna(""), strict=True):
        made_of[speaker][sex[speaker], emotion] += 1
    members: list[list[str]] = [[] for _ in range(n_groups)]
    totals: list[Counter[tuple[str, str]]] = [Counter() for _ in range(n_groups)]
    for speaker in sorted(made_of, key=lambda s: (-made_of[s].total(), s)):
        own = made_of[speaker]
        grown = [sum((total[kind] + n) ** 2 - total[kind] ** 2 for kind, n in own.items()) for total in totals]
        chosen = min(range(n_groups), key=lambda i: (bool(members[i]), grown[i], i))
        members[chosen].append(speaker)
        totals[chosen] += own
    return [sorted(group) for group in members]
