"""Corpora and their features: what is there, what it holds, extraction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serbench.corpora.catalogue import Names
from serbench.workspace import HERE, Workspace

if TYPE_CHECKING:
    from serbench.features.extract import Extracted
    from serbench.report.table import Table


def corpus_statistics(names: Names = None, workspace: Workspace = HERE) -> tuple[Table, Extracted]:
    """Return Table 1 (data statistics) of the corpora named, or of all on disk, and what indexing them told."""
    from serbench.features.extract import extract_features
    from serbench.report import read_indexes
    from serbench.report.tables import data_table

    extracted = extract_features(names, (), workspace)
    wanted = {e.corpus for e in extracted.done}
    return data_table([corpus for corpus in read_indexes(workspace.store()) if corpus.name in wanted]), extracted
