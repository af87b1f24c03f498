"""What the stored audits of corpora found -> the notes of their cells, and the simple cues that Table 2 begins with."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from serbench.errors import StoreError
from serbench.report.comparisons import Matrix
from serbench.scores.predictions import CellPredictions, Index
from serbench.store.files import read_json
from serbench.store.results import Store

if TYPE_CHECKING:
    from serbench.audit.setup import Baseline

LEAKS = "folds do not keep them apart"
"""What the notes say where recordings of one person are under names of several."""
TOLD = ("altered copies", "copies", "set-up", "confounded", "text")
"""Kinds of findings that a report tells, the gravest first; the others are of the copy, not of its numbers."""
HARMLESS = ("copies", "altered copies")
"""Kinds of which only errors are told: copies of one speaker are in one fold."""


@dataclass(frozen=True, slots=True)
class Audited:
    """What a report says of an audited corpus: its gravest findings in words, and its simple-cue baseline."""

    notes: tuple[str, ...]
    baseline: Baseline | None


def read_audits(indexes: Sequence[Index], store: Store) -> dict[str, Audited]:
    """Read the audits that hold for the present index of their corpus; a damaged one is left out with a warning."""
    found: dict[str, Audited] = {}
    for one in (one for one in indexes if store.audit(one.name).is_file()):
        from serbench.audit.setup import Baseline  # takes long to import, and few corpora are audited

        path = store.audit(one.name)
        try:
            audit = read_json(path)
            if audit["index"] == one.state:
                cues = audit["baseline"] and Baseline(**audit["baseline"])
                found[one.name] = Audited(tuple(_notes(audit["findings"])), cues)
        except (StoreError, KeyError, TypeError) as error:
            what = "what the audit found cannot be used and is left out; run serbench audit again"
            warnings.warn(f"{path.name}: {what}. {error}", stacklevel=2)
    return found


def _notes(findings: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """Yield a sentence for each kind of finding that bears on the numbers, of many the gravest."""
    for kind in TOLD:
        levels = ("error",) if kind in HARMLESS else ("error", "warning")
        of_kind = [one["text"] for one in findings if one["kind"] == kind and one["level"] in levels]
        texts = [text for text in of_kind if "it takes no part" not in text]  # the grid leaves it out
        if texts:
            text = f"{texts[0]}; {LEAKS}" if kind == "altered copies" else texts[0].partition("; ")[0]
            more = f" (and {len(texts) - 1} more)" if len(texts) > 1 else ""
            yield f"its audit found: {text}{more}"


def with_audits(cells: Iterable[CellPredictions], audits: Mapping[str, Audited]) -> list[CellPredictions]:
    """Add to the notes of cells what the audits of their corpora found."""
    kept = []
    for cell in cells:
        corpora = dict.fromkeys(stored.partition("@")[0] for stored in cell.record.indexes)  # or their pieces
        notes = [(corpus, note) for corpus in corpora if corpus in audits for note in audits[corpus].notes]
        kept.append(replace(cell, record=replace(cell.record, notes=(*cell.record.notes, *notes))))
    return kept


def with_cues(matrix: Matrix, audits: Mapping[str, Audited]) -> Matrix:
    """Add to a matrix the simple cues of its corpora, where they were measured on its folds, emotions and utterances.

    Only `within` has the folds of an audit.
    """
    cues: dict[str, float] = {}
    for corpus in (c for c in matrix.corpora if c in audits and matrix.setup.axes.protocol == "within"):
        baseline, cells = audits[corpus].baseline, matrix.compared_in(corpus)
        asked = {n for cell in cells.values() for n in (len(cell.record.utterances["id"]), cell.n_column)}
        if baseline and sorted(baseline.emotions) == sorted(matrix.setup.emotions) and baseline.n_utterances in asked:
            cues[corpus] = baseline.uar
    return replace(matrix, cues=cues) if cues else matrix
