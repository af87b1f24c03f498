"""The checks of a corpus: its copy against its entry, its labels, and what its recordings and texts give away.

Each looks at the table of utterances: the index with the columns of `setup.hear`, null where a recording is damaged.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from serbench.audit.copies import find_near_copies, groups_of
from serbench.audit.setup import TOGETHER, UAR_ABOVE, predict
from serbench.corpora.divisions import confounded, sentences, shared_recordings
from serbench.corpora.entry import Corpus
from serbench.corpora.index import cross_speaker_duplicates, identical_recordings, overlapping_segments
from serbench.errors import listed

SHORTEST_S = 0.025  # shorter recordings give no IS09 features, in seconds; other sets need more
FEW = 50  # number of utterances of an emotion below which a note names it
N_OFFSETS = 8  # equal parts that offsets are divided into
SPEAKERS_DIFFER = 0.05  # UAR of shuffled labels above chance from which people's set-ups go with their labels
TEXT_ABOVE = 0.05  # UAR of the text alone above that of shuffled labels from which texts give the emotion away
ALTERED_COPIES = "altered copies"  # kind of the findings on recordings that are one, but not byte by byte


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: an error where numbers would be wrong or missing, a warning where they mislead, or a note."""

    level: str
    kind: str  # what was checked, e.g. `counts`
    text: str


def facts_of(utterances: pd.DataFrame, person: str) -> dict[str, str]:
    """Return counts, formats and durations of a copy in words."""
    facts = {
        "utterances": f"{len(utterances)} in {utterances['file'].nunique()} recordings",
        f"{person}s": str(utterances[person].nunique()),
        "emotions": ", ".join(f"{e} {n}" for e, n in utterances["emotion"].value_counts().sort_index().items()),
    }
    for name, values in _formats(utterances).items():
        counts = values.value_counts()
        facts[str(name)] = ", ".join(f"{value} ({n})" if len(counts) > 1 else str(value) for value, n in counts.items())
    durations = utterances["duration_s"].dropna()
    if len(durations):
        facts["duration"] = f"{durations.min():.2f} to {durations.max():.2f} s, median {durations.median():.2f} s"
    return {name: text or "none" for name, text in facts.items()}


def _formats(utterances: pd.DataFrame) -> pd.DataFrame:
    """Sampling rate, channels and format in words, one row per recording that was decoded."""
    heard = utterances[utterances["voice"].notna()].drop_duplicates("file")
    names = ["sampling rate", "channels", "container", "sample format"]
    setup = pd.DataFrame(heard["setup"].tolist(), heard["file"], names, dtype=str)
    channels = setup["channels"] + setup["channels"].map(lambda n: " channel" if n == "1" else " channels")
    return setup[["sampling rate"]].assign(channels=channels, format=setup["container"] + " " + setup["sample format"])


def check_recordings(utterances: pd.DataFrame) -> Iterator[Finding]:
    """Look for recordings that cannot be read, are digital silence, or have a duration that no original has."""
    lost = utterances[utterances["voice"].isna()]
    named = zip(lost["file"], lost["problem"], strict=True)
    reasons = [str(reason).replace(Path(file).name, "FILE", 1) for file, reason in named]
    for reason, files in lost["file"].groupby(reasons, sort=False):  # many files with one fault are one finding
        names, what = list(dict.fromkeys(files)), str(reason).removeprefix("FILE: ")
        many = f"{len(names)} files: {what} ({listed(names)})"
        yield Finding("error", "damage", f"{names[0]}: {what}" if len(names) == 1 else many)
    heard = utterances[utterances["voice"].notna()]
    if len(silent := heard["utterance"][[not np.any(voice) for voice in heard["voice"]]]):
        yield Finding("warning", "digital silence", f"{len(silent)} recordings are digital silence: {listed(silent)}")
    if len(short := heard["utterance"][heard["duration_s"] < SHORTEST_S]):
        bound = f"{SHORTEST_S * 1000:.0f} ms"
        yield Finding("error", "duration", f"{len(short)} recordings are shorter than {bound}: {listed(short)}")
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
    if len(disguised := formats.index[formats.index.str.lower().str.endswith(".wav") & ~is_wav]):
        text = f"{len(disguised)} files named .wav are something else inside, but readable: {listed(disguised)}"
        yield Finding("note", "format", text)


def check_labels(utterances: pd.DataFrame, corpus: Corpus) -> Iterator[Finding]:
    """Look for people with one emotion only, names that differ in case, and emotions that few people have."""
    person = corpus.person_field
    rows = utterances[utterances["emotion"].notna()]
    if rows.empty:  # as in a corpus of dimensions
        yield Finding("warning" if corpus.emotions else "note", "emotions", "no utterance has an emotion")
        return
    if text := confounded(rows, person):
        yield Finding("error", "confounded", f"{text}: a classifier that learns one may have learnt the other")
    names = pd.Series(sorted(utterances[person].dropna().str.removeprefix(f"{corpus.name}/").unique()))
    spelt = names.map(lambda name: unicodedata.normalize("NFKC", name).casefold())
    if alike := [list(of) for _, of in names.groupby(spelt) if len(of) > 1]:  # often one person
        values = ", ".join(f"{other}: {alike[0][0]}" for other in alike[0][1:])
        text = f"{person}s whose names differ in case only: {listed(map(' and '.join, alike))}. If they are one person"
        yield Finding("warning", f"{person}s", f"{text}, write `values: {{{person}: {{{values}}}}}` into the entry")
    counts = rows.groupby([person, "emotion"]).size().unstack(fill_value=0)
    absent = {str(who).rpartition("/")[2]: ", ".join(row.index[row == 0]) for who, row in counts.iterrows()}
    if texts := [f"{who} misses {emotions}" for who, emotions in absent.items() if emotions]:
        more = "; ..." if len(texts) > 5 else ""
        text = f"{len(texts)} of {len(counts)} {person}s miss an emotion: {'; '.join(texts[:5])}{more}"
        yield Finding("warning", "emotions", text)
    if few := [f"{emotion} ({n})" for emotion, n in rows["emotion"].value_counts().items() if n < FEW]:
        yield Finding("note", "counts", f"emotions with fewer than {FEW} utterances: {listed(few)}")


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
    pairs = find_near_copies(utterances, jobs=jobs)
    pairs = pairs[pairs["one"].map(rows["audio_hash"]) != pairs["other"].map(rows["audio_hash"])]
    titles: dict[bool, list[str]] = {True: [], False: []}
    for group in sorted(groups_of(zip(pairs["one"], pairs["other"], strict=True))):
        least = pairs["correlation"][pairs["one"].isin(group) & pairs["other"].isin(group)].min()
        differ = ", with different emotions" if rows.loc[group, "emotion"].nunique(dropna=False) > 1 else ""
        is_leak = rows.loc[group, person].nunique() > 1
        titles[is_leak].append(f"{' = '.join(group)} (correlation {least:.2f}{differ})")
    for is_leak, found in titles.items():
        if found:
            whose, times = f"different {person}s" if is_leak else f"one {person}", f"{len(found)} time"
            text = f"altered copies of one recording under names of {whose}, {times}{'s' * (len(found) > 1)}: "
            yield Finding("error" if is_leak else "warning", ALTERED_COPIES, text + listed(found))


def check_shared(utterances: pd.DataFrame, *, jobs: int) -> Iterator[Finding]:
    """Compare the recordings of several corpora: those that two have are an error, unless an entry declares it."""
    same = shared_recordings(utterances).groupby("audio_hash")["utterance"]
    exact = pd.DataFrame([p for _, of in same for p in itertools.combinations(of, 2)], columns=["one", "other"])
    pairs = pd.concat([exact, find_near_copies(utterances, jobs=jobs)]).drop_duplicates(["one", "other"])
    namespaces = utterances.drop_duplicates("corpus").set_index("corpus")["namespace"]
    of_pairs = pairs[["one", "other"]].apply(lambda names: names.str.partition("/")[0])
    is_shared = False
    for one, other in itertools.combinations(namespaces.index, 2):
        found = pairs[of_pairs.isin([one, other]).all(axis=1) & (of_pairs["one"] != of_pairs["other"])]
        if found.empty:
            continue
        is_shared = True
        altered = [f" (altered, correlation {r:.2f})" if r > 0 else "" for r in found["correlation"]]
        titles = found["one"] + " = " + found["other"] + altered
        text = f"{one} and {other} have {len(found)} recordings in common: {listed(titles)}"
        if namespaces[one] == namespaces[other]:
            yield Finding("note", "copies", f"{text}; an entry says that they share speakers")
        else:
            todo = f"add `shares_speakers_with: [{one}]` to the entry of {other}, or use one of the two"
            yield Finding("error", "copies", f"{text}. Their speakers are the same people: {todo}")
    if not is_shared:
        yield Finding("note", "copies", "no recording of one corpus is in another")


def check_groups(rows: pd.DataFrame, corpus: Corpus) -> Iterator[Finding]:
    """Name emotions that no utterance or only one test group has."""
    if absent := sorted(set(corpus.emotions.values()) - set(rows["emotion"])):
        yield Finding("warning", "emotions", f"no utterance of {listed(absent)}, which the entry names")
    groups = rows.groupby("emotion")["group"].agg(["nunique", "first"])
    for emotion, alone in groups[groups["nunique"] == 1]["first"].items():
        yield Finding("error", "emotions", f"{emotion} is in test group {alone} only: where it is tested, none trains")


def check_setup(rows: pd.DataFrame, person: str) -> Iterator[Finding]:
    """Test whether the fields of the set-up, alone or at last together, predict the emotion."""
    fields = predict(pd.DataFrame(rows["setup"].tolist()), rows, person)
    single = [one for one in fields if one.field != TOGETHER]
    certain = [one for one in fields if one.is_certain]
    for one in [one for one in certain if one in single] or certain:
        text = f"the recording set-up gives the emotion away: from the {one.field} alone {one}; {one.example}"
        yield Finding("error" if one.uar - one.expected >= UAR_ABOVE else "warning", "set-up", text)
    if not fields:
        yield Finding("note", "set-up", "the recording set-up is the same everywhere")
    elif not certain:
        best = min(fields, key=lambda one: (one.p, -one.uar))
        text = f"the set-up differs in {listed(one.field for one in single)}, and predicts no emotion"
        yield Finding("note", "set-up", f"{text} (nearest: {best.field}, {best})")
    for one in single:
        if one.expected - one.chance >= SPEAKERS_DIFFER:
            text = f"{person}s differ in {one.field} and in their emotions: UAR from it is {one.expected:.2f}"
            text += f" even with labels shuffled within {person}s; chance is {one.chance:.2f}"
            yield Finding("warning", "confounded", text)


def check_level(rows: pd.DataFrame, person: str) -> Iterator[Finding]:
    """Test whether offset and clipping predict the emotion."""
    parts = np.searchsorted(np.quantile(rows["offset"], np.arange(1, N_OFFSETS) / N_OFFSETS), rows["offset"])
    level = pd.DataFrame({"offset": parts, "clipping": rows["is_clipped"].to_numpy()})
    for one in predict(level, rows, person):
        if one.is_certain and one.field != TOGETHER:
            text = f"{one.field} of the samples predicts the emotion: {one}, chance {one.chance:.2f}. It goes with"
            text += " the gain and so with level, a cue of emotion: no error, but no feature should hold it"
            yield Finding("warning", "level", text)


def check_texts(rows: pd.DataFrame, person: str) -> Iterator[Finding]:
    """Test whether the sentences alone predict the emotion, as where each emotion has sentences of its own."""
    if "text" not in rows or rows["text"].isna().all():
        yield Finding("note", "text", "the entry gives no texts, so whether sentences give the emotion away is unknown")
        return
    texts = sentences(rows).fillna("")
    n_groups = rows["group"].groupby(texts).transform("nunique")
    # A text of one test group predicts nothing for the others, nor is it one text with such texts elsewhere.
    values = texts.where((texts != "") & (n_groups > 1), "(of group " + rows["group"] + " only)")
    for found in predict(values.to_frame("text"), rows, person):
        if found.is_certain and found.uar - found.expected >= TEXT_ABOVE:
            emotions = rows.groupby("text")["emotion"].nunique()
            common = sorted(emotions.index[emotions == rows["emotion"].nunique()])
            names = f" ({listed(common)})" if common else ""
            todo = f", or of common sentences alone (--where text={common[0]})" if common else ""
            text = f"the text gives the emotion away: from the text alone {found}; {found.example}. "
            text += f"{len(common)} of {len(emotions)} texts are said in every emotion{names}. A classifier may learn "
            text += f"sentences instead of emotions. Report the values by sentence (texts.md){todo}"
            yield Finding("warning", "text", text)
