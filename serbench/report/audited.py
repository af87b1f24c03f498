"""What `serbench audit` found of a corpus, as notes of the cells that hold it, while its index is as it was then.

So far these are altered copies of recordings under names of different people: they leak between folds, and a grid
leaves out byte-identical ones only.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Sequence

from serbench.audit.checks import ALTERED_COPIES
from serbench.corpora.index import index_fingerprint
from serbench.errors import StoreError
from serbench.report.tables import Indexed
from serbench.scores.outcomes import CellOutcomes
from serbench.store.files import read_json
from serbench.store.results import Store


def with_audits(cells: Iterable[CellOutcomes], indexes: Sequence[Indexed], store: Store) -> list[CellOutcomes]:
    """Add to the notes of every cell what the audits of its corpora found; a damaged audit is told and left out."""
    found = {one.name: notes for one in indexes if (notes := _notes(one, store))}
    return [_with(cell, found) for cell in cells]


def _with(cell: CellOutcomes, found: dict[str, list[str]]) -> CellOutcomes:
    corpora = dict.fromkeys(stored.partition("@")[0] for stored in cell.record.get("indexes", ()))  # or their pieces
    notes = [note for corpus in corpora for note in found.get(corpus, ())]
    record = {**cell.record, "notes": [*cell.record.get("notes", ()), *notes]}
    return dataclasses.replace(cell, record=record) if notes else cell


def _notes(one: Indexed, store: Store) -> list[str]:
    path = store.audit(one.name)
    if not path.is_file():
        return []
    try:
        audit = read_json(path)
        if audit["index"] != index_fingerprint(one.index):
            return []
        findings = [f for f in audit["findings"] if (f["kind"], f["level"]) == (ALTERED_COPIES, "error")]
        return [f"the audit of {one.name} found {f['text']}; folds do not keep them apart" for f in findings]
    except (StoreError, KeyError, TypeError) as error:
        told = f"{path.name}: what the audit found cannot be used and is left out; run serbench audit again. {error}"
        warnings.warn(told, stacklevel=2)
        return []
