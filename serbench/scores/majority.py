"""Pieces of utterances -> utterances: the emotion that most of an utterance's pieces were given.

Of emotions with as many pieces, the one that was predicted first in the utterance wins. Settings stay those chosen on
pieces. Pieces without features have no vote; an utterance none of whose pieces has one is missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from serbench.corpora.segments import majority_title

if TYPE_CHECKING:
    from serbench.scores.outcomes import CellOutcomes

NOTE = "settings, the oracle's too, were chosen on pieces"

Value = TypeVar("Value")

Wholes = Mapping[str, Sequence[str]]
"""Utterance -> its pieces, earliest first."""


def by_majority(cell: CellOutcomes, wholes: Wholes) -> CellOutcomes:
    """Return a cell of pieces as one of the utterances that these are of.

    Parameters
    ----------
    cell : its utterances are pieces; one without outcomes keeps its reasons.
    """
    fields = {**cell.cell, "preprocessing": majority_title(cell.cell["preprocessing"])}
    record = {**cell.record, "cell": fields}
    if not cell.outcomes:
        return replace(cell, cell=fields, record=record)
    voters = {whole: tuple(p for p in pieces if p in cell.truth) for whole, pieces in wholes.items()}
    heard = {whole: pieces for whole, pieces in voters.items() if pieces}
    whole_of = {piece: whole for whole, pieces in wholes.items() for piece in pieces}
    return replace(
        cell,
        cell=fields,
        record={**record, **_of_wholes(cell.record, wholes, heard)},
        truth=_first(cell.truth, heard),
        speakers=_first(cell.speakers, wholes),
        folds={name: tuple(sorted({whole_of[p] for p in pieces})) for name, pieces in cell.folds.items()},
        groups={name: _first(of, wholes) for name, of in cell.groups.items()},
        outcomes={
            rule: replace(
                outcome, predictions={w: _vote(outcome.predictions[p] for p in ps) for w, ps in heard.items()}
            )
            for rule, outcome in cell.outcomes.items()
        },
    )


def _vote(codes: Iterable[int]) -> int:
    """Return the most frequent code; of equals the earliest, as `Counter` keeps them in the order they come in."""
    return Counter(codes).most_common(1)[0][0]


def _first(of: Mapping[str, Value], wholes: Wholes) -> dict[str, Value]:
    """Give utterances what their pieces have, as it is the same for all of them; pieces that take no part have none."""
    known = {whole: next((piece for piece in pieces if piece in of), None) for whole, pieces in wholes.items()}
    return {whole: of[piece] for whole, piece in known.items() if piece is not None}


def _of_wholes(record: Mapping[str, Any], wholes: Wholes, heard: Wholes) -> dict[str, Any]:
    """Return the fields of a record that tell of utterances: their columns, and why some are missing."""
    columns = record["utterances"]
    place = {piece: i for i, piece in enumerate(columns["id"])}
    members = {whole: [p for p in pieces if p in place] for whole, pieces in wholes.items()}
    first = {whole: place[pieces[0]] for whole, pieces in members.items() if pieces}
    missing = {w: record["missing"][members[w][0]] for w in first if w not in heard}
    rows = {name: [values[i] for i in first.values()] for name, values in columns.items()}
    rows |= {"id": list(first), "present": [whole in heard for whole in first]}
    return {"utterances": rows, "missing": missing, "notes": [*record["notes"], NOTE]}
