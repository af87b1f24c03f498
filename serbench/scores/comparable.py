"""Which cells may stand side by side: the one gate, whichever machine or release made them.

A column is one protocol with its options, task and its map, preprocessing, training and test corpora. Its cells agree
when every fact that two of them have is the same: labels, recordings and folds, the release of serbench, versions of
packages, features of one name, a classifier's revision and its settings. Cells that do not agree with the others are
*incomparable*. Decision records 0007 and 0010 decide which stay.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

from serbench.errors import listed
from serbench.grid.cells import CellRecord
from serbench.scores.predictions import CellPredictions, again, settings_key, without_predictions

BASIS = "labels, recordings and folds"


def keep_comparable(cells: Sequence[CellPredictions]) -> list[CellPredictions]:
    """Take the predictions of cells that do not agree with the others of their column, and say why.

    Only cells with predictions have a say. Other systems have none where the grid has cells: they must fit these.
    """
    kept = list(cells)
    columns: dict[tuple[str, ...], list[int]] = {}
    for i, cell in enumerate(cells):
        of = cell.record.cell
        preprocessing = "none" if cell.is_outside else of.preprocessing
        column = of.protocol, of.options, of.map, of.task, of.train, of.corpus, preprocessing
        if cell.with_values:
            columns.setdefault(column, []).append(i)
    for members in columns.values():
        facts = pd.DataFrame([_facts_of(cells[i].record) for i in members], index=members, dtype=object)
        voters = [i for i in members if not cells[i].is_outside] or members
        common = _common(facts.loc[agreeing(facts.loc[voters])])
        differs = facts.notna() & common.notna() & (facts != common)
        for i in differs.index[differs.any(axis=1)]:
            own = {str(name): str(value) for name, value in facts.loc[i].items()}
            names = sorted(str(name) for name in differs.columns[differs.loc[i]])
            versus = listed(f"{name} {own[name]}, the others with {common[name]}" for name in names)
            why = f"made from other {BASIS} than the others" if BASIS in names else f"made with {versus}"
            reason = f"not comparable: {why}; {again(cells[i].record)}"
            kept[i] = without_predictions(cells[i].record, reason, state="incomparable")
    return kept


def _facts_of(record: CellRecord) -> dict[str, str]:
    """Return what a cell must have in common with the others of its column, in words.

    Of another system no versions are known, so that only what its predictions were made for counts.
    """
    facts = {BASIS: record.basis}
    if record.outside is None:
        cell = record.cell
        facts |= {"serbench": ".".join(record.serbench.split(".")[:2]), **record.versions}
        facts |= {f"{cell.features} features": record.feature_key, f"{cell.classifier} revision": str(record.revision)}
        facts |= {f"{cell.classifier} settings '{cell.space}'": settings_key(record)}
    return facts


def agreeing(facts: pd.DataFrame) -> pd.Index:
    """Choose the cells of a column that stand side by side, whatever their order.

    Fact by fact, those facts first that most cells have, the value of most cells stays, and the newer of equals. Cells
    that went for a fact which in the end nobody has come back. `facts` has a row per cell and a column per fact,
    missing where a cell has no such fact; returned are the labels of the rows that stay.
    """
    left = facts.sort_index(axis=1)
    kept = left.iloc[:0]
    while len(left):
        stand = left
        for name in left.notna().sum().sort_values(ascending=False, kind="stable").index:
            known = stand[name].dropna()
            if known.nunique() > 1:
                stand = stand[stand[name].isna() | (stand[name] == max(known.mode(), key=_release))]
        kept, left = pd.concat([kept, stand]), left.drop(stand.index)
        common = _common(kept)
        left = left[(left.isna() | common.isna() | (left == common)).all(axis=1)]
    return kept.index


def _common(facts: pd.DataFrame) -> pd.Series:
    """Return the value of each fact that cells which agree have; missing where none has the fact."""
    return facts.bfill().iloc[0] if len(facts) else pd.Series(None, index=facts.columns, dtype=object)


def _release(value: str) -> list[tuple[int, str]]:
    """Order versions as releases: 2.10 after 2.9; digests as they come."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.findall(r"\d+|\D+", value)]
