"""Keep apart what is not comparable: cells of one column that differ in what they must agree in stand as missing.

The grid sees to this for cells that it plans itself; here it holds for files that were copied together, too.
"""

from __future__ import annotations

from collections.abc import Sequence

from serbench.comparable import BASIS, INCOMPARABLE, Facts, agreed, agreeing, column, differing, facts
from serbench.errors import listed
from serbench.report.outcomes import RULES, CellOutcomes


def keep_comparable(cells: Sequence[CellOutcomes]) -> list[CellOutcomes]:
    """Refuse cells that differ from the others of their column; only those with predictions have a say."""
    of_column: dict[tuple[str, str, str], list[int]] = {}
    for i, cell in enumerate(cells):
        if cell.outcomes:
            of_column.setdefault(column(cell.record), []).append(i)
    kept = list(cells)
    for members in of_column.values():
        known = [facts(cells[i].record) for i in members]
        standing = agreeing(known)
        common = agreed([known[k] for k in standing])
        for k in set(range(len(members))) - standing:
            kept[members[k]] = _refused(cells[members[k]], _reason(known[k], common))
    return kept


def _refused(cell: CellOutcomes, why: str) -> CellOutcomes:
    reason = f"{INCOMPARABLE} {why}; run it again"
    return CellOutcomes(cell.cell, {**cell.record, "refused": reason}, reasons=dict.fromkeys(RULES, reason))


def _reason(own: Facts, others: Facts) -> str:
    names = differing(own, others)
    if BASIS in names:
        return f"made from other {BASIS} than the others"
    return "made with " + listed(f"{name} {own[name]}, the others with {others[name]}" for name in names)
