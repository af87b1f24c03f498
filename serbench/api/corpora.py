"""Corpora and their features: what is there, what it holds, extraction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from serbench.corpora.catalogue import Names, entries_of
from serbench.corpora.tasks import find_task
from serbench.progress import Progress, silent
from serbench.workspace import HERE, Workspace

if TYPE_CHECKING:
    from serbench.audit import CorpusAudit
    from serbench.audit.self_check import SelfCheck
    from serbench.corpora.check import CorpusCheck
    from serbench.features.extract import Extracted
    from serbench.report.table import Table


def check_corpus(name: str, workspace: Workspace = HERE, *, deep: bool = False) -> CorpusCheck:
    """Check a corpus on disk against its entry and against the traps of real copies.

    Parameters
    ----------
    deep : decode every sample too, which finds damaged audio and byte-identical recordings.
    """
    from serbench.corpora.check import check_copy

    return check_copy(workspace.catalogue().corpus(name), partial=workspace.partial, deep=deep)


def audit_corpora(names: Names = None, workspace: Workspace = HERE) -> Iterator[CorpusAudit]:
    """Audit the corpora named, or all on disk, before any of their numbers is believed: each as it is asked for.

    Corpora that are named are compared with each other too, last. The index of each and the findings are stored, and
    reports tell of altered copies across speakers. Faults of a copy are findings, where other functions raise.

    Raises
    ------
    SerbenchError : a name is unknown, there is no corpus, or the store cannot be written.
    """
    catalogue = workspace.catalogue()
    entries = entries_of(catalogue, names)

    from serbench.audit import AuditOptions, audit_across, audit_corpus
    from serbench.audit.across import Voices

    task = find_task(catalogue, task=None, emotions=None, where=())
    options = AuditOptions(task, workspace.partial, workspace.rehash, workspace.workers)
    store = workspace.store()
    store.prepare()

    def each() -> Iterator[CorpusAudit]:
        heard: list[Voices] = []  # memory for the corpora named, and not for all on disk
        keep = heard.append if names is not None and len(entries) > 1 else None
        for corpus in entries:
            yield audit_corpus(corpus, store, options, progress=workspace.progress, keep=keep)
        if len(heard) > 1:
            spaces = [catalogue.namespace(one.spoken.corpus) for one in heard]
            named = zip(heard, spaces, strict=True)
            yield audit_across(
                [replace(one, spoken=replace(one.spoken, namespace=space)) for one, space in named], options
            )

    return each()


def audit_serbench(*, progress: Progress = silent) -> SelfCheck:
    """Run serbench on shuffled labels of a synthetic corpus and hold its scores against what they must be."""
    from serbench.audit.self_check import check_self

    return check_self(progress=progress)


def corpus_statistics(names: Names = None, workspace: Workspace = HERE) -> tuple[Table, Extracted]:
    """Return Table 1 (data statistics) of the corpora named, or of all on disk, and what indexing them told."""
    from serbench.features.extract import extract_features
    from serbench.report import read_indexes
    from serbench.report.tables import data_table

    extracted = extract_features(names, (), workspace)
    wanted = {e.corpus for e in extracted.done}
    return data_table([corpus for corpus in read_indexes(workspace.store()) if corpus.name in wanted]), extracted
