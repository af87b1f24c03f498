"""An index -> its test groups: people who are tested together, and what utterances are independent by."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from serbench.corpora.divisions import text_groups
from serbench.errors import ProtocolError

if TYPE_CHECKING:
    import pandas as pd

    from serbench.corpora.entry import Corpus

NAMED_AT_MOST = 3  # people whose names make the name of their group; a larger group is named after its first


def add_groups(index: pd.DataFrame, corpus: Corpus, *, with_texts: bool = False) -> pd.DataFrame:
    """Add the test `group` of every utterance to an index: categories in the order of folds.

    The index is that of the whole corpus, dropped emotions too, so that the grouping is the same for every task. Other
    columns are `sex` (of the group, or `mixed`) and, `with_texts`, `text_group`. `ProtocolError` where a person is
    unknown, there are fewer people than groups, or texts are unknown or tell emotions.
    """
    import pandas as pd

    for kept_apart in (corpus.person_field, corpus.folds.by):
        unknown = index[kept_apart].isna()
        if unknown.any():
            first = index["utterance"][unknown].iloc[0]
            found = f"{unknown.sum()} utterances without {kept_apart} (first {first})"
            raise ProtocolError(corpus.name, found, "all known")
    folds, by = corpus.folds, corpus.folds.by
    groups = [[value] for value in sorted(index[by].unique())]
    if by == "speaker" and folds.groups is not None:
        groups = _balanced(index, folds.groups, corpus.name)
    elif by == "speaker" and folds.leave_out == 2:
        groups = _pairs(index)
    names: dict[str, str] = {}
    for members in groups:
        short = [member.removeprefix(f"{corpus.name}/") for member in sorted(members)]
        name = "+".join(short) if len(short) <= NAMED_AT_MOST else f"{short[0]}+{len(short) - 1}more"
        if name in names.values():
            raise ProtocolError(f"{corpus.name}.folds", "two test groups of one name", "distinct names of people")
        names |= dict.fromkeys(members, name)
    group = pd.Categorical(index[by].map(names), categories=list(dict.fromkeys(names.values())))
    grouped = index.assign(group=group, sex="mixed")
    if "gender" in index:
        sexes = grouped.dropna(subset="gender").groupby("group", observed=True)["gender"].agg(["first", "nunique"])
        sex_of = sexes["first"][sexes["nunique"] == 1].to_dict()
        grouped["sex"] = [sex_of.get(name, "mixed") for name in group]
    return grouped.assign(text_group=index["utterance"].map(text_groups(index, corpus.name))) if with_texts else grouped


def independent_unit(index: pd.DataFrame, person: str = "speaker") -> str:
    """Return the column that utterances are independent by: `session` where speakers talk to each other."""
    return "session" if person == "speaker" and _sessions(index) else person


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
