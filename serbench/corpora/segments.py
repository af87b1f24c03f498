"""Utterances cut into pieces of one length: a corpus of its own in the store, under a name such as `emodb@1s`.

Pieces follow each other from the start of an utterance; what remains at its end is dropped. A piece's id is that of its
utterance with the place in it, in seconds: `emodb/wav/03a01Fa.wav#1.0-2.0`. Everything else of it is its utterance's,
and the column `whole` of its index names that.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from serbench.errors import AudioError, ConfigError, CorpusError, Fault

if TYPE_CHECKING:
    import pandas as pd

    from serbench.corpora.labels import Record, Scan

SHORTEST_S = 0.05
"""Shortest pieces in seconds: shorter ones are too short for the feature sets."""

WHOLE = "none"
"""What `preprocessing` says of utterances that are not cut."""

_TITLE, _MAJORITY = "segment {} s", ", majority"


def check_segment(seconds: float) -> None:
    """Check the length of pieces.

    Raises
    ------
    ConfigError : shorter than `SHORTEST_S`, not finite, or with more digits than its name in the store shows.
    """
    if not (math.isfinite(seconds) and seconds >= SHORTEST_S and float(f"{seconds:g}") == seconds):
        wanted = f"seconds, at least {SHORTEST_S:g}, with six digits at most"
        raise ConfigError([Fault("--segment", f"{seconds!r}", wanted)])


def segment_title(seconds: float | None) -> str:
    """Word the preprocessing of a cell.

    >>> segment_title(1.0)
    'segment 1 s'
    """
    return WHOLE if seconds is None else _TITLE.format(f"{seconds:g}")


def majority_title(preprocessing: str) -> str:
    """Word the preprocessing of utterances whose emotion their pieces have voted for."""
    return preprocessing + _MAJORITY


def shown_as(preprocessing: str) -> tuple[str, ...]:
    """Return what a report shows a cell as: pieces by themselves and by vote, or utterances as they are."""
    return (preprocessing, majority_title(preprocessing)) if seconds_of(preprocessing) else (preprocessing,)


def is_majority(preprocessing: str) -> bool:
    """Tell votes of pieces from pieces."""
    return preprocessing.endswith(_MAJORITY)


def seconds_of(preprocessing: str) -> str:
    """Return the length of the pieces in seconds, as `--segment` takes it; empty where there are none.

    >>> seconds_of("segment 0.5 s, majority")
    '0.5'
    """
    kind, _, rest = preprocessing.partition(" ")
    return rest.partition(" ")[0] if kind == _TITLE.partition(" ")[0] else ""


def name_in_store(index: pd.DataFrame) -> str:
    """Return the name under which the store has the corpus of an index."""
    return str(index["stored" if "stored" in index else "corpus"].iloc[0])


def pieces_of(index: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Return the pieces of each utterance, earliest first, from the index of a segmented corpus."""
    in_order = index.sort_values("start_s")
    return {str(whole): tuple(of) for whole, of in in_order.groupby("whole", sort=True)["utterance"]}


def segmented(scan: Scan, seconds: float) -> Scan:
    """Cut every utterance into pieces of a fixed length; headers of the recordings are read for it.

    An utterance whose recording cannot be read stays whole, so that its failure is told.

    Raises
    ------
    ConfigError : see `check_segment`.
    CorpusError : not one utterance is as long as a piece.
    """
    check_segment(seconds)
    stored = f"{scan.corpus.name}@{seconds:g}s"
    cut = [[{**piece, "stored": stored} for piece in _pieces(scan, row, seconds)] for row in scan.rows]
    rows = sorted(itertools.chain.from_iterable(cut), key=lambda row: str(row["utterance"]))
    if not rows:
        found = f"none of its {len(cut)} utterances is as long as {seconds:g} s"
        raise CorpusError([Fault(scan.corpus.name, found, "some", "Give a smaller --segment")])
    n_short = sum(not pieces for pieces in cut)
    note = f"{n_short} utterances shorter than {seconds:g} s give no piece" if n_short else ""
    return replace(scan, rows=tuple(rows), stored=stored, note="; ".join(filter(None, (scan.note, note))))


def _pieces(scan: Scan, row: Record, seconds: float) -> Iterator[dict[str, Any]]:
    """Cut one utterance.

    Times are fractions until a piece starts at a frame of the original recording, so that no error adds up.
    """
    from serbench.corpora.audio import read_span  # brings the decoder, which a report does without

    path, start_s, end_s = scan.span(row)
    try:
        rate, start, stop = read_span(path, start_s=start_s, end_s=end_s)
    except AudioError:
        yield {**row, "whole": row["utterance"]}
        return
    length = Fraction(f"{seconds:g}")
    for i in itertools.count():
        first, last = (start + round(k * length * rate) for k in (i, i + 1))
        if last > stop:
            return
        place = f"{float(i * length)!r}-{float((i + 1) * length)!r}"
        yield {
            **row,
            "utterance": f"{row['utterance']}#{place}",
            "start_s": first / rate,
            "end_s": last / rate,
            "whole": row["utterance"],
        }
