"""The audit of a corpus, before any number is believed: copies, labels, counts, and what the set-up gives away.

The verdict rests on the findings; the simple-cue baseline has none. docs/audit.md explains how each is measured, and
what an audit cannot find.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from serbench import __version__
from serbench.audit.checks import (
    Finding,
    check_altered_copies,
    check_copies,
    check_formats,
    check_labels,
    check_recordings,
    facts_of,
)
from serbench.audit.copies import find_near_copies
from serbench.audit.setup import TOGETHER, Baseline, Labels, Prediction, hear, predict, simple_cue_baseline
from serbench.corpora.audio import Recording
from serbench.corpora.catalogue import Names, entries_of
from serbench.corpora.divisions import sentences
from serbench.corpora.entry import TARGET_LABELS, Corpus
from serbench.corpora.index import index_fingerprint
from serbench.corpora.labels import Scan, scan_corpus
from serbench.corpora.people import shared_recordings, with_people
from serbench.corpora.tasks import EmotionTask, find_task
from serbench.errors import CorpusError, ProtocolError, listed
from serbench.features.extract import extract_corpus
from serbench.protocols import add_groups
from serbench.store.files import write_json
from serbench.workspace import HERE, Workspace

LEVELS = ("error", "warning", "note")
N_OFFSETS = 8  # equal parts that offsets are divided into
SPEAKERS_DIFFER = 0.05
"""UAR of shuffled labels above chance from which speakers that differ in a field differ in emotions, too."""
TEXT_ABOVE = 0.05  # UAR of the text alone above that of shuffled labels from which texts give the emotion away


@dataclass(frozen=True, slots=True)
class CorpusAudit:
    """What the audit of a corpus found, the gravest first, with facts of the copy in words.

    `baseline` is None where it could not be measured.
    """

    corpus: str
    findings: tuple[Finding, ...]
    facts: Mapping[str, str] = field(default_factory=dict)
    baseline: Baseline | None = None

    @property
    def is_sound(self) -> bool:
        """Whether there is no error."""
        return not self.of("error")

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        counts = {level: len(self.of(level)) for level in ("error", "warning")}
        words = {level: f"{n} {level}{'s' * (n > 1)}" for level, n in counts.items() if n}
        if "error" in words:
            return f"do not believe a number yet: {words['error']}"
        return f"sound, with {words['warning']}" if words else "sound"

    def of(self, level: str) -> tuple[Finding, ...]:
        """Return the findings of a level."""
        return tuple(finding for finding in self.findings if finding.level == level)


def audit_corpora(names: Names = None, workspace: Workspace = HERE) -> Iterator[CorpusAudit]:
    """Audit corpora before any of their numbers is believed, one after the other.

    The index of each corpus and the findings are stored. Reports show altered copies across speakers that were found.

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
            yield _audit(title, check_shared(pd.concat(heard, ignore_index=True), jobs=workspace.workers))

    return each()


def _audit(corpus: str, findings: Sequence[Finding] | Iterator[Finding], **more: Any) -> CorpusAudit:
    ordered = sorted(findings, key=lambda finding: LEVELS.index(finding.level))
    return CorpusAudit(corpus, tuple(ordered), **more)


def _audit_corpus(corpus: Corpus, task: EmotionTask, workspace: Workspace) -> tuple[CorpusAudit, pd.DataFrame | None]:
    """Audit a corpus and store what was found; return its utterances too, as they were heard.

    The simple cues are tried on the emotions of `task` where the corpus has them all, else on all of its own.
    """
    findings: list[Finding] = []
    try:
        try:
            scan = scan_corpus(corpus, partial=workspace.partial)
        except CorpusError as error:  # go on with what is there
            findings += [Finding("error", "counts", str(fault)) for fault in error.faults]
            scan = scan_corpus(corpus, partial=True)
    except CorpusError as error:
        return _audit(corpus.name, [Finding("error", "labels", str(fault)) for fault in error.faults]), None
    index, utterances = _heard(scan, workspace)
    findings += [Finding("note", "counts", scan.partial)] if scan.partial and workspace.partial else []
    findings += [Finding("warning", "gender", scan.note)] if scan.note else []
    findings += check_recordings(utterances)
    findings += check_formats(utterances, corpus, partial=workspace.partial)
    findings += check_labels(utterances, corpus)
    findings += check_copies(utterances, corpus.person)
    findings += check_altered_copies(utterances, corpus.person, jobs=workspace.workers)
    rows, faults = _tested(utterances, corpus)
    baseline = None
    findings += faults
    if not faults:
        findings += check_groups(rows, corpus)
        findings += check_setup(rows, corpus.person)
        findings += check_texts(rows, corpus.person)
        baseline = _baseline(rows, corpus.person, task)
    audit = _audit(corpus.name, findings, facts=facts_of(utterances, corpus.person), baseline=baseline)
    # The findings hold for this state of the index; reports show them as long as the index has it.
    record = {"index": index_fingerprint(index), "findings": [dataclasses.asdict(one) for one in audit.findings]}
    write_json(workspace.store().audit(corpus.name), {"corpus": corpus.name, "serbench": __version__, **record})
    return audit, utterances


def _heard(scan: Scan, workspace: Workspace) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Decode each recording once; return the index, and the index with the columns of `setup.hear`, null if damaged."""
    heard: list[dict[str, Any]] = []

    def listen(utterance: str, path: Path, recording: Recording) -> None:
        heard.append({"utterance": utterance, **hear(path, recording)})

    done = extract_corpus(
        scan, [], workspace.store(), jobs=workspace.workers, partial=True, progress=workspace.progress, listen=listen
    )
    columns = ["utterance", "setup", "offset", "is_clipped", "cues", "voice", "fingerprint"]
    return done.index, done.index.merge(pd.DataFrame(heard, columns=columns), on="utterance", how="left")


def check_shared(utterances: pd.DataFrame, *, jobs: int) -> Iterator[Finding]:
    """Compare the recordings of several corpora: those that two have are an error, unless an entry declares it.

    Parameters
    ----------
    utterances : of all corpora, as heard and with people; copies within a corpus are for its own audit.
    """
    alike: dict[tuple[str, str], str] = {}
    for _, group in shared_recordings(utterances).groupby("audio_hash")["utterance"]:
        alike |= {(one, other): f"{one} = {other}" for one, other in itertools.combinations(group, 2)}
    for copy in find_near_copies(utterances[utterances["voice"].notna()], jobs=jobs):
        title = f"{copy.one} = {copy.other} (altered, correlation {copy.correlation:.2f})"
        alike.setdefault((copy.one, copy.other), title)
    corpus_of = dict(zip(utterances["utterance"], utterances["corpus"], strict=True))
    pairs = pd.DataFrame([(*pair, title) for pair, title in alike.items()], columns=["one", "other", "title"])
    corpora = pairs[["one", "other"]].apply(lambda names: names.map(corpus_of))
    pairs = pairs[corpora["one"] != corpora["other"]]
    order = list(dict.fromkeys(utterances["corpus"]))
    namespace_of = dict(zip(utterances["corpus"], utterances["namespace"], strict=True))
    for one, other in itertools.combinations(order, 2):
        titles = pairs["title"][corpora.isin([one, other]).all(axis=1)]
        if len(titles):
            text = f"{one} and {other} have {len(titles)} recordings in common: {listed(titles)}"
            todo = f"add `shares_speakers_with: [{one}]` to the entry of {other}, or use one of the two"
            if namespace_of[one] == namespace_of[other]:
                yield Finding("note", "copies", f"{text}; an entry says that they share speakers")
            else:
                yield Finding("error", "copies", f"{text}. Their speakers are the same people: {todo}")
    if pairs.empty:
        yield Finding("note", "copies", "no recording of one corpus is in another")


def _tested(utterances: pd.DataFrame, corpus: Corpus) -> tuple[pd.DataFrame, list[Finding]]:
    """Return the labelled utterances that take part, with their test `group`; a finding where no test is possible.

    A corpus of dimensions has the labels of its first target, e.g. high and low arousal.
    """
    try:
        rows = add_groups(utterances, corpus)
    except ProtocolError as error:
        return utterances, [Finding("error", "folds", str(error))]
    if corpus.targets and not corpus.emotions:
        target = next(iter(corpus.targets))
        rows = EmotionTask(target, (), (), target, TARGET_LABELS[target]).select(rows, corpus)
    rows = rows[rows["emotion"].notna() & rows["duplicate"].isna() & rows["voice"].notna()]
    rows = rows.assign(group=rows["group"].astype(str))
    n_groups, n_emotions = rows["group"].nunique(), rows["emotion"].nunique()
    if n_groups > 1 and n_emotions > 1:
        return rows, []
    found = f"{n_groups} test groups and {n_emotions} emotions that can be read"
    return rows, [Finding("error", "folds", f"{found}: no {corpus.person}-independent test is possible")]


def check_groups(rows: pd.DataFrame, corpus: Corpus) -> Iterator[Finding]:
    """Name emotions that no utterance or only one test group has."""
    absent = sorted(set(corpus.emotions.values()) - set(rows["emotion"]))
    if absent:
        yield Finding("warning", "emotions", f"no utterance of {listed(absent)}, which the entry names")
    groups = rows.groupby("emotion")["group"].agg(["nunique", "first"])
    for emotion, alone in groups[groups["nunique"] == 1]["first"].items():
        text = f"{emotion} is in test group {alone} only: where it is tested, no utterance of it trains"
        yield Finding("error", "emotions", text)


def check_setup(rows: pd.DataFrame, person: str) -> Iterator[Finding]:
    """Test whether the fields of the set-up, or offset and clipping, predict the emotion."""
    labels = Labels.of(rows, person)
    fields = predict(pd.DataFrame(rows["setup"].tolist()), labels)
    yield from _setup_findings(fields)
    for one in fields:
        if one.field != TOGETHER and one.expected - one.chance >= SPEAKERS_DIFFER:
            text = (
                f"{person}s differ in {one.field} and in their emotions: UAR from it is {one.expected:.2f} even with "
            )
            text += f"labels shuffled within {person}s; chance is {one.chance:.2f}"
            yield Finding("warning", "confounded", text)
    parts = np.searchsorted(np.quantile(rows["offset"], np.arange(1, N_OFFSETS) / N_OFFSETS), rows["offset"])
    level = pd.DataFrame({"offset": parts, "clipping": rows["is_clipped"].to_numpy()})
    for one in predict(level, labels):
        if one.is_certain and one.field != TOGETHER:
            text = (
                f"{one.field} of the samples predicts the emotion: {_uar(one)}, chance {one.chance:.2f}. It goes with "
            )
            text += (
                "the gain of a recording and so with level, a cue of emotion: no error, but no feature should hold it"
            )
            yield Finding("warning", "level", text)


def _setup_findings(fields: Sequence[Prediction]) -> Iterator[Finding]:
    """Name the fields that predict the emotion, or say that none does; together only if none does alone."""
    certain = [one for one in fields if one.is_certain]
    for one in [one for one in certain if one.field != TOGETHER] or certain:
        text = f"the recording set-up gives the emotion away: from the {one.field} alone {_uar(one)}; {one.example}"
        yield Finding("error" if one.is_much else "warning", "set-up", text)
    if not fields:
        yield Finding("note", "set-up", "the recording set-up is the same everywhere")
    elif not certain:
        names = listed(one.field for one in fields if one.field != TOGETHER)
        best = min(fields, key=lambda one: (one.p, -one.uar))
        text = f"the set-up differs in {names}, and predicts no emotion (nearest: {best.field}, {_uar(best)})"
        yield Finding("note", "set-up", text)


def _uar(one: Prediction) -> str:
    return f"UAR is {one.uar:.2f}, {one.expected:.2f} with shuffled labels (p {one.p:.3f})"


def check_texts(rows: pd.DataFrame, person: str) -> Iterator[Finding]:
    """Test whether the sentences alone predict the emotion, as where each emotion has sentences of its own."""
    if "text" not in rows or rows["text"].isna().all():
        yield Finding("note", "text", "the entry gives no texts, so whether sentences give the emotion away is unknown")
        return
    texts = sentences(rows).fillna("")
    n_groups = rows["group"].groupby(texts).transform("nunique")
    # A text of one test group predicts nothing for the others, nor is it one text with such texts elsewhere.
    values = texts.where((texts != "") & (n_groups > 1), "(of group " + rows["group"] + " only)")
    for found in predict(values.to_frame("text"), Labels.of(rows, person)):
        if found.is_certain and found.uar - found.expected >= TEXT_ABOVE:
            emotions = rows.groupby("text")["emotion"].nunique()
            common = sorted(emotions.index[emotions == rows["emotion"].nunique()])
            names = f" ({listed(common)})" if common else ""
            todo = f", or of common sentences alone (--where text={common[0]})" if common else ""
            text = f"the text gives the emotion away: from the text alone {_uar(found)}; {found.example}. "
            text += f"{len(common)} of {len(emotions)} texts are said in every emotion{names}. A classifier may learn "
            text += f"sentences instead of emotions. Report the values by sentence (texts.md){todo}"
            yield Finding("warning", "text", text)


def _baseline(rows: pd.DataFrame, person: str, task: EmotionTask) -> Baseline | None:
    mapped = rows["emotion"].map({source: target for target, sources in task.merges for source in sources})
    if set(mapped.dropna()) == set(task.emotions):
        rows = rows.assign(emotion=mapped)[mapped.notna()]
    return simple_cue_baseline(np.stack(rows["cues"].tolist()), Labels.of(rows, person))
