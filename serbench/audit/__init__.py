"""The audit of a corpus, before any number is believed: copies, confounding, counts, and what the set-up gives away.

Each recording is decoded once for the index, which the store keeps, and once for all that is asked here. The verdict
rests on the findings; the simple-cue baseline stands beside it without one. `self_check` is the same question put to
serbench. docs/audit.md tells how each is measured, and what an audit cannot see.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from serbench import __version__
from serbench.audit.across import Voices, across_findings
from serbench.audit.copies import NearCopy, find_near_copies, groups_of
from serbench.audit.cues import Baseline, simple_cue_baseline
from serbench.audit.recordings import Heard, hear_all
from serbench.audit.setup import TOGETHER, GivenAway, Labels, give_away, varying
from serbench.corpora.check import ALTERED_COPIES, Finding, check_copy, copy_findings, damage_findings, silence_findings
from serbench.corpora.divisions import sentences
from serbench.corpora.entry import TARGET_LABELS, Corpus
from serbench.corpora.index import index_fingerprint
from serbench.corpora.labels import Scan, scan_corpus
from serbench.corpora.people import Spoken
from serbench.corpora.tasks import EmotionTask, TargetTask
from serbench.errors import CorpusError, ProtocolError, listed
from serbench.features.extract import extract_corpus
from serbench.progress import Progress, silent
from serbench.protocols import test_groups
from serbench.store.files import write_json
from serbench.store.results import Store

LEVELS = ("error", "warning", "note")
N_OFFSETS = 8
"""Equal parts that offsets are divided into."""
SPEAKERS_TELL = 0.05
"""UAR of shuffled labels above chance from which speakers that differ in a field differ in emotions, too."""
TEXT_TELLS = 0.05
"""UAR of the text alone above that of shuffled labels from which texts give the emotion away."""

_RAISED = {
    ("confounded", "warning"): "error",
    ("copies", "warning"): "error",
    ("copies", "note"): "warning",
    ("emotions", "note"): "warning",
}
"""Kinds and levels of what a check of a copy mentions -> what that means for numbers."""


@dataclass(frozen=True, slots=True)
class CorpusAudit:
    """What the audit of a corpus found, the gravest first; `baseline` is None where it could not be measured."""

    corpus: str
    findings: tuple[Finding, ...]
    baseline: Baseline | None = None

    @property
    def is_sound(self) -> bool:
        """Whether there is no error."""
        return not self.of("error")

    @property
    def verdict(self) -> str:
        """The verdict in words."""
        errors, warnings = (len(self.of(level)) for level in ("error", "warning"))
        if errors:
            return f"do not believe a number yet: {_counted(errors, 'error')}"
        return f"sound, with {_counted(warnings, 'warning')}" if warnings else "sound"

    def of(self, level: str) -> tuple[Finding, ...]:
        """Return the findings of a level."""
        return tuple(finding for finding in self.findings if finding.level == level)


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """How to audit: accept a `partial` copy, read recordings again (`rehash`), with how many threads (`jobs`).

    The simple cues are tried on the emotions of `task` where the corpus has them all, else on all of its own.
    """

    task: EmotionTask
    partial: bool = False
    rehash: bool = False
    jobs: int = 1


def audit_corpus(
    corpus: Corpus,
    store: Store,
    options: AuditOptions,
    *,
    progress: Progress = silent,
    keep: Callable[[Voices], None] | None = None,
) -> CorpusAudit:
    """Audit a corpus on disk and store what is found; faults of the copy are findings, too.

    Parameters
    ----------
    keep : is given what was heard, for `audit_across`.

    Raises
    ------
    StoreError : the index or the findings cannot be written.
    """
    try:
        check = check_copy(corpus, partial=options.partial)
        scan = scan_corpus(corpus, partial=True)
    except CorpusError as error:
        return CorpusAudit(corpus.name, tuple(Finding("error", "labels", str(fault)) for fault in error.faults))
    done = extract_corpus(scan, [], store, jobs=options.jobs, partial=True, rehash=options.rehash, progress=progress)
    heard = _hear(scan, options, progress)
    if keep is not None:
        keep(Voices(Spoken(corpus.name, done.index, corpus.person, corpus.name), heard))
    findings = [_raised(finding) for finding in check.findings if finding.kind != "damage"]
    findings += damage_findings(_problems(done.index, heard))
    findings += silence_findings([one.utterance for one in heard.values() if one.is_silent])
    findings += map(_raised, copy_findings(done.index, corpus.person))
    findings += _near_copies(done.index, heard, corpus.person, jobs=options.jobs)
    told, baseline = _by_groups(done.index, corpus, heard, options.task)
    ordered = sorted([*findings, *told], key=lambda finding: LEVELS.index(finding.level))
    # The findings hold for this state of the index; reports show them as long as the index has it.
    record = {"index": index_fingerprint(done.index), "findings": [dataclasses.asdict(finding) for finding in ordered]}
    write_json(store.audit(corpus.name), {"corpus": corpus.name, "serbench": __version__, **record})
    return CorpusAudit(corpus.name, tuple(ordered), baseline)


def audit_across(corpora: Sequence[Voices], options: AuditOptions) -> CorpusAudit:
    """Audit what corpora have in common."""
    found = sorted(across_findings(corpora, jobs=options.jobs), key=lambda finding: LEVELS.index(finding.level))
    return CorpusAudit(" + ".join(one.spoken.corpus for one in corpora), tuple(found))


def _hear(scan: Scan, options: AuditOptions, progress: Progress) -> dict[str, Heard]:
    heard = {}
    for n, one in enumerate(hear_all(scan, jobs=options.jobs), start=1):
        progress(f"audit {scan.corpus.name}", n, len(scan.rows), n / len(scan.rows))
        if one is not None:
            heard[one.utterance] = one
    return heard


def _raised(finding: Finding) -> Finding:
    return dataclasses.replace(finding, level=_RAISED.get((finding.kind, finding.level), finding.level))


def _problems(index: pd.DataFrame, heard: dict[str, Heard]) -> dict[str, str]:
    """Reasons by file why a recording could not be read, for the index or after it."""
    rows = index[index["problem"].notna() | ~index["utterance"].isin(set(heard))]
    return dict(zip(rows["file"], rows["problem"].fillna("changed while it was audited"), strict=True))


def _near_copies(index: pd.DataFrame, heard: dict[str, Heard], person: str, *, jobs: int) -> Iterator[Finding]:
    """Name recordings that are one, but not byte by byte: across people a leak, else a warning."""
    rows = index.set_index("utterance")
    voices = {utterance: one.voice for utterance, one in heard.items()}
    prints = {utterance: one.fingerprint for utterance, one in heard.items()}
    pairs = find_near_copies(voices, prints, jobs=jobs)
    hashes = rows["audio_hash"].to_dict()
    altered = [pair for pair in pairs if hashes[pair.one] != hashes[pair.other]]
    groups = groups_of(altered)
    across = [group for group in groups if rows.loc[group, person].nunique() > 1]
    same = [group for group in groups if group not in across]
    for level, whose, found in (("error", f"different {person}s", across), ("warning", f"one {person}", same)):
        if found:
            text = f"altered copies of one recording under names of {whose}, {_counted(len(found), 'time')}: "
            titles = (_group_title(group, altered, rows.loc[group, "emotion"]) for group in found)
            yield Finding(level, ALTERED_COPIES, text + listed(titles))


def _group_title(group: Sequence[str], pairs: Sequence[NearCopy], emotions: pd.Series) -> str:
    least = min(pair.correlation for pair in pairs if {pair.one, pair.other} <= set(group))
    differ = ", with different emotions" if emotions.nunique(dropna=False) > 1 else ""
    return f"{' = '.join(group)} (correlation {least:.2f}{differ})"


def _by_groups(
    index: pd.DataFrame, corpus: Corpus, heard: dict[str, Heard], task: EmotionTask
) -> tuple[list[Finding], Baseline | None]:
    """Ask what needs the test groups of the corpus."""
    try:
        group_of = {u: group.name for group in test_groups(index, corpus) for u in group.utterances}
    except ProtocolError as error:
        return [Finding("error", "folds", str(error))], None
    index = _with_labels(index, corpus)
    rows = index[index["emotion"].notna() & index["duplicate"].isna() & index["utterance"].isin(set(heard))]
    rows = rows.assign(group=rows["utterance"].map(group_of))
    if rows["group"].nunique() < 2 or rows["emotion"].nunique() < 2:
        found = f"{rows['group'].nunique()} test groups and {rows['emotion'].nunique()} emotions that can be read"
        return [Finding("error", "folds", f"{found}: no {corpus.person}-independent test is possible")], None
    findings = [*_missing_emotions(rows, corpus), *_setup_findings(rows, corpus.person, heard)]
    findings += text_findings(rows, corpus.person)
    mapped = rows["emotion"].map({source: target for target, sources in task.merges for source in sources})
    if set(mapped.dropna()) == set(task.emotions):
        rows = rows.assign(emotion=mapped)[mapped.notna()]
    cues = np.stack([heard[u].cues for u in rows["utterance"]])
    return findings, simple_cue_baseline(cues, _labels(rows, corpus.person))


def _with_labels(index: pd.DataFrame, corpus: Corpus) -> pd.DataFrame:
    """Give the utterances of a corpus without emotions the labels of its first target, e.g. high and low arousal."""
    if corpus.emotions or not corpus.targets:
        return index
    target = next(iter(corpus.targets))
    return TargetTask(target, (), (), target, TARGET_LABELS[target]).select(index, corpus)


def _missing_emotions(rows: pd.DataFrame, corpus: Corpus) -> Iterator[Finding]:
    absent = sorted(set(corpus.emotions.values()) - set(rows["emotion"]))
    if absent:
        yield Finding("warning", "emotions", f"no utterance of {listed(absent)}, which the entry knows")
    groups = rows.groupby("emotion")["group"].agg(["nunique", "first"])
    for emotion, alone in groups[groups["nunique"] == 1]["first"].items():
        text = f"{emotion} is in test group {alone} only: tested there, nothing has been learnt of it"
        yield Finding("error", "emotions", text)


def _setup_findings(rows: pd.DataFrame, person: str, heard: dict[str, Heard]) -> Iterator[Finding]:
    labels = _labels(rows, person)
    told = [heard[u] for u in rows["utterance"]]
    columns = varying([one.setup for one in told])
    if not columns:
        yield Finding("note", "set-up", "the recording set-up is the same everywhere")
    fields = give_away(columns, labels)
    found = [one for one in fields if one.is_certain]
    alone = [one for one in found if one.field != TOGETHER] or found
    yield from (Finding("error" if one.is_much else "warning", "set-up", _gives_away(one)) for one in alone)
    if fields and not found:
        yield Finding("note", "set-up", _says_nothing(fields))
    yield from _speakers_differ(fields, chance=1 / len(labels.emotions), person=person)
    by_level = [one for one in give_away(varying(_level_fields(told)), labels) if one.field != TOGETHER]
    yield from (Finding("warning", "level", _follows_level(one)) for one in by_level if one.is_certain)


def text_findings(rows: pd.DataFrame, person: str) -> Iterator[Finding]:
    """Ask whether the sentences alone predict the emotion, as where each emotion has sentences of its own."""
    if "text" not in rows or rows["text"].isna().all():
        yield Finding("note", "text", "the entry gives no texts, so whether sentences give the emotion away is unknown")
        return
    texts = sentences(rows).fillna("")
    n_groups = rows["group"].groupby(texts).transform("nunique")
    # A text of one test group says nothing of the others, nor does it count as one text with such texts elsewhere.
    values = texts.where((texts != "") & (n_groups > 1), "(of group " + rows["group"] + " only)")
    (found,) = give_away({"text": list(values)}, _labels(rows, person))
    if found.is_certain and found.uar - found.expected >= TEXT_TELLS:
        emotions = rows.groupby("text")["emotion"].nunique()
        everywhere = emotions.index[emotions == rows["emotion"].nunique()]
        yield Finding("warning", "text", _text_gives_away(found, len(emotions), sorted(everywhere)))


def _text_gives_away(one: GivenAway, n_texts: int, everywhere: Sequence[str]) -> str:
    common = f"{len(everywhere)} of {n_texts} texts are said in every emotion"
    return (
        f"the text gives the emotion away: from the text alone UAR is {one.uar:.2f}, {one.expected:.2f} with shuffled "
        f"labels (p {one.p:.3f}); {one.example}. {common}{f' ({listed(everywhere)})' if everywhere else ''}. "
        "A classifier may learn sentences instead of emotions. Report the values by sentence (texts.md)"
        + (f", or of common sentences alone (--where text={everywhere[0]})" if everywhere else "")
    )


def _level_fields(told: Sequence[Heard]) -> list[dict[str, str]]:
    """Fields that follow from how loud somebody was: offsets in parts of equal size, and clipping."""
    offsets = np.array([one.offset for one in told])
    edges = np.quantile(offsets, np.arange(1, N_OFFSETS) / N_OFFSETS)
    parts = np.searchsorted(edges, offsets)
    shown = [f"part {part + 1} of {N_OFFSETS}" for part in parts]
    return [
        {"offset": part, "clipping": "clipped" if one.is_clipped else "not clipped"}
        for part, one in zip(shown, told, strict=True)
    ]


def _gives_away(one: GivenAway) -> str:
    return (
        f"the recording set-up gives the emotion away: from the {one.field} alone UAR is {one.uar:.2f}, "
        f"{one.expected:.2f} with shuffled labels (p {one.p:.3f}); {one.example}"
    )


def _follows_level(one: GivenAway) -> str:
    return (
        f"{one.field} of the samples predicts the emotion: UAR {one.uar:.2f}, {one.expected:.2f} with shuffled labels, "
        f"chance {one.chance:.2f} (p {one.p:.3f}). It goes with the gain of a recording and so with level, a cue of "
        "emotion: no error, but no feature should hold it"
    )


def _says_nothing(fields: Sequence[GivenAway]) -> str:
    names = listed(one.field for one in fields if one.field != TOGETHER)
    best = min(fields, key=lambda one: (one.p, -one.uar))
    return (
        f"the set-up differs in {names}, and tells no emotion "
        f"(nearest: {best.field}, UAR {best.uar:.2f}, {best.expected:.2f} with shuffled labels)"
    )


def _speakers_differ(fields: Sequence[GivenAway], *, chance: float, person: str) -> Iterator[Finding]:
    for one in fields:
        if one.field != TOGETHER and one.expected - chance >= SPEAKERS_TELL:
            text = (
                f"{person}s differ in {one.field} and in their emotions: it predicts them with UAR {one.expected:.2f} "
                f"even where labels are shuffled within {person}s; chance is {chance:.2f}"
            )
            yield Finding("warning", "confounded", text)


def _labels(rows: pd.DataFrame, person: str) -> Labels:
    truth, emotions = pd.factorize(rows["emotion"], sort=True)
    groups, _ = pd.factorize(rows["group"], sort=True)
    speakers, _ = pd.factorize(rows[person], sort=True)
    return Labels(tuple(map(str, emotions)), truth, groups, speakers)


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
