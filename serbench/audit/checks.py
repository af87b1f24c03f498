"""Checks of a copy of a corpus against its entry, and of its labels, by its table of utterances.

The table is the index with the columns of `setup.hear`, which are null for recordings that cannot be decoded. A finding
is an *error* where numbers would be wrong or missing, a *warning* where they mislead, or a *note*.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from serbench.audit.copies import find_near_copies, groups_of
from serbench.corpora.entry import Corpus
from serbench.corpora.index import cross_speaker_duplicates, identical_recordings, overlapping_segments
from serbench.corpora.people import confounded
from serbench.errors import listed

SHORTEST_S = 0.025  # shorter recordings give no IS09 features, in seconds; other sets need more
FEW = 50  # number of utterances of an emotion below which a note names it
ALTERED_COPIES = "altered copies"  # kind of the findings on recordings that are one, but not byte by byte


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding; `level` is error, warning or note, and `kind` names what was checked, e.g. `counts`."""

    level: str
    kind: str
    text: str


def facts_of(utterances: pd.DataFrame, person: str) -> dict[str, str]:
    """Return counts, formats and durations of a copy in words."""
    durations = utterances["duration_s"].dropna()
    emotions = utterances["emotion"].value_counts().sort_index()
    spread = f"{durations.min():.2f} to {durations.max():.2f} s, median {durations.median():.2f} s"
    return {
        "utterances": f"{len(utterances)} in {utterances['file'].nunique()} recordings",
        f"{person}s": str(utterances[person].nunique()),
        "emotions": ", ".join(f"{emotion} {n}" for emotion, n in emotions.items()) or "none",
        **{str(name): _in_words(values) for name, values in _formats(utterances).items()},
        "duration": spread if len(durations) else "none",
    }


def _formats(utterances: pd.DataFrame) -> pd.DataFrame:
    """Sampling rate, channels and format in words, one row per recording that was decoded."""
    heard = utterances[utterances["voice"].notna()].drop_duplicates("file")
    setup = pd.DataFrame(
        heard["setup"].tolist(), heard["file"], ["sampling rate", "channels", "container", "sample format"], dtype=str
    )
    channels = setup["channels"] + setup["channels"].map(lambda n: " channel" if n == "1" else " channels")
    formats = setup["container"] + " " + setup["sample format"]
    return setup[["sampling rate"]].assign(channels=channels, format=formats)


def _in_words(values: pd.Series) -> str:
    counts = values.value_counts()
    return ", ".join(f"{value} ({n})" for value, n in counts.items()) if len(counts) > 1 else "".join(counts.index)


def check_recordings(utterances: pd.DataFrame) -> Iterator[Finding]:
    """Look for recordings that cannot be read, are digital silence, or have a duration that no original has."""
    yield from _damage(utterances)
    heard = utterances[utterances["voice"].notna()]
    silent = heard["utterance"][[not np.any(voice) for voice in heard["voice"]]]
    if len(silent):
        yield Finding("warning", "digital silence", f"{len(silent)} recordings are digital silence: {listed(silent)}")
    short = heard["utterance"][heard["duration_s"] < SHORTEST_S]
    if len(short):
        text = f"{len(short)} recordings are shorter than {SHORTEST_S * 1000:.0f} ms: {listed(short)}"
        yield Finding("error", "duration", text)
    whole = heard["duration_s"][heard["start_s"].isna() & heard["end_s"].isna()]
    if len(whole) > 10 and whole.nunique() == 1:
        text = f"all {len(whole)} recordings last exactly {whole.iloc[0]:g} s: cut or padded copies, not the originals"
        yield Finding("warning", "duration", text)


def check_formats(utterances: pd.DataFrame, corpus: Corpus, *, partial: bool) -> Iterator[Finding]:
    """Compare the sampling rate with the entry's, and name the recordings of another format than most."""
    formats = _formats(utterances)
    rate = formats["sampling rate"].mode()
    if corpus.expect.rate is not None and len(rate) and rate[0] != f"{corpus.expect.rate} Hz":
        text = f"most recordings have {rate[0]}, expected {corpus.expect.rate} Hz: not the original files"
        yield Finding("note" if partial else "error", "sampling rate", text)
    for name, values in formats.items():
        usual, *others = values.value_counts().index if len(values) else [""]
        if others:
            rest = "; ".join(f"{other}: {listed(values.index[values == other])}" for other in others)
            yield Finding("note", "format", f"{name}: {(values == usual).sum()} have {usual}; {rest}")
    is_wav = formats["format"].str.startswith(("WAV", "RF64"))
    disguised = formats.index[formats.index.str.lower().str.endswith(".wav") & ~is_wav]
    if len(disguised):
        text = f"{len(disguised)} files named .wav are something else inside, but readable: {listed(disguised)}"
        yield Finding("note", "format", text)


def _damage(utterances: pd.DataFrame) -> Iterator[Finding]:
    """Word why recordings cannot be read; many files with one fault are one finding."""
    lost = utterances[utterances["voice"].isna()]
    named = zip(lost["file"], lost["problem"], strict=True)
    kinds = [str(reason).replace(Path(file).name, "FILE", 1) for file, reason in named]
    for kind, files in lost["file"].groupby(kinds, sort=False):
        names, what = list(dict.fromkeys(files)), str(kind).removeprefix("FILE: ")
        many = f"{len(names)} files: {what} ({listed(names)})"
        yield Finding("error", "damage", f"{names[0]}: {what}" if len(names) == 1 else many)


def check_labels(utterances: pd.DataFrame, corpus: Corpus) -> Iterator[Finding]:
    """Look for people with one emotion only, names that differ in case, and emotions that few people have."""
    person = corpus.person
    rows = utterances[utterances["emotion"].notna()]
    if rows.empty:
        level = "warning" if corpus.emotions else "note"  # a corpus of dimensions has no emotions
        yield Finding(level, "emotions", "no utterance has an emotion")
        return
    if text := confounded(rows, person):
        yield Finding("error", "confounded", f"{text}: a classifier that learns one may have learnt the other")
    yield from _names_alike(utterances[person].dropna().str.removeprefix(f"{corpus.name}/").unique(), person)
    counts = rows.groupby([person, "emotion"]).size().unstack(fill_value=0)
    missing = {str(who).rpartition("/")[2]: ", ".join(row.index[row == 0]) for who, row in counts.iterrows()}
    texts = [f"{who} misses {emotions}" for who, emotions in missing.items() if emotions]
    if texts:
        found = f"{len(texts)} of {len(counts)} {person}s miss an emotion: {'; '.join(texts[:5])}"
        yield Finding("warning", "emotions", found + ("; ..." if len(texts) > 5 else ""))
    few = [f"{emotion} ({n})" for emotion, n in rows["emotion"].value_counts().items() if n < FEW]
    if few:
        yield Finding("note", "counts", f"emotions with fewer than {FEW} utterances: {listed(few)}")


def _names_alike(names: Iterable[str], person: str) -> Iterator[Finding]:
    """Name people whose names differ in case or form of Unicode only: often one person, who trains and is tested."""
    given = pd.Series(sorted(names))
    groups = given.groupby(given.map(lambda name: unicodedata.normalize("NFKC", name).casefold()))
    alike = [list(of) for _, of in groups if len(of) > 1]
    if alike:
        first, *others = alike[0]
        entry = f"`values: {{{person}: {{{', '.join(f'{other}: {first}' for other in others)}}}}}`"
        text = f"{person}s whose names differ in case only: {listed(map(' and '.join, alike))}"
        yield Finding("warning", f"{person}s", f"{text}. If they are one person, write {entry} into the entry")


def check_copies(utterances: pd.DataFrame, person: str) -> Iterator[Finding]:
    """Name overlapping segments and byte-identical recordings: across people they are errors."""
    if overlaps := overlapping_segments(utterances, person=person):
        pairs = listed(f"{one} and {other}" for one, other in overlaps)
        yield Finding("error", "copies", f"segments of different {person}s overlap: {pairs}")
    across = cross_speaker_duplicates(utterances, person=person)
    for utterance, reason in across.items():
        yield Finding("error", "copies", f"{utterance}: {reason}; it takes no part")
    rows = utterances.set_index("utterance")
    for group in identical_recordings(utterances):
        if not set(group) & set(across):
            differ = rows.loc[group, "emotion"].nunique(dropna=False) > 1  # so one of the labels is wrong
            text = f"byte-identical recordings of one {person}{' with different emotions' if differ else ''}"
            yield Finding("error" if differ else "warning", "copies", f"{text}: {listed(group)}")


def check_altered_copies(utterances: pd.DataFrame, person: str, *, jobs: int) -> Iterator[Finding]:
    """Name recordings that are one, but not byte by byte: across people they are an error."""
    rows = utterances.set_index("utterance")
    pairs = find_near_copies(utterances[utterances["voice"].notna()], jobs=jobs)
    hashes = rows["audio_hash"].to_dict()
    altered = [pair for pair in pairs if hashes[pair.one] != hashes[pair.other]]
    titles: dict[bool, list[str]] = {True: [], False: []}
    for group in sorted(groups_of(altered)):
        least = min(pair.correlation for pair in altered if {pair.one, pair.other} <= set(group))
        differ = ", with different emotions" if rows.loc[group, "emotion"].nunique(dropna=False) > 1 else ""
        is_leak = rows.loc[group, person].nunique() > 1
        titles[is_leak].append(f"{' = '.join(group)} (correlation {least:.2f}{differ})")
    for is_leak, found in titles.items():
        if found:
            whose, times = f"different {person}s" if is_leak else f"one {person}", f"{len(found)} time"
            text = f"altered copies of one recording under names of {whose}, {times}{'s' * (len(found) > 1)}: "
            yield Finding("error" if is_leak else "warning", ALTERED_COPIES, text + listed(found))
