"""What raters drew along recordings, as one number an utterance: the mean over its time, then over the raters.

The order is that of Neumann and Vu (ICASSP 2018). As every rater has a value at every moment, the other order gives
the same but for rounding.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from serbench.corpora.documents import read_whole
from serbench.corpora.entry import Corpus, Trace
from serbench.corpora.folder import Folder
from serbench.errors import Fault, did_you_mean, listed, printable

MOST_BYTES = 2**24
"""Bytes of the traces of one recording."""

Names = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Drawn:
    """Traces of one recording: `times_s`, shape (n_moments,), and `values`, shape (n_moments, n_raters)."""

    times_s: np.ndarray
    values: np.ndarray

    def mean(self, start_s: float, end_s: float) -> float | None:
        """Mean over `start_s` <= time < `end_s` for each rater, then over these; None where no moment lies there."""
        within = (self.times_s >= start_s) & (self.times_s < end_s)
        return float(self.values[within].mean(axis=0).mean()) if within.any() else None


def traced(corpus: Corpus, folder: Folder, rows: Sequence[Names], faults: list[Fault]) -> list[dict[str, str]]:
    """Add each dimension that the entry has traces of to the names of the utterances.

    Faults are added for tables that lack or cannot be read, and for utterances during which nobody drew.

    Raises
    ------
    CorpusError : a table lies outside the corpus' folder.
    """
    told = [dict(row) for row in rows]
    for dimension, trace in corpus.traces.items():
        where = f"{corpus.name}.traces.{dimension}"
        files = [trace.files.format_map({**row, "stem": PurePosixPath(row["file"]).stem}) for row in rows]
        drawn = _read(trace, folder, dict.fromkeys(files), where=where, faults=faults)
        values = [_mean(drawn[file], row) if file in drawn else None for file, row in zip(files, rows, strict=True)]
        silent = [row for file, row, v in zip(files, rows, values, strict=True) if v is None and file in drawn]
        if silent:
            spans = listed(f"{printable(r['file'])} {r.get('start') or 0}-{r.get('end') or ''}" for r in silent)
            found = f"no value during {len(silent)} of {len(rows)} utterances ({spans})"
            todo = "Correct the times, which are seconds, or leave these utterances out"
            faults.append(Fault(where, found, "a moment from start up to, but not at, the end", todo))
        for row, value in zip(told, values, strict=True):
            row[dimension] = "" if value is None else repr(value)  # repr: the very same number when it is read back
    return told


def _read(trace: Trace, folder: Folder, files: Iterable[str], *, where: str, faults: list[Fault]) -> dict[str, Drawn]:
    """Read the traces of each recording that has some; the others become faults."""
    drawn: dict[str, Drawn] = {}
    absent: list[str] = []
    broken: dict[str, list[str]] = {}  # one fault for all tables of one fault
    for file in files:
        path = folder.file(file, key="traces")
        try:
            drawn[file] = _parsed(trace, read_whole(path, at_most=MOST_BYTES).decode("utf-8-sig"))
        except FileNotFoundError:
            absent.append(printable(file))
        except OSError as error:
            broken.setdefault(f"cannot be read ({error.strerror or error})", []).append(printable(file))
        except (ValueError, csv.Error) as error:
            broken.setdefault(str(error), []).append(printable(file))
    for reason, named in broken.items():
        faults.append(Fault(where, f"{listed(named)}: {reason}", "tables of numbers with a header"))
    if absent:
        found = f"{len(absent)} tables are not in {folder.root} ({listed(absent)})"
        faults.append(Fault(where, found, "one for each recording", "Complete the copy, or correct `files`"))
    return drawn


def _mean(drawn: Drawn, row: Names) -> float | None:
    """Average over an utterance; one without times is the whole recording."""
    return drawn.mean(float(row.get("start") or 0), float(row.get("end") or math.inf))


def _parsed(trace: Trace, text: str) -> Drawn:
    lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=trace.separator, strict=True))
    header = [column.strip() for column in lines[0]] if lines else []
    raters = trace.raters or tuple(column for column in header if column and column != trace.time)
    for column in (trace.time, *raters):
        if column not in header:
            hint = did_you_mean(column, header) or f"It has {listed(header) or 'nothing'}"
            raise ValueError(f"no column '{column}'. {hint}")
    if not raters:
        raise ValueError("no column beside the time")
    places = [header.index(column) for column in (trace.time, *raters)]
    numbers = [_numbers(line, places, header, n) for n, line in enumerate(lines[1:], start=2) if line]
    table = np.array(numbers, dtype=np.float64).reshape(-1, len(places))
    return Drawn(table[:, 0], table[:, 1:])


def _numbers(line: Sequence[str], places: Sequence[int], header: Sequence[str], n: int) -> list[float]:
    if len(line) <= max(places):
        raise ValueError(f"line {n} has {len(line)} fields, the header {len(header)}")
    numbers = []
    for place in places:
        try:
            number = float(line[place])
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"line {n} has '{line[place].strip()}' for {header[place]}, which is no number")
        numbers.append(number)
    return numbers
