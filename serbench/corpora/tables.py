"""Tables of a corpus as users have them: labels in CSV, TSV, parquet or audformat, and traces that raters drew.

No table may run code (a pickle can, and a tag in an audformat header), and none may fill the memory.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pandas as pd
import yaml

from serbench.corpora.documents import Folder, check_regular, number_of, read_whole
from serbench.corpora.entry import Corpus, Trace
from serbench.errors import CorpusError, Fault, did_you_mean, listed, printable

MOST_BYTES = 2**26  # of a table of text
MOST_HEADER_BYTES = 2**21  # of an audformat database
MOST_TRACE_BYTES = 2**24  # of the traces of one recording
MOST_ROWS, MOST_COLUMNS = 2_000_000, 10_000
MOST_PARQUET_VALUES = 2**28  # rows times columns: a few bytes of parquet may claim a billion rows

_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError, csv.Error)
_SPAN = ("file", "start", "end")
_DECIMAL = re.compile(r"\s*[+-]?\d+([.,]\d+)?\s*")  # all values of a column, so that the 1,2 of a text stays


def read_table_of_strings(path: Path, *, where: str, tables: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV, TSV or parquet table, or tables of an audformat database, every value a stripped string."""
    expected = "a readable table"
    try:
        check_regular(path)
        frame = _read_audformat(path, tables) if path.suffix == ".yaml" else _read(path)
        frame.columns = _once_each(frame.columns)
        columns = {name: column.astype(object).where(column.notna(), "") for name, column in frame.items()}
        texts = {name: [str(value).strip() for value in column] for name, column in columns.items()}
        return pd.DataFrame(texts, columns=frame.columns, dtype=object)
    except FileNotFoundError:
        found, expected = f"'{path.name}' is not in {path.parent}", "the table of labels"
    except OSError as error:
        found = f"'{path.name}' cannot be read ({error.strerror or error})"
    except (*_UNREADABLE, yaml.YAMLError) as error:
        found = f"'{path.name}' cannot be read ({' '.join(str(error).split()) or type(error).__name__})"
    raise CorpusError(where, found, expected)


def _once_each(names: Iterable[Any]) -> pd.Index[str]:
    """Return the names of columns as text."""
    index = pd.Index([str(name) for name in names])
    if index.has_duplicates:
        raise ValueError(f"two columns are called '{index[index.duplicated()][0]}'")
    return index


def _read(path: Path) -> pd.DataFrame:
    if path.suffix in (".csv", ".tsv"):
        return parse_csv(read_whole(path, at_most=MOST_BYTES), "\t" if path.suffix == ".tsv" else "")
    if path.suffix == ".parquet":
        return read_parquet(path)
    raise ValueError(f"'{path.suffix}' is none of .csv, .tsv, .parquet, .yaml (audformat)")


def parse_csv(content: bytes, delimiter: str, *, most_rows: int = MOST_ROWS) -> pd.DataFrame:
    """Parse a table of strings without its blank lines; ValueError or csv.Error where it is none.

    Without a `delimiter`, it is the comma or semicolon that makes more columns of the first line. Where semicolons part
    the columns, numbers may have decimal commas, as spreadsheets write them in many countries.
    """
    text = content.decode("utf-8-sig")
    if "\0" in text:
        raise ValueError("it has NUL characters; is it UTF-16?")
    first = text[: 2**16].partition("\n")[0]  # csv reads no longer field
    delimiter = delimiter or max(",;", key=lambda one: len(next(csv.reader([first], delimiter=one), [])))
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header = next(lines, [])
    if len(header) > MOST_COLUMNS:
        raise ValueError(f"more than {MOST_COLUMNS} columns")
    rows = []
    for row in lines:
        if not any(field.strip() for field in row):
            continue
        if len(row) < len(header) or any(row[len(header) :]):
            raise ValueError(f"line {lines.line_num} has {len(row)} fields, the header {len(header)}")
        rows.append(row[: len(header)])
        if len(rows) > most_rows:
            raise ValueError(f"more than {most_rows} rows")
    frame = pd.DataFrame(rows, columns=header, dtype=object)
    for i, column in enumerate(map(list, zip(*rows, strict=True)) if delimiter == ";" else ()):
        if all(_DECIMAL.fullmatch(value) for value in column if value.strip()):
            frame.isetitem(i, [value.replace(",", ".") for value in column])
    return frame


def read_parquet(path: Path, *, most_rows: int = MOST_PARQUET_VALUES) -> pd.DataFrame:
    """Read the flat columns of a parquet file of `most_rows`; columns of lists or blocks are left out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_regular(path)
    try:
        with pq.ParquetFile(path) as file:
            n_rows, fields = file.metadata.num_rows, list(file.schema_arrow)
            if n_rows > most_rows:
                raise ValueError(f"{n_rows} rows, at most {most_rows} are read")
            if n_rows * max(1, len(fields)) > MOST_PARQUET_VALUES:
                found = f"{n_rows} rows of {len(fields)} columns"
                raise ValueError(f"{found}, at most {MOST_PARQUET_VALUES} values are read")
            _once_each(field.name for field in fields)
            flat = [field.name for field in fields if not pa.types.is_nested(field.type)]
        kinds = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
        texts = [field.name for field in fields if field.type in kinds]
        # A repeated text is small in the file: as a dictionary, and then as one object of Python, it stays small.
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            frame: pd.DataFrame = file.read(columns=flat, use_threads=False).to_pandas()
        return frame.astype({name: object for name in texts if name in frame})  # here, as text may not be UTF-8
    except (OSError, ValueError):
        raise
    except Exception as error:  # pyarrow and pandas raise whatever comes of a file that was made up
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _read_audformat(path: Path, tables: Sequence[str]) -> pd.DataFrame:
    """Join tables of an audformat database by file, start and end; times become seconds.

    audformat itself prefers pickles, and reads the tags of a header: both can run anything.
    """
    header = yaml.load(read_whole(path, at_most=MOST_HEADER_BYTES).decode("utf-8-sig"), Loader=yaml.BaseLoader)
    known = header.get("tables") if isinstance(header, dict) else None
    if not isinstance(known, dict) or not known:
        raise ValueError("no audformat header: no block of tables")
    joined: pd.DataFrame | None = None
    for name in tables or known:
        if name not in known:
            raise ValueError(f"no table '{name}'. {did_you_mean(name, known)}".strip())
        if {"/", "\\", "\0"} & set(name):
            raise ValueError(f"a table called '{name}', which is no name of a file")
        files = [path.with_name(f"{path.stem}.{name}.{ending}") for ending in ("parquet", "csv")]
        file = next((file for file in files if file.exists()), None)
        if file is None:
            raise ValueError(f"table '{name}' has no {files[1].name} or .parquet; a pickle is not read")
        frame = _read(file).rename(columns=str)
        kinds = {column: (of or {}).get("scheme_id") for column, of in (known[name].get("columns") or {}).items()}
        for column in frame.columns.intersection([*_SPAN[1:], *kinds]):
            scheme = (header.get("schemes") or {}).get(kinds.get(column), {})
            if column in _SPAN[1:] or scheme.get("dtype") == "time":
                frame[column] = pd.to_timedelta(frame[column]).dt.total_seconds()
        keys = [key for key in _SPAN if joined is not None and key in joined and key in frame]
        if joined is None:
            joined = frame
        elif not keys or (joined.duplicated(keys).any() and frame.duplicated(keys).any()):
            raise ValueError(f"the rows of table '{name}' cannot be matched with the tables before it")
        else:
            joined = joined.merge(frame, on=keys, how="left")
    assert joined is not None
    return joined


def read_traces(corpus: Corpus, folder: Folder, rows: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Add each dimension that raters drew: the mean over the time of an utterance, then over the raters.

    The order is that of Neumann and Vu (ICASSP 2018). Tables that cannot be read, and utterances during which nobody
    drew, are a `CorpusError`.
    """
    added, faults = [dict(row) for row in rows], list[Fault]()
    for dimension, trace in corpus.traces.items():
        where = f"{corpus.name}.traces.{dimension}"
        files = [trace.files.format_map({**row, "stem": PurePosixPath(row["file"]).stem}) for row in rows]
        drawn: dict[str, np.ndarray[Any, Any]] = {}
        problems: dict[str, list[str]] = {}
        silent = []
        for file in dict.fromkeys(files):
            try:
                drawn[file] = _read_trace(folder.file(file, key="traces"), trace)
            except (OSError, ValueError, csv.Error) as error:
                reason = getattr(error, "strerror", None) or str(error)
                reason = f"no such table in {folder.root}" if isinstance(error, FileNotFoundError) else reason
                problems.setdefault(reason, []).append(printable(file))
        for reason, named in problems.items():  # one fault for all tables of one problem
            faults.append(Fault(where, f"{listed(named)}: {reason}", "a table of numbers for each recording"))
        for row, values in [(row, drawn[file]) for row, file in zip(added, files, strict=True) if file in drawn]:
            start_s, end_s = float(row.get("start") or 0), float(row.get("end") or math.inf)
            within = values[(values[:, 0] >= start_s) & (values[:, 0] < end_s), 1:]
            if len(within):
                row[dimension] = repr(float(within.mean(axis=0).mean()))  # repr: the very same number when read again
            else:
                silent.append(f"{printable(row['file'])} {row.get('start') or 0}-{row.get('end') or ''}")
        if silent:
            found = f"no value during {len(silent)} of {len(rows)} utterances ({listed(silent)})"
            todo = "Correct the times, which are seconds, or leave these utterances out"
            faults.append(Fault(where, found, "a moment from start up to, but not at, the end", todo))
    if faults:
        raise CorpusError(faults)
    return added


def _read_trace(path: Path, trace: Trace) -> np.ndarray[Any, Any]:
    """Read one recording's moments, in seconds, and what each rater drew: shape (n_moments, 1 + n_raters)."""
    frame = parse_csv(read_whole(path, at_most=MOST_TRACE_BYTES), trace.separator)
    header = [str(name).strip() for name in frame.columns]
    raters = trace.raters or tuple(name for name in header if name and name != trace.time)
    for column in (trace.time, *raters):
        if column not in header:
            raise ValueError(f"no column '{column}'. {did_you_mean(column, header) or f'It has {listed(header)}'}")
    if not raters:
        raise ValueError("no column but the time")
    texts = frame.iloc[:, [header.index(column) for column in (trace.time, *raters)]]
    numbers = texts.map(number_of).to_numpy(dtype=np.float64)
    for row, column in np.argwhere(~np.isfinite(numbers))[:1]:
        found = f"line {row + 2} has '{str(texts.iat[row, column]).strip()}' for {(trace.time, *raters)[column]}"
        raise ValueError(f"{found}, which is no number")
    return numbers
