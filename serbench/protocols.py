"""Protocols: an index -> `Evaluation`s, sets of utterance ids to train on, to test on, and to choose settings on.

A protocol sees labels and metadata, never features. What it yields depends on the catalogue and the ids alone, not on
a seed, nor on the order of rows. Training and test sets never share a person; those of `within-text` share no text
either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from serbench.corpora.schema import Corpus
from serbench.corpora.texts import text_groups
from serbench.errors import ProtocolError, UnknownNameError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

INNER_ALL_UP_TO = 12
"""Groups up to which `--inner auto` validates every group; above, `INNER_ABOVE` neighbours."""
INNER_ABOVE = 4
NAMED_AT_MOST = 3
"""People whose names make the name of their group; a larger group is named after its first."""
INNER_NEEDS = 3
"""Groups that inner validation needs: one to test, one to validate, one to train on."""


@dataclass(frozen=True, slots=True)
class TrainingSet:
    """Sorted utterance ids to train on, and their weights (None: all the same)."""

    utterances: tuple[str, ...]
    weights: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True)
class Validation:
    """An inner validation: train without the outer test group, predict `test` to compare settings."""

    name: str
    train: TrainingSet
    test: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One test group: what is trained on, what is tested, and the validations that choose its setting."""

    name: str
    train: TrainingSet
    test: tuple[str, ...]
    inner: tuple[Validation, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Utterances of speakers tested together, `sex` being that of all these or `mixed`.

    `texts` names the group of texts of each utterance, where a protocol holds out texts too.
    """

    name: str
    sex: str
    utterances: tuple[str, ...]
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class InnerRule:
    """How settings are chosen: `all` groups, so many `neighbours` on the ring, or `none` for a `reason`."""

    name: str
    reason: str = ""

    @property
    def neighbours(self) -> int | None:
        """Groups each group is validated on, or None for all."""
        return int(self.name) if self.name.isdecimal() else None


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


def check_inner(requested: str) -> None:
    """Check that `--inner` is auto, all, none or an even number.

    Raises
    ------
    ProtocolError : anything else, or an odd number: only an even ring is symmetric.
    """
    if requested not in ("auto", "all", "none") and not (requested.isdecimal() and int(requested) >= 2):
        todo = did_you_mean(requested, ("auto", "all", "none"))
        raise ProtocolError("--inner", f"'{requested}'", "auto, all, none, or an even number of groups", todo)
    if requested.isdecimal() and int(requested) % 2:
        raise ProtocolError("--inner", requested, "an even number, half of it on each side of the ring")


def inner_rule(requested: str, n_groups: int) -> InnerRule:
    """Resolve `--inner auto|all|K|none` for a number of groups.

    >>> inner_rule("auto", 10), inner_rule("auto", 32).neighbours
    (InnerRule(name='all', reason=''), 4)
    """
    check_inner(requested)
    if requested == "none":
        return InnerRule("none", "--inner none")
    if n_groups < INNER_NEEDS:
        return InnerRule("none", f"{n_groups} test groups; choosing settings needs {INNER_NEEDS}")
    if requested == "auto":
        requested = "all" if n_groups <= INNER_ALL_UP_TO else str(INNER_ABOVE)
    return InnerRule("all" if requested.isdecimal() and int(requested) >= n_groups - 1 else requested)


def ring(groups: Sequence[Group]) -> list[Group]:
    """Order groups on a ring: by name within each sex, the sexes interleaved evenly."""
    placed = []
    for sex in sorted({group.sex for group in groups}):
        same = sorted((g for g in groups if g.sex == sex), key=lambda g: g.name)
        placed += [((i + 0.5) / len(same), sex, group.name, group) for i, group in enumerate(same)]
    return [group for *_, group in sorted(placed, key=lambda place: place[:3])]


def within(groups: Sequence[Group], rule: InnerRule) -> list[Evaluation]:
    """Test each group on a model trained on all others; choose its setting by inner validation over those others."""
    filled = [group for group in groups if group.utterances]
    if len(filled) < 2:
        raise ProtocolError("within", f"{len(filled)} test group with utterances", "at least two people to keep apart")
    validated = _validated_groups(filled, rule)
    return [
        Evaluation(
            name=outer.name,
            train=_all_but(filled, outer),
            test=outer.utterances,
            inner=tuple(
                Validation(inner.name, _all_but(filled, outer, inner), inner.utterances)
                for inner in validated[outer.name]
            ),
        )
        for outer in filled
    ]


def within_text(groups: Sequence[Group], rule: InnerRule) -> list[Evaluation]:
    """Test each group's utterances of each group of texts on a model of the other groups' other texts.

    A setting is chosen by validation over the other groups as in `within`, but nothing that says a text of the test is
    trained on or validated. Validations are speaker-independent; they do not hold out further texts, as two texts
    (RAVDESS) leave none. What validates group i for o and what validates o for i, both without one group of texts,
    have one training set: K groups and G groups of texts take G (K (K - 1) / 2 + K) jobs.
    """
    filled = [group for group in groups if group.utterances]
    texts = sorted({group.texts[u] for group in filled for u in group.utterances})
    if len(filled) < 2 or len(texts) < 2:
        found = f"test groups with utterances: {len(filled)}, groups of texts: {len(texts)}"
        raise ProtocolError("within-text", found, "at least two people and two texts to keep apart")
    validated = _validated_groups(filled, rule)
    rest = {text: {group.name: _saying(group, *(t for t in texts if t != text)) for group in filled} for text in texts}
    evaluations = [
        _held_out(_saying(outer, text), text, rest[text], validated[outer.name]) for outer in filled for text in texts
    ]
    return [evaluation for evaluation in evaluations if evaluation.test]


def _saying(group: Group, *texts: str) -> Group:
    """Keep the utterances of a group that say texts of some groups of texts."""
    return replace(group, utterances=tuple(u for u in group.utterances if group.texts[u] in texts))


def _held_out(outer: Group, text: str, rest: Mapping[str, Group], validated: Sequence[Group]) -> Evaluation:
    """Test a group on one group of texts; `rest` is what each group says beside it."""
    others, own = list(rest.values()), rest[outer.name]
    inner = [rest[group.name] for group in validated]
    return Evaluation(
        name=f"{outer.name}/{text}",
        train=_all_but(others, own),
        test=outer.utterances,
        inner=tuple(
            Validation(f"{one.name} without {text}", _all_but(others, own, one), one.utterances)
            for one in inner
            if one.utterances
        ),
    )


@dataclass(frozen=True, slots=True)
class Protocol:
    """A protocol as the command line names it: how it groups a whole corpus, and what it evaluates.

    `title` and `independence` are for readers; `option` is what asks `serbench grid` for it. Where `holds_out_texts`,
    the plan is checked for texts on both sides too.
    """

    name: str
    title: str
    independence: str
    groups: Callable[[pd.DataFrame, Corpus], list[Group]]
    evaluations: Callable[[Sequence[Group], InnerRule], list[Evaluation]]
    option: str = ""
    holds_out_texts: bool = False


PROTOCOLS: dict[str, Protocol] = {
    "within": Protocol(
        name="within",
        title="each test group against the rest of its corpus",
        independence="speaker-independent",
        groups=test_groups,
        evaluations=within,
    ),
    "within-text": Protocol(
        name="within-text",
        title="each test group's utterances of some texts against the others' of all other texts (fewer to train on)",
        independence="speaker- and text-independent",
        groups=groups_with_texts,
        evaluations=within_text,
        option="--text-independent",
        holds_out_texts=True,
    ),
}


def find_protocol(name: str) -> Protocol:
    """Return a protocol by name; `UnknownNameError` suggests the nearest."""
    if name not in PROTOCOLS:
        raise UnknownNameError("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def restrict(groups: Sequence[Group], utterances: set[str]) -> list[Group]:
    """Keep only some utterances of every group; groups may become empty."""
    return [replace(g, utterances=tuple(u for u in g.utterances if u in utterances)) for g in groups]


def _validated_groups(groups: Sequence[Group], rule: InnerRule) -> dict[str, list[Group]]:
    if rule.name == "none":
        return {group.name: [] for group in groups}
    if rule.neighbours is None:
        return {outer.name: [g for g in groups if g is not outer] for outer in groups}
    circle = ring(groups)
    steps = [step for k in range(1, rule.neighbours // 2 + 1) for step in (-k, k)]
    return {g.name: [circle[(i + step) % len(circle)] for step in steps] for i, g in enumerate(circle)}


def _all_but(groups: Sequence[Group], *left_out: Group) -> TrainingSet:
    return TrainingSet(tuple(sorted(u for group in groups if group not in left_out for u in group.utterances)))


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
