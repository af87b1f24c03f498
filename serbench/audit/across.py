"""Recordings that several corpora share, byte by byte or altered: their speakers are the same people."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from serbench.audit.copies import find_near_copies
from serbench.audit.recordings import Heard
from serbench.corpora.check import Finding
from serbench.corpora.people import Spoken, rows_of_all, shared_recordings
from serbench.errors import listed


@dataclass(frozen=True, slots=True)
class Voices:
    """A corpus as its audit has heard it."""

    spoken: Spoken
    heard: Mapping[str, Heard] = field(repr=False)


def across_findings(corpora: Sequence[Voices], *, jobs: int) -> Iterator[Finding]:
    """Hold the recordings of corpora against each other; what one corpus has twice is for its own audit."""
    rows = rows_of_all(one.spoken for one in corpora)
    corpus_of = dict(zip(rows["utterance"], rows["corpus"], strict=True))
    identical = [tuple(of) for _, of in shared_recordings(rows).groupby("audio_hash")["utterance"]]
    alike: dict[tuple[str, str], str] = {}
    for group in identical:
        alike |= {(a, b): f"{a} = {b}" for a, b in itertools.combinations(group, 2)}
    heard = {u: one for voices in corpora for u, one in voices.heard.items()}
    prints, voices = {u: one.fingerprint for u, one in heard.items()}, {u: one.voice for u, one in heard.items()}
    for copy in find_near_copies(voices, prints, jobs=jobs):
        title = f"{copy.one} = {copy.other} (altered, correlation {copy.correlation:.2f})"
        alike.setdefault((copy.one, copy.other), title)
    for one, other in itertools.combinations(corpora, 2):
        names = {one.spoken.corpus, other.spoken.corpus}
        titles = [title for (a, b), title in alike.items() if {corpus_of[a], corpus_of[b]} == names]
        if titles:
            yield _finding(one.spoken, other.spoken, titles)
    if not any(corpus_of[a] != corpus_of[b] for a, b in alike):
        yield Finding("note", "copies", "no recording of one corpus is in another")


def _finding(one: Spoken, other: Spoken, titles: Sequence[str]) -> Finding:
    """Word what two corpora share: an error unless an entry says that they share speakers."""
    text = f"{one.corpus} and {other.corpus} have {len(titles)} recordings in common: {listed(titles)}"
    if one.namespace == other.namespace:
        return Finding("note", "copies", f"{text}; an entry says that they share speakers")
    todo = f"add `shares_speakers_with: [{one.corpus}]` to the entry of {other.corpus}, or use one of the two"
    return Finding("error", "copies", f"{text}. Their speakers are the same people: {todo}")
