"""Protocols: corpora -> `Evaluation`s, sets of utterance ids to train on, to test on, and to choose settings on.

A protocol sees labels and metadata, never features. What it yields depends on the catalogue and the ids alone, not on
the order of rows, and on a seed only where utterances are drawn (`adapt`). Training and test sets never share a
person; those of `within-text` share no text either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from serbench.corpora.entry import Corpus
from serbench.errors import UnknownNameError
from serbench.protocols.across import (
    Pairings,
    adapt,
    all_at_once,
    all_others,
    alone,
    cross,
    each_other,
    loco,
    lolo,
    other_languages,
    parts_by_corpus,
    parts_by_group,
    parts_by_language,
    pooled,
)
from serbench.protocols.evaluation import (
    Design,
    Draw,
    Evaluation,
    Group,
    InnerRule,
    Side,
    TrainingSet,
    Validation,
    keep_apart,
)
from serbench.protocols.groups import groups_with_texts, independent_units, restrict, test_groups
from serbench.protocols.inner import check_inner, inner_in_turn, inner_rule, ring
from serbench.protocols.within import Parts, holdout, parts_of, within, within_text

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Protocol:
    """A protocol as the command line names it: how it groups a whole corpus, which corpora meet, what it evaluates.

    `title` and `independence` are for readers. `pairings` says which corpora a cell tests and which others train it;
    `sees_target` whether utterances of a corpus tested may train, which the plan is checked for. `turns` are the parts
    of the training data that choose settings in turn, where nothing tested is one of them; without, the test groups
    validate one another. `diagonal` names the protocol whose cells stand where a corpus meets itself. `needs` is what
    a request must give: a `partition` of the corpora's entries, or `k` utterances to draw. Where `holds_out_texts`, the
    plan is checked for texts on both sides too.
    """

    name: str
    title: str
    independence: str
    evaluations: Callable[[Design], list[Evaluation]]
    groups: Callable[[pd.DataFrame, Corpus], list[Group]] = test_groups
    pairings: Pairings = alone
    turns: Callable[[Design], Parts] | None = None
    sees_target: bool = True
    diagonal: str = ""
    needs: Literal["", "partition", "k"] = ""
    holds_out_texts: bool = False

    @property
    def is_across(self) -> bool:
        """Whether several corpora meet in a cell."""
        return self.pairings is not alone

    @property
    def is_pairwise(self) -> bool:
        """Whether one corpus trains and another is tested."""
        return self.pairings is each_other

    @property
    def trains_fold_by_fold(self) -> bool:
        """Whether each test group has a training set of its own, so that its people alone must not be in it."""
        return self.turns is None

    @property
    def goes_by_language(self) -> bool:
        """Whether the languages of corpora decide which of them train."""
        return self.pairings is other_languages

    def independence_of(self, person: str) -> str:
        """What a test has never met, in words, where this field keeps people apart: not speakers if it is another."""
        if person == "speaker" or "speaker" not in self.independence:
            return self.independence
        unknown = "speakers are not known" + ("" if person == "voice" else " and may be in training and test")
        return f"{self.independence.replace('speaker', person)} ({unknown})"

    def rule(self, requested: str, design: Design) -> InnerRule:
        """Resolve `--inner auto|all|K|none` for what is divided.

        Raises
        ------
        ProtocolError : no such rule, or a number of groups where there is no ring.
        """
        if self.turns is not None:
            return inner_in_turn(requested, len(self.turns(design)))
        return inner_rule(requested, sum(bool(group.utterances) for side in design.tested for group in side.groups))


_ALL = (
    Protocol(
        name="within",
        title="each test group against the rest of its corpus",
        independence="speaker-independent",
        evaluations=lambda design: within(design.own.groups, design.rule),
    ),
    Protocol(
        name="within-text",
        title="each test group's utterances of some texts against the others' of all other texts (fewer to train on)",
        independence="speaker- and text-independent",
        groups=groups_with_texts,
        evaluations=lambda design: within_text(design.own.groups, design.rule),
        holds_out_texts=True,
    ),
    Protocol(
        name="holdout",
        title="the speakers that a published partition holds out against those that it trains on",
        independence="speaker-independent",
        evaluations=holdout,
        turns=lambda design: parts_of(design.own.groups),
        needs="partition",
    ),
    Protocol(
        name="cross",
        title="each corpus on a model of another one",
        independence="corpus-independent",
        evaluations=cross,
        pairings=each_other,
        turns=parts_by_group,
        sees_target=False,
        diagonal="within",
    ),
    Protocol(
        name="pooled",
        title="each test group against all corpora together, its own without it",
        independence="speaker-independent",
        evaluations=pooled,
        pairings=all_others,
    ),
    Protocol(
        name="loco",
        title="each corpus against all other corpora",
        independence="corpus-independent",
        evaluations=loco,
        pairings=all_others,
        turns=parts_by_corpus,
        sees_target=False,
    ),
    Protocol(
        name="lolo",
        title="each corpus against the corpora in all other languages",
        independence="corpus- and language-independent",
        evaluations=lolo,
        pairings=other_languages,
        turns=parts_by_language,
        sees_target=False,
    ),
    Protocol(
        name="adapt",
        title="each test group on a model of another corpus and k utterances of its own corpus' other groups",
        independence="speaker-independent",
        evaluations=adapt,
        pairings=each_other,
        turns=parts_by_group,
        needs="k",
    ),
)

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in _ALL}


def find_protocol(name: str) -> Protocol:
    """Return a protocol by name; `UnknownNameError` suggests the nearest."""
    if name not in PROTOCOLS:
        raise UnknownNameError("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


__all__ = [
    "PROTOCOLS",
    "Design",
    "Draw",
    "Evaluation",
    "Group",
    "InnerRule",
    "Protocol",
    "Side",
    "TrainingSet",
    "Validation",
    "all_at_once",
    "check_inner",
    "find_protocol",
    "groups_with_texts",
    "independent_units",
    "inner_rule",
    "keep_apart",
    "restrict",
    "ring",
    "test_groups",
    "within",
    "within_text",
]
