"""The audit of a corpus: copies, labels, counts, and what the set-up gives away (docs/audit.md explains how).

The verdict rests on the findings; the simple-cue baseline has none.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from serbench import __version__
from serbench.audit import checks
from serbench.audit.checks import Finding
from serbench.audit.setup import Baseline, hear, simple_cue_baseline
from serbench.corpora import Names
from serbench.corpora.audio import Recording
from serbench.corpora.catalogue import entries_of
from serbench.corpora.divisions import with_people
from serbench.corpora.entry import TARGET_LABELS, Corpus
from serbench.corpora.index import index_fingerprint
from serbench.corpora.labels import scan_corpus
from serbench.corpora.tasks import EmotionTask, find_task
from serbench.errors import CorpusError, ProtocolError
from serbench.features.extract import extract_corpus
from serbench.protocols import add_groups
from serbench.store.files import write_json
from serbench.workspace import HERE, Workspace

LEVELS = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class CorpusAudit:
    """What the audit of a corpus found, the gravest first, with facts of the copy in words."""

    corpus: str
    findings: tuple[Finding, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    baseline: Baseline | None = None  # where it could be measured

    @property
    def is_sound(self) -> bool:
        """Whether there is no error."""
        return not self.of("error")

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        level, text = ("warning", "sound, with") if self.is_sound else ("error", "do not believe a number yet:")
        n = len(self.of(level))
        return f"{text} {n} {level}{'s' * (n > 1)}" if n else "sound"

    def of(self, level: str) -> tuple[Finding, ...]:
        """Return the findings of a level."""
        return tuple(finding for finding in self.findings if finding.level == level)


def audit_corpora(names: Names = None, workspace: Workspace = HERE) -> Iterator[CorpusAudit]:
    """Audit corpora before any of their numbers is believed, and store the index and the findings of each.

    Parameters
    ----------
    names : corpora, which are compared with each other too, last; None for each corpus on this disk by itself.

    Returns
    -------
    An iterator that audits a corpus when the next result is asked for. Faults of a copy are findings, where other
    functions raise.

    Raises
    ------
    SerbenchError : a name is unknown, there is no corpus, or the store cannot be written.
    """
    catalogue = workspace.catalogue()
    entries = entries_of(catalogue, names)
    task = find_task(catalogue, task=None, emotions=None, where=())
    workspace.store().prepare()

    def each() -> Iterator[CorpusAudit]:
        heard: list[pd.DataFrame] = []
        for corpus in entries:
            audit, utterances = _audit_corpus(corpus, task, workspace)
            if names is not None and utterances is not None:  # of all corpora on disk memory could not hold the voices
                heard.append(with_people(utterances, corpus, namespace=catalogue.namespace(corpus.name)))
            yield audit
        if len(heard) > 1:
            title = " + ".join(utterances["corpus"].iloc[0] for utterances in heard)
            yield _audit(title, checks.check_shared(pd.concat(heard, ignore_index=True), jobs=workspace.workers))

    return each()


def _audit(corpus: str, findings: Iterable[Finding], *facts: Any) -> CorpusAudit:
    return CorpusAudit(corpus, tuple(sorted(findings, key=lambda finding: LEVELS.index(finding.level))), *facts)


def _audit_corpus(corpus: Corpus, task: EmotionTask, workspace: Workspace) -> tuple[CorpusAudit, pd.DataFrame | None]:
    """Audit a corpus and store what was found; return its utterances too, as they were heard."""
    person, findings = corpus.person_field, list[Finding]()
    try:
        try:
            scan = scan_corpus(corpus, partial=workspace.partial)
        except CorpusError as error:  # go on with what is there
            findings += [Finding("error", "counts", str(fault)) for fault in error.faults]
            scan = scan_corpus(corpus, partial=True)
    except CorpusError as error:
        return _audit(corpus.name, [Finding("error", "labels", str(fault)) for fault in error.faults]), None
    heard: list[dict[str, Any]] = []

    def listen(utterance: str, path: Path, recording: Recording) -> None:  # each recording is decoded once
        heard.append({"utterance": utterance, **hear(path, recording)})

    index = extract_corpus(scan, [], dataclasses.replace(workspace, partial=True), listen=listen).index
    columns = ["utterance", "setup", "offset", "is_clipped", "cues", "voice", "fingerprint"]  # null if damaged
    utterances = index.merge(pd.DataFrame(heard, columns=columns), on="utterance", how="left")
    findings += [Finding("note", "counts", scan.partial)] if scan.partial and workspace.partial else []
    findings += [Finding("warning", "gender", scan.note)] if scan.note else []
    findings += checks.check_recordings(utterances)
    findings += checks.check_formats(utterances, corpus, partial=workspace.partial)
    findings += checks.check_labels(utterances, corpus)
    findings += checks.check_copies(utterances, person)
    findings += checks.check_altered_copies(utterances, person, jobs=workspace.workers)
    baseline = None
    try:
        rows = _tested(utterances, corpus)
    except ProtocolError as error:
        findings.append(Finding("error", "folds", str(error)))
    else:
        findings += checks.check_groups(rows, corpus)
        for check in (checks.check_setup, checks.check_level, checks.check_texts):
            findings += check(rows, person)
        baseline = simple_cue_baseline(rows, task)
    audit = _audit(corpus.name, findings, checks.facts_of(utterances, person), baseline)
    # The findings hold for this state of the index; reports show them as long as the index has it.
    record: dict[str, Any] = {"corpus": corpus.name, "serbench": __version__, "index": index_fingerprint(index)}
    record |= {"findings": [dataclasses.asdict(one) for one in audit.findings]}
    record |= {"baseline": dataclasses.asdict(baseline) if baseline else None}
    write_json(workspace.store().audit(corpus.name), record)
    return audit, utterances


def _tested(utterances: pd.DataFrame, corpus: Corpus) -> pd.DataFrame:
    """Return the labelled utterances that take part, with their test `group`; ProtocolError where no test is possible.

    A corpus of dimensions has the labels of its first target, e.g. high and low arousal.
    """
    rows = add_groups(utterances, corpus)
    if corpus.targets and not corpus.emotions:
        target = next(iter(corpus.targets))
        rows = EmotionTask(target, (), (), target, TARGET_LABELS[target]).select(rows, corpus)
    rows = rows[rows["emotion"].notna() & rows["duplicate"].isna() & rows["voice"].notna()]
    rows = rows.assign(group=rows["group"].astype(str))
    n_groups, n_emotions = rows["group"].nunique(), rows["emotion"].nunique()
    if min(n_groups, n_emotions) < 2:
        found = f"{n_groups} test groups and {n_emotions} emotions that can be read"
        raise ProtocolError(corpus.name, f"{found}: no {corpus.person_field}-independent test is possible")
    return rows
