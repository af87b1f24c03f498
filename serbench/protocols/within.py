"""Protocols on one corpus: each test group against the rest, that rest without the texts tested, a named partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from serbench.errors import ProtocolError
from serbench.protocols.evaluation import Design, Evaluation, Group, InnerRule, TrainingSet, Validation
from serbench.protocols.inner import validated_groups


def within(groups: Sequence[Group], rule: InnerRule, *, also: Sequence[str] = ()) -> list[Evaluation]:
    """Test each group on a model trained on all others; choose its setting by inner validation over those others.

    Parameters
    ----------
    also : utterances of other corpora that every model trains on too.
    """
    filled = [group for group in groups if group.utterances]
    if len(filled) < 2:
        raise ProtocolError("within", f"{len(filled)} test group with utterances", "at least two people to keep apart")
    validated = validated_groups(filled, rule)
    return [
        Evaluation(
            name=outer.name,
            train=_all_but(filled, outer, also=also),
            test=outer.utterances,
            inner=tuple(
                Validation(inner.name, _all_but(filled, outer, inner, also=also), inner.utterances)
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
    validated = validated_groups(filled, rule)
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


def holdout(design: Design) -> list[Evaluation]:
    """Test the groups that a published partition holds out on a model of its training groups."""
    return against_rest(design.own.held_out, parts_of(design.own.groups), design.rule)


Parts = Mapping[str, tuple[str, ...]]
"""Parts of the training data that are validated in turn: name -> utterances."""


def parts_of(groups: Sequence[Group]) -> dict[str, tuple[str, ...]]:
    """Return the groups that have utterances as parts."""
    return {group.name: group.utterances for group in groups if group.utterances}


def against_rest(tested: Sequence[Group], parts: Parts, rule: InnerRule) -> list[Evaluation]:
    """Test groups on one model of all parts; its setting is chosen by validating each part on the others."""
    filled = [group for group in tested if group.utterances]
    if not filled or not parts:
        found = f"{len(filled)} groups with utterances to test, {len(parts)} to train on"
        todo = "For lolo, corpora in another language than the one tested are needed"
        raise ProtocolError("protocol", found, "some of both", todo)
    inner = tuple(Validation(name, _all_parts(parts, name), parts[name]) for name in parts if rule.name != "none")
    train = _all_parts(parts)
    return [Evaluation(group.name, train, group.utterances, inner) for group in filled]


def _all_parts(parts: Parts, *left_out: str) -> TrainingSet:
    return TrainingSet(tuple(sorted(u for name, part in parts.items() if name not in left_out for u in part)))


def _all_but(groups: Sequence[Group], *left_out: Group, also: Sequence[str] = ()) -> TrainingSet:
    own = [u for group in groups if group not in left_out for u in group.utterances]
    return TrainingSet(tuple(sorted([*own, *also])))
