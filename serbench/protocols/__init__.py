"""Protocols: which utterances train, which are tested, and which choose settings.

A protocol is one entry of `PROTOCOLS`: which corpora meet in a cell, a mask over the table of utterances (which rows
train while a group is tested), and the column whose values validate in turn. It sees labels and metadata, never
features. What it yields depends on the catalogue and the ids alone, and on a seed only where utterances are drawn.
Training and test sets never share a person; those of `within-text` share no text either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from serbench.errors import UnknownNameError
from serbench.protocols.folds import (
    Draw,
    Fold,
    InnerRule,
    Mask,
    Pairings,
    TrainingSet,
    Validation,
    all_at_once,
    all_others,
    alone,
    check_inner,
    drawn,
    each_other,
    inner_rule,
    make_folds,
    other_languages,
    others,
    part_column,
    rest,
    ring,
)
from serbench.protocols.groups import add_groups, independent_units

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class Protocol:
    """A protocol as the command line names it.

    Parameters
    ----------
    title, independence : for readers.
    trains : which rows of the table of utterances train while a group is tested.
    pairings : which corpora a cell tests, and which others train.
    part : the column whose values validate in turn; empty where test groups validate one another.
    sees_target : whether utterances of a corpus that is tested may train; the plan is checked for this.
    diagonal : the protocol whose cells are shown where a corpus meets itself.
    needs : what a request must give: a `partition` of the corpora's entries, or `k` utterances to draw.
    holds_out_texts : whether the texts of the test are kept out of the training data.
    """

    name: str
    title: str
    independence: str
    trains: Mask
    pairings: Pairings = alone
    part: Literal["", "group", "corpus", "corpus_language"] = ""
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
    def goes_by_language(self) -> bool:
        """Whether the languages of corpora decide which of them train."""
        return self.pairings is other_languages

    def independence_of(self, person: str) -> str:
        """Say what a test has never met, where this field keeps people apart: it need not be the speaker."""
        if person == "speaker" or "speaker" not in self.independence:
            return self.independence
        unknown = "speakers are not known" + ("" if person == "voice" else " and may be in training and test")
        return f"{self.independence.replace('speaker', person)} ({unknown})"

    def rule(self, requested: str, rows: pd.DataFrame) -> InnerRule:
        """Resolve `--inner auto|all|K|none` for a table of utterances.

        Raises
        ------
        ProtocolError : no such rule, or a number of groups where there is no ring.
        """
        if not self.part:
            return inner_rule(requested, rows["group"][rows["tested"]].nunique())
        train = rows[~rows["tested"]]
        return inner_rule(requested, train[part_column(train, self.part)].nunique(), in_turn=True)

    def folds(self, rows: pd.DataFrame, rule: InnerRule, draw: Draw | None = None) -> list[Fold]:
        """Divide a table of utterances; see `make_folds`."""
        return make_folds(rows, self, rule, draw)


_SPEAKERS, _CORPORA = "speaker-independent", "corpus-independent"
_TEXTS = "speaker- and text-independent"
PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol("within", "each test group against the rest of its corpus", _SPEAKERS, rest),
        Protocol(
            "within-text",
            "each test group's utterances of some texts against the others' of all other texts (fewer to train on)",
            _TEXTS,
            rest,
            holds_out_texts=True,
        ),
        Protocol(
            "holdout",
            "the speakers that a published partition holds out against those that it trains on",
            _SPEAKERS,
            others,
            part="group",
            needs="partition",
        ),
        Protocol(
            "cross",
            "each corpus on a model of another one",
            _CORPORA,
            others,
            each_other,
            part="group",
            sees_target=False,
            diagonal="within",
        ),
        Protocol(
            "pooled",
            "each test group against all corpora together, its own without it",
            _SPEAKERS,
            rest,
            all_others,
        ),
        Protocol(
            "loco",
            "each corpus against all other corpora",
            _CORPORA,
            others,
            all_others,
            part="corpus",
            sees_target=False,
        ),
        Protocol(
            "lolo",
            "each corpus against the corpora in all other languages",
            "corpus- and language-independent",
            others,
            other_languages,
            part="corpus_language",
            sees_target=False,
        ),
        Protocol(
            "adapt",
            "each test group on a model of another corpus and k utterances of its own corpus' other groups",
            _SPEAKERS,
            others,
            each_other,
            part="group",
            needs="k",
        ),
    )
}


def find_protocol(name: str) -> Protocol:
    """Return a protocol by name; `UnknownNameError` suggests the nearest."""
    if name not in PROTOCOLS:
        raise UnknownNameError("protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


__all__ = [
    "PROTOCOLS",
    "Draw",
    "Fold",
    "InnerRule",
    "Protocol",
    "TrainingSet",
    "Validation",
    "add_groups",
    "all_at_once",
    "check_inner",
    "drawn",
    "find_protocol",
    "independent_units",
    "inner_rule",
    "ring",
]
