"""Corpora and their features: what is there, what it holds, extraction."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from serbench import __version__
from serbench.corpora.catalogue import Names, as_names, entries_of, for_each
from serbench.corpora.entry import Corpus
from serbench.corpora.tasks import find_task
from serbench.errors import (
    StoreError,
)
from serbench.features import DEFAULT_FEATURES, find_feature_set
from serbench.progress import Progress, silent
from serbench.workspace import HERE, Workspace

if TYPE_CHECKING:
    import pandas as pd

    from serbench.audit import CorpusAudit
    from serbench.audit.self_check import SelfCheck
    from serbench.corpora.check import CorpusCheck
    from serbench.features.extract import Extraction, Failure
    from serbench.report.table import Table


@dataclass(frozen=True, slots=True)
class Extracted:
    """What an extraction did; `refused` maps corpora that could not be used to the reason.

    `imported` is what a user's own features lack.
    """

    done: tuple[Extraction, ...] = field(repr=False)
    refused: Mapping[str, str]
    imported: tuple[Failure, ...] = field(default=(), repr=False)

    @property
    def failed(self) -> tuple[Failure, ...]:
        """Utterances without features, with the reason."""
        return (*(failure for one in self.done for failure in one.failed), *self.imported)

    @property
    def failures(self) -> pd.DataFrame:
        """Utterances without features as a table: columns utterance, features, reason."""
        import pandas as pd

        rows = [(failure.utterance, failure.features, failure.reason) for failure in self.failed]
        return pd.DataFrame(rows, columns=["utterance", "features", "reason"], dtype="string")


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
    from serbench.report import read_indexes
    from serbench.report.tables import data_table

    extracted = extract_features(names, (), workspace)
    wanted = {e.corpus for e in extracted.done}
    return data_table([corpus for corpus in read_indexes(workspace.store()) if corpus.name in wanted]), extracted


def extract_features(
    corpora: Names = None,
    features: Names = DEFAULT_FEATURES,
    workspace: Workspace = HERE,
    *,
    segment: float | None = None,
) -> Extracted:
    """Index corpora and compute the feature sets that the store lacks.

    Parameters
    ----------
    corpora : names; None for every corpus that is on disk.
    features : names of feature sets; none to make the index only.
    segment : seconds of the pieces that every utterance is cut into, or None; what remains at its end is dropped.

    Raises
    ------
    SerbenchError : a name is unknown, the store cannot be written, or not one corpus could be used.
    """
    catalogue = workspace.catalogue()
    entries = entries_of(catalogue, corpora)
    sets = [find_feature_set(name) for name in dict.fromkeys(as_names(features) or ())]

    from serbench.corpora.labels import scan_corpus
    from serbench.corpora.segments import check_segment, segmented
    from serbench.features.extract import extract_corpus

    if segment is not None:
        check_segment(segment)
    store = workspace.store()
    store.prepare()

    def one(corpus: Corpus) -> Extraction:
        scan = scan_corpus(corpus, partial=workspace.partial)
        return extract_corpus(
            scan if segment is None else segmented(scan, segment),
            sets,
            store,
            jobs=workspace.workers,
            partial=workspace.partial,
            rehash=workspace.rehash,
            progress=workspace.progress,
        )

    done, refused = for_each(entries, one)
    return Extracted(tuple(done), refused)


def load_index(corpus: str, workspace: Workspace = HERE, *, segment: float | None = None) -> pd.DataFrame:
    """Return the index of a corpus on disk: one row per utterance, columns as DESIGN section 3 promises.

    With `segment` (seconds) it has one row per piece, and the column `whole` names the utterance of each.
    """
    return extract_features([corpus], (), workspace, segment=segment).done[0].index


def load_features(
    corpus: str, features: str, workspace: Workspace = HERE, *, segment: float | None = None
) -> pd.DataFrame:
    """Return a feature set of a corpus, or of its pieces of `segment` seconds, extracting what is missing.

    Returns
    -------
    float32, one row per utterance (the index), one column per feature; of a framewise set one row per frame, the index
    (utterance, frame), frames from 0. Utterances that failed are absent.
    """
    from serbench.features.extract import read_corpus_features

    feature_set = find_feature_set(features)
    index = extract_features([corpus], [features], workspace, segment=segment).done[0].index
    return read_corpus_features(index, feature_set.key, workspace.store()).frame()


def export_features(features: str, path: Path | str, corpora: Names = None, workspace: Workspace = HERE) -> Extracted:
    """Write a feature set of corpora as one CSV or parquet file; utterances that failed are not in it.

    Of a framewise set each frame is a row; the column `frame` counts them from 0.
    The metadata of a parquet file (`serbench`, as JSON) says what made it; a CSV holds utterances and numbers only.
    """
    import pandas as pd

    from serbench.features.extract import read_corpus_features
    from serbench.store.files import frame_to_csv, write_frame, write_text

    target = Path(path)
    if target.suffix not in (".csv", ".parquet"):
        raise StoreError(str(target), f"'{target.suffix}'", "a name that ends in .csv or .parquet")
    extracted = extract_features(corpora, [features], workspace)
    store, about = workspace.store(), find_feature_set(features)
    tables = [read_corpus_features(e.index, about.key, store) for e in extracted.done]
    table = pd.concat([t.frame() for t in tables if t.utterances] or [tables[-1].frame()]).reset_index()

    if target.suffix == ".csv":
        write_text(target, frame_to_csv(table))
    else:
        partial = {e.corpus: e.partial for e in extracted.done}
        write_frame(target, table, metadata={"serbench": __version__, "corpora": partial, **about.description})
    return extracted
