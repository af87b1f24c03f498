"""Keep apart what is not comparable: cells of one column that differ in what they must agree in stand as missing.

The grid sees to this for cells that it plans itself; here it holds for files that were copied together, too.
"""

from __future__ import annotations

from collections.abc import Sequence

from serbench.errors import listed
from serbench.grid.comparable import (
    BASIS,
    INCOMPARABLE,
    Column,
    Facts,
    again,
    agreed,
    agreeing,
    column,
    differing,
    facts,
)
from serbench.scores.outcomes import CellOutcomes, without_outcomes


def keep_comparable(cells: Sequence[CellOutcomes]) -> list[CellOutcomes]:
    """Refuse cells that differ from the others of their column; only those with predictions have a say.

    Predictions of other systems have none where the grid has cells: they must fit these.
    """
    of_column: dict[Column, list[int]] = {}
    for i, cell in enumerate(cells):
        if cell.outcomes:
            of_column.setdefault(column(cell.record), []).append(i)
    kept = list(cells)
    for members in of_column.values():
        known = {i: facts(cells[i].record) for i in members}
        voters = [i for i in members if not cells[i].is_outside] or members
        common = agreed([known[voters[k]] for k in agreeing([known[i] for i in voters])])
        for i in members:
            if differing(known[i], common):
                kept[i] = _refused(cells[i], _reason(known[i], common))
    return kept


def _refused(cell: CellOutcomes, why: str) -> CellOutcomes:
    reason = f"{INCOMPARABLE} {why}; {again(cell.record)}"
    return without_outcomes({**cell.record, "refused": reason}, reason)


def _reason(own: Facts, others: Facts) -> str:
    names = differing(own, others)
    if BASIS in names:
        return f"made from other {BASIS} than the others"
    return "made with " + listed(f"{name} {own[name]}, the others with {others[name]}" for name in names)
