"""Protocols across corpora: train on one and test on another, on all of them, or on all but a corpus or a language.

What is tested is divided into the groups that `within` tests, so that folds and intervals mean the same. Where the
corpus tested trains nothing, settings are chosen by validating parts of the training data in turn: corpora (or
languages) where several train, as that is the step that is tested; else the groups of speakers of the one that does.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from serbench.errors import ProtocolError
from serbench.protocols.evaluation import Design, Draw, Evaluation, Group, Side, TrainingSet
from serbench.protocols.groups import restrict
from serbench.protocols.within import Parts, against_rest, parts_of, within

Pairing = tuple[tuple[int, ...], tuple[int, ...]]
"""Places of the corpora that a cell tests, and of the others that it trains on."""


def pooled(design: Design) -> list[Evaluation]:
    """Test each group on a model of all corpora without it, chosen by validation over the corpora tested."""
    return within(_tested(design), design.rule, also=[u for part in _corpora(design.others).values() for u in part])


def cross(design: Design) -> list[Evaluation]:
    """Test a corpus on a model of another one."""
    return against_rest(_tested(design), _groups(design.others), design.rule)


def loco(design: Design) -> list[Evaluation]:
    """Test a corpus on a model of all others: leave one corpus out."""
    return against_rest(_tested(design), parts_by_corpus(design), design.rule)


def lolo(design: Design) -> list[Evaluation]:
    """Test a corpus on a model of the corpora in all other languages: leave one language out."""
    return against_rest(_tested(design), parts_by_language(design), design.rule)


def adapt(design: Design) -> list[Evaluation]:
    """Test as `cross`, each group with a few utterances of the target corpus' other groups in its training set.

    A setting is chosen by validating all parts of that training set in turn: groups of the corpus that trains, and
    what was drawn of each group of the target.
    """
    if design.draw is None:
        raise ProtocolError("adapt", "no number of utterances", "how many to draw from the test corpus", "Give --k")
    return [_adapted(group, design, design.draw) for group in design.own.groups if group.utterances]


def _adapted(group: Group, design: Design, draw: Draw) -> Evaluation:
    added = frozenset(drawn(design.own, group.name, draw))
    others = restrict([other for other in design.own.groups if other is not group], set(added))
    named = [replace(other, name=f"{other.name} drawn for {group.name}") for other in others]
    (evaluation,) = against_rest([group], {**_groups(design.others), **parts_of(named)}, design.rule)
    inner = tuple(replace(v, train=_weighted(v.train, added, draw)) for v in evaluation.inner)
    return replace(evaluation, train=_weighted(evaluation.train, added, draw), inner=inner)


def _weighted(train: TrainingSet, added: Collection[str], draw: Draw) -> TrainingSet:
    """Give utterances that were drawn their weight."""
    if draw.weight == 1:
        return train
    return replace(train, weights=tuple(draw.weight if u in added else 1.0 for u in train.utterances))


def parts_by_group(design: Design) -> Parts:
    """Groups of speakers of the corpora that train."""
    return _groups(design.others)


def parts_by_corpus(design: Design) -> Parts:
    """Corpora that train, or the groups of the only one."""
    return _corpora(design.others) if len(design.others) > 1 else _groups(design.others)


def parts_by_language(design: Design) -> Parts:
    """Languages of the corpora that train, or where they have one in common, these corpora."""
    languages: dict[str, tuple[str, ...]] = {}
    for side in design.others:
        languages[side.language] = (*languages.get(side.language, ()), *_corpora([side])[side.corpus])
    return languages if len(languages) > 1 else parts_by_corpus(design)


def alone(languages: Sequence[str]) -> list[Pairing]:
    """Test each corpus, train on no other."""
    return [((i,), ()) for i in range(len(languages))]


def each_other(languages: Sequence[str]) -> list[Pairing]:
    """Test each corpus on each other one."""
    return [((b,), (a,)) for a, b in itertools.permutations(range(len(languages)), 2)]


def all_others(languages: Sequence[str]) -> list[Pairing]:
    """Test each corpus, train on all others."""
    every = range(len(languages))
    return [((i,), tuple(j for j in every if j != i)) for i in every]


def other_languages(languages: Sequence[str]) -> list[Pairing]:
    """Test each corpus, train on those in other languages."""
    every = range(len(languages))
    return [((i,), tuple(j for j in every if languages[j] != languages[i])) for i in every]


def all_at_once(languages: Sequence[str]) -> list[Pairing]:
    """Test all corpora in one cell."""
    return [(tuple(range(len(languages))), ())]


Pairings = Callable[[Sequence[str]], list[Pairing]]
"""Languages of the corpora at hand -> which cells there are."""


def drawn(side: Side, test_group: str, draw: Draw) -> tuple[str, ...]:
    """Draw utterances of a corpus outside one of its groups, each label in proportion to its share; sorted.

    The order of the draw depends on the seed, the group and the ids alone, and those drawn for a smaller k are among
    those drawn for a larger one.

    Raises
    ------
    ProtocolError : there are fewer.
    """
    pool = [u for group in side.groups if group.name != test_group for u in group.utterances]
    if draw.k > len(pool):
        found = f"--k {draw.k}, where {len(pool)} utterances of {side.corpus} are outside {test_group}"
        raise ProtocolError("adapt", found, "at most as many", "Give a smaller --k")
    return tuple(sorted(_stratified(pool, side, f"{draw.seed} {test_group}")[: draw.k]))


def _stratified(pool: Sequence[str], side: Side, salt: str) -> list[str]:
    """Order utterances so that every beginning holds each label in proportion; shuffled within a label."""
    placed = []
    for label in sorted({side.labels[u] for u in pool}):
        same = sorted((u for u in pool if side.labels[u] == label), key=lambda u: _shuffled(u, salt))
        placed += [((i + 0.5) / len(same), _shuffled(label, salt), u) for i, u in enumerate(same)]
    return [u for *_, u in sorted(placed)]


def _shuffled(text: str, salt: str) -> str:
    """Return a place in a random order that every machine and release gives alike."""
    return hashlib.sha256(f"{salt} {text}".encode()).hexdigest()


def _tested(design: Design) -> list[Group]:
    return [group for side in design.tested for group in side.groups]


def _groups(sides: Sequence[Side]) -> dict[str, tuple[str, ...]]:
    return parts_of([group for side in sides for group in side.groups])


def _corpora(sides: Sequence[Side]) -> dict[str, tuple[str, ...]]:
    return {side.corpus: tuple(sorted(u for group in side.groups for u in group.utterances)) for side in sides}
