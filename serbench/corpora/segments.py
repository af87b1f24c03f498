"""Utterances cut into segments of one length: a corpus of its own in the store, with a name such as `emodb@1s`.

The id of a segment is that of its utterance with its seconds: `emodb/wav/03a01Fa.wav#1.0-2.0`. Its other columns are
those of the utterance, which the column `whole` names. What remains at the end of an utterance is dropped.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from serbench.corpora.audio import frames_of, read_header
from serbench.corpora.labels import Record, Scan
from serbench.errors import AudioError, ConfigError, CorpusError

if TYPE_CHECKING:
    import pandas as pd

SHORTEST_S = 0.05  # of segments: shorter ones are too short for the feature sets
WHOLE, MAJORITY = "none", ", majority"  # values of `preprocessing`: utterances not cut; ends those of votes


def check_segment(seconds: float) -> None:
    """Refuse segments that are shorter than `SHORTEST_S`, endless, or have more digits than their name shows."""
    if not (math.isfinite(seconds) and seconds >= SHORTEST_S and float(f"{seconds:g}") == seconds):
        expected = f"seconds, at least {SHORTEST_S:g}, with six digits at most"
        raise ConfigError("--segment", f"{seconds!r}", expected)


def seconds_of(preprocessing: str) -> str:
    """Return the length of the segments in seconds, as `--segment` takes it; empty where there are none."""
    return preprocessing.partition("segment ")[2].partition(" s")[0]


def name_in_store(index: pd.DataFrame) -> str:
    """Return the name under which the store has the corpus of an index."""
    return str(index["stored" if "stored" in index else "corpus"].iloc[0])


def segmented(scan: Scan, seconds: float) -> Scan:
    """Cut every utterance into segments of a fixed length; where no utterance is as long, it is a `CorpusError`."""
    stored = f"{scan.corpus.name}@{seconds:g}s"
    cut = [[{**segment, "stored": stored} for segment in _segments(scan, row, seconds)] for row in scan.rows]
    rows = sorted(itertools.chain.from_iterable(cut), key=lambda row: str(row["utterance"]))
    if not rows:
        found = f"none of its {len(cut)} utterances is as long as {seconds:g} s"
        raise CorpusError(scan.corpus.name, found, "some", "Give a smaller --segment")
    n_short = sum(not segments for segments in cut)
    note = f"{n_short} utterances shorter than {seconds:g} s give no piece" if n_short else ""
    return replace(scan, rows=tuple(rows), stored=stored, note="; ".join(filter(None, (scan.note, note))))


def _segments(scan: Scan, row: Record, seconds: float) -> Iterator[dict[str, Any]]:
    """Cut one utterance; times are fractions until a segment starts at a frame, so that no error adds up."""
    path, start_s, end_s = scan.span(row)
    try:
        header = read_header(path)
        start, stop = frames_of(path, header, start_s=start_s, end_s=end_s)
    except AudioError:  # it stays whole, so that its failure is reported
        yield {**row, "whole": row["utterance"]}
        return
    length, rate = Fraction(f"{seconds:g}"), header.samplerate
    for i in itertools.count():
        first, last = (start + round(k * length * rate) for k in (i, i + 1))
        if last > stop:
            return
        name = f"{row['utterance']}#{float(i * length)!r}-{float((i + 1) * length)!r}"
        times = {"start_s": first / rate, "end_s": last / rate}
        yield {**row, "utterance": name, **times, "whole": row["utterance"]}
