"""What protocols divide, and what they make of it: `Evaluation`s, sets of utterance ids to train on and to test on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace


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


def keep_apart(evaluations: Sequence[Evaluation], person: Mapping[str, str]) -> list[Evaluation]:
    """Take people who are tested or who validate out of what is trained, under whatever name they are there.

    Parameters
    ----------
    person : one name for each person, by utterance; empty where no corpora share people.
    """
    return [_kept_apart(evaluation, person) for evaluation in evaluations] if person else list(evaluations)


def _kept_apart(evaluation: Evaluation, person: Mapping[str, str]) -> Evaluation:
    tested = {person[u] for u in evaluation.test}
    inner = tuple(
        replace(v, train=_without(v.train, tested | {person[u] for u in v.test}, person)) for v in evaluation.inner
    )
    return replace(evaluation, train=_without(evaluation.train, tested, person), inner=inner)


def _without(train: TrainingSet, people: Collection[str], person: Mapping[str, str]) -> TrainingSet:
    kept = [i for i, u in enumerate(train.utterances) if person[u] not in people]
    weights = None if train.weights is None else tuple(train.weights[i] for i in kept)
    return TrainingSet(tuple(train.utterances[i] for i in kept), weights)


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


@dataclass(frozen=True, slots=True)
class Side:
    """A corpus as a protocol meets it: its groups, and the label of each of their utterances.

    `language` is that of the corpus, without its region. `held_out` are groups that are only ever tested, where the
    corpus is divided by a published partition; `groups` are all others.
    """

    corpus: str
    language: str
    groups: tuple[Group, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    held_out: tuple[Group, ...] = ()


@dataclass(frozen=True, slots=True)
class Draw:
    """Utterances of the test corpus that are trained on too: how many, how much each weighs, and the seed."""

    k: int
    weight: float = 1.0
    seed: int = 0

    @property
    def title(self) -> str:
        """What tables call it.

        >>> Draw(20).title, Draw(20, 0.5).title
        ('k=20', 'k=20 weight=0.5')
        """
        return f"k={self.k}" + ("" if self.weight == 1 else f" weight={self.weight:g}")


@dataclass(frozen=True, slots=True)
class Design:
    """What a protocol is asked to divide: the corpora tested, others that train, and how settings are chosen."""

    tested: tuple[Side, ...]
    others: tuple[Side, ...]
    rule: InnerRule
    draw: Draw | None = None

    @property
    def own(self) -> Side:
        """The corpus tested, where there is one alone."""
        (side,) = self.tested
        return side
