"""Tables of labels as users have them: CSV, TSV, parquet, audformat. Every value is read as a stripped string."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from serbench.errors import CorpusError, Fault


def read_table_of_strings(path: Path, *, where: str, tables: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV, TSV or parquet table, or tables of an audformat database, every value a stripped string.

    Raises
    ------
    CorpusError : absent, of another kind, or unreadable.
    """
    if not path.is_file():
        raise CorpusError([Fault(where, f"'{path.name}' is not in {path.parent}", "the table of labels")])
    try:
        frame = _read_any(path, tables)
    except (ValueError, KeyError, TypeError, OSError, csv.Error) as error:
        raise CorpusError([Fault(where, f"'{path.name}' cannot be read ({error})", "a readable table")]) from error
    strings = frame.astype("string").fillna("")
    stripped: pd.DataFrame = strings.apply(lambda column: column.str.strip()).astype(object)
    return stripped


def _read_any(path: Path, tables: Sequence[str]) -> pd.DataFrame:
    if path.suffix in (".csv", ".tsv"):
        return _read_csv(path, delimiter="\t" if path.suffix == ".tsv" else ",")
    if path.suffix == ".parquet":
        return pd.read_parquet(path)
    if path.suffix == ".yaml":
        return _read_audformat(path, tables)
    raise ValueError(f"'{path.suffix}' is none of .csv, .tsv, .parquet, .yaml (audformat)")


def _read_csv(path: Path, *, delimiter: str) -> pd.DataFrame:
    """Read a table of strings; a line longer (but for empty fields) or shorter than the header is an error."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, delimiter=delimiter, strict=True)
        header = next(lines, [])
        rows = []
        for row in lines:
            if row and (len(row) < len(header) or any(row[len(header) :])):
                raise ValueError(f"line {lines.line_num} has {len(row)} fields, the header {len(header)}")
            rows += [row[: len(header)]] if row else []
    return pd.DataFrame(rows, columns=header, dtype=object)


def _read_audformat(path: Path, tables: Sequence[str]) -> pd.DataFrame:
    import audformat

    database = audformat.Database.load(str(path.parent), name=path.stem)
    joined: pd.DataFrame | None = None
    for name in tables or list(database.tables):
        frame = database[name].df.reset_index()
        keys = [key for key in ("file", "start", "end") if joined is not None and key in frame and key in joined]
        joined = frame if joined is None else joined.merge(frame, on=keys, how="left")
    if joined is None:
        raise ValueError("the database has no tables")
    for column in joined.select_dtypes("timedelta").columns:
        joined[column] = joined[column].dt.total_seconds()
    return joined
