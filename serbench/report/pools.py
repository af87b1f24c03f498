"""Which utterances the cells of one column are scored on: those that all have, but for cells that lack too many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from serbench.scores.outcomes import CellOutcomes

LACKING_AT_MOST = 0.05
"""Share of a column's utterances that a cell may lack to be compared with the others."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The utterances that cells are compared on; a cell with fewer than `least` is scored on its own, and compared not.

    `n_utterances` counts those that any of the cells has.
    """

    utterances: tuple[str, ...] = ()
    least: float = 0.0
    n_utterances: int = 0

    def is_short(self, cell: CellOutcomes) -> bool:
        """Whether a cell lacks so many utterances that it would move the numbers of all others."""
        return len(cell.truth) < self.least

    def of(self, cell: CellOutcomes) -> tuple[str, ...]:
        """Utterances that a cell is scored on."""
        return tuple(sorted(cell.truth)) if self.is_short(cell) else self.utterances


def pool_of(cells: Sequence[CellOutcomes]) -> Pool:
    """Choose the utterances that cells with predictions are compared on.

    Where all cells lack too many, the largest of them stay.
    """
    have = [set(cell.truth) for cell in cells if cell.outcomes]
    if not have:
        return Pool()
    every = set.union(*have)
    least = min((1 - LACKING_AT_MOST) * len(every), max(map(len, have)))
    common = set.intersection(*(of for of in have if len(of) >= least))
    return Pool(tuple(sorted(common)), least, len(every))
