"""Check a copy of a corpus against its entry and against the traps seen in real copies.

Headers are read always; samples only in a deep check. Nothing is written.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd

from serbench.corpora.audio import Header, decode, read_header
from serbench.corpora.entry import Corpus
from serbench.corpora.index import cross_speaker_duplicates, identical_recordings, overlapping_segments
from serbench.corpora.labels import Scan, scan_corpus
from serbench.errors import AudioError, CorpusError, listed

SHORTEST_S = 0.025
"""Shorter recordings give no IS09 features, in seconds; other sets need more."""
FEW = 50
"""Utterances of an emotion below which a note says so."""

ALTERED_COPIES = "altered copies"
"""Kind of the findings on recordings that are one, but not byte by byte."""

Value = TypeVar("Value", int, str)


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: `error` where numbers would be wrong or missing, `warning` where they mislead, or `note`.

    `kind` says in a word or two what was looked at, e.g. `counts` or `sampling rate`.
    """

    level: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class CorpusCheck:
    """What a check found, and facts of the copy in words."""

    corpus: str
    facts: Mapping[str, str]
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether there is no error."""
        return all(finding.level != "error" for finding in self.findings)


def check_copy(corpus: Corpus, *, partial: bool = False, deep: bool = False) -> CorpusCheck:
    """Check labels, counts, headers and, if `deep`, every sample.

    Raises
    ------
    CorpusError : the labels cannot be read at all.
    """
    findings: list[Finding] = []
    try:
        scan = scan_corpus(corpus, partial=partial)
    except CorpusError as error:
        findings += [Finding("error", "counts", str(fault)) for fault in error.faults]
        scan = scan_corpus(corpus, partial=True)
    if scan.partial and partial:
        findings.append(Finding("note", "counts", scan.partial))
    headers, unreadable = _headers(scan)
    findings += unreadable
    findings += _header_findings(corpus, headers, partial=partial)
    findings += _label_findings(scan)
    findings += [Finding("warning", "gender", scan.note)] if scan.note else []
    if deep:
        findings += _deep_findings(scan, headers)
    return CorpusCheck(corpus.name, _facts(scan, headers), tuple(findings))


def confounded(index: pd.DataFrame, person: str) -> str:
    """Say so when at least half of the people have one emotion only; empty otherwise."""
    emotions = index.groupby(person)["emotion"].nunique()
    single = int((emotions == 1).sum())
    if single * 2 < len(emotions) or not single:
        return ""
    return f"{person} and emotion are confounded ({single} of {len(emotions)} have one emotion only)"


def _headers(scan: Scan) -> tuple[dict[str, Header], list[Finding]]:
    headers, reasons = {}, {}
    for file in dict.fromkeys(scan.table["file"]):
        try:
            headers[file] = read_header(scan.path(file))
        except AudioError as error:
            reasons[file] = str(error)
    return headers, list(damage_findings(reasons))


def damage_findings(reasons: Mapping[str, str]) -> Iterator[Finding]:
    """Word the reasons why recordings cannot be read, many files with one fault as one finding."""
    kinds: dict[str, list[str]] = {}
    for file, reason in reasons.items():
        kinds.setdefault(reason.replace(Path(file).name, "FILE", 1), []).append(file)
    for kind, files in kinds.items():
        what = kind.removeprefix("FILE: ")
        text = f"{files[0]}: {what}" if len(files) == 1 else f"{len(files)} files: {what} ({listed(files)})"
        yield Finding("error", "damage", text)


def _header_findings(corpus: Corpus, headers: Mapping[str, Header], *, partial: bool) -> Iterator[Finding]:
    rates = _by({file: header.sampling_rate for file, header in headers.items()})
    if corpus.expect.rate is not None and rates and max(rates, key=lambda r: len(rates[r])) != corpus.expect.rate:
        found = max(rates, key=lambda r: len(rates[r]))
        level = "note" if partial else "error"
        text = f"most recordings have {found} Hz, expected {corpus.expect.rate} Hz: not the original files"
        yield Finding(level, "sampling rate", text)
    yield from _odd_ones("sampling rates differ", {f"{rate} Hz": files for rate, files in rates.items()})
    channels = _by({file: header.channels for file, header in headers.items()})
    yield from _odd_ones("channels differ", {f"{n} channels": files for n, files in channels.items()})
    formats = _by({file: f"{header.container} {header.subtype}" for file, header in headers.items()})
    yield from _odd_ones("formats differ", formats)
    disguised = [
        f for f, h in headers.items() if f.lower().endswith(".wav") and not h.container.startswith(("WAV", "RF64"))
    ]
    if disguised:
        text = f"{len(disguised)} files named .wav are something else inside, but readable: {listed(disguised)}"
        yield Finding("note", "format", text)
    short = [file for file, header in headers.items() if header.duration_s < SHORTEST_S]
    if short:
        text = f"{len(short)} recordings are shorter than {SHORTEST_S * 1000:.0f} ms: {listed(short)}"
        yield Finding("error", "duration", text)
    durations = {header.duration_s for header in headers.values()}
    if len(headers) > 10 and len(durations) == 1:
        text = (
            f"all {len(headers)} recordings last exactly {durations.pop():g} s: cut or padded copies, not the originals"
        )
        yield Finding("warning", "duration", text)


def _odd_ones(what: str, groups: Mapping[str, list[str]]) -> Iterator[Finding]:
    if len(groups) < 2:
        return
    usual = max(groups, key=lambda name: len(groups[name]))
    rest = "; ".join(f"{name}: {listed(files)}" for name, files in groups.items() if name != usual)
    yield Finding("note", "format", f"{what}: {len(groups[usual])} have {usual}; {rest}")


def _label_findings(scan: Scan) -> Iterator[Finding]:
    person = scan.corpus.person
    labelled = scan.table[scan.table["emotion"].notna()]
    if labelled.empty:
        level = "warning" if scan.corpus.emotions else "note"  # a corpus of dimensions has none
        yield Finding(level, "emotions", "no utterance has an emotion")
        return
    text = confounded(labelled, person)
    if text:
        yield Finding("warning", "confounded", f"{text}: what a classifier learns of one may be the other")
    yield from _case_findings(scan)
    counts = labelled.groupby([person, "emotion"]).size().unstack(fill_value=0)
    lacking = [f"{str(p).rpartition('/')[2]} lacks {', '.join(row.index[row == 0])}" for p, row in counts.iterrows()]
    lacking = [line for line in lacking if not line.endswith("lacks ")]
    if lacking:
        yield Finding(
            "note",
            "emotions",
            f"{len(lacking)} of {len(counts)} {person}s lack an emotion: {'; '.join(lacking[:5])}"
            + ("; ..." if len(lacking) > 5 else ""),
        )
    few = [f"{emotion} ({n})" for emotion, n in labelled["emotion"].value_counts().items() if n < FEW]
    if few:
        yield Finding("note", "counts", f"emotions with fewer than {FEW} utterances: {listed(few)}")


def _case_findings(scan: Scan) -> Iterator[Finding]:
    """Name people whose names differ in case or form of Unicode only: often one person, who trains and is tested."""
    person = scan.corpus.person
    names = sorted(name.removeprefix(f"{scan.corpus.name}/") for name in scan.table[person].dropna().unique())
    same = _by({name: unicodedata.normalize("NFKC", name).casefold() for name in names})
    alike = [of for of in same.values() if len(of) > 1]
    if alike:
        first, *others = alike[0]
        entry = f"`values: {{{person}: {{{', '.join(f'{other}: {first}' for other in others)}}}}}`"
        text = f"{person}s whose names differ in case only: {listed(map(' and '.join, alike))}"
        yield Finding("warning", f"{person}s", f"{text}. If they are one person, write {entry} into the entry")


def _deep_findings(scan: Scan, headers: Mapping[str, Header]) -> Iterator[Finding]:
    reasons, silent, hashes = {}, [], {}
    for row in scan.rows:
        file = str(row["file"])
        if file not in headers:
            continue
        try:
            path, start_s, end_s = scan.span(row)
            recording = decode(path, start_s=start_s, end_s=end_s)
        except AudioError as error:
            reasons[str(row["utterance"])] = str(error)
            continue
        if np.any(recording.samples):
            hashes[str(row["utterance"])] = recording.audio_hash
        else:
            silent.append(str(row["utterance"]))
    yield from damage_findings(reasons)
    yield from silence_findings(silent)
    yield from copy_findings(scan.table.assign(audio_hash=scan.table["utterance"].map(hashes)), scan.corpus.person)


def silence_findings(silent: Sequence[str]) -> Iterator[Finding]:
    """Name the utterances without a single sample that is not zero."""
    if silent:
        yield Finding("warning", "digital silence", f"{len(silent)} recordings are digital silence: {listed(silent)}")


def copy_findings(index: pd.DataFrame, person: str) -> Iterator[Finding]:
    """Name overlapping segments and byte-identical recordings, across people and of one, by an index with hashes."""
    across = cross_speaker_duplicates(index, person=person)
    overlaps = overlapping_segments(index, person=person)
    if overlaps:
        pairs = listed(f"{one} and {other}" for one, other in overlaps)
        yield Finding("warning", "copies", f"segments of different {person}s overlap: {pairs}")
    for utterance, reason in across.items():
        yield Finding("warning", "copies", f"{utterance}: {reason}; it takes no part")
    emotions = index.set_index("utterance")["emotion"]
    for group in identical_recordings(index):
        if set(group) & set(across):
            continue
        differ = emotions[group].nunique(dropna=False) > 1  # so one of the labels is wrong
        text = f"byte-identical recordings of one {person}{' with different emotions' if differ else ''}"
        yield Finding("warning" if differ else "note", "copies", f"{text}: {listed(group)}")


def _facts(scan: Scan, headers: Mapping[str, Header]) -> dict[str, str]:
    table = scan.table
    durations = [header.duration_s for header in headers.values()]
    spread = (
        f"{min(durations):.2f} to {max(durations):.2f} s, median {np.median(durations):.2f} s" if durations else "–"
    )
    counts = table["emotion"].value_counts()
    return {
        "utterances": f"{len(table)} in {table['file'].nunique()} recordings",
        f"{scan.corpus.person}s": str(table[scan.corpus.person].nunique()),
        "emotions": ", ".join(f"{emotion} {n}" for emotion, n in sorted(counts.items())) or "none",
        "sampling rate": _counted(f"{h.sampling_rate} Hz" for h in headers.values()),
        "channels": _counted(str(h.channels) for h in headers.values()),
        "format": _counted(f"{h.container} {h.subtype}" for h in headers.values()),
        "duration": spread,
    }


def _counted(values: Iterable[str]) -> str:
    counts = Counter(values).most_common()
    return counts[0][0] if len(counts) == 1 else ", ".join(f"{value} ({n})" for value, n in counts)


def _by(values: Mapping[str, Value]) -> dict[Value, list[str]]:
    groups: dict[Value, list[str]] = {}
    for file, value in values.items():
        groups.setdefault(value, []).append(file)
    return groups
