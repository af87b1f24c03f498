"""Tables of labels as users have them: CSV, TSV, parquet, audformat. Every value is read as a stripped string.

Tables come from strangers with the corpus. None of them may run code (a pickle, or a tag in an audformat header, can)
or fill the memory.
"""

from __future__ import annotations

import csv
import io
import itertools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from serbench.corpora.files import check_regular, read_parquet, read_whole
from serbench.errors import CorpusError, Fault

MOST_BYTES = 2**26
"""Bytes of a table of text."""

MOST_HEADER_BYTES = 2**21
"""Bytes of the header of an audformat database."""

MOST_HEADER_VALUES = 1_000_000

MOST_ROWS = 2_000_000
MOST_COLUMNS = 10_000

_UNREADABLE = (ValueError, LookupError, TypeError, ArithmeticError, csv.Error)


def read_table_of_strings(path: Path, *, where: str, tables: Sequence[str] = ()) -> pd.DataFrame:
    """Read a CSV, TSV or parquet table, or tables of an audformat database, every value a stripped string.

    Raises
    ------
    CorpusError : absent, of another kind, too large, or unreadable.
    """
    try:
        check_regular(path)
        frame = _as_strings(_read_any(path, tables))
    except FileNotFoundError as error:
        found = f"'{path.name}' is not in {path.parent}"
        raise CorpusError([Fault(where, found, "the table of labels")]) from error
    except OSError as error:
        found = f"'{path.name}' cannot be read ({error.strerror or error})"
        raise CorpusError([Fault(where, found, "a readable table")]) from error
    except _UNREADABLE as error:
        raise CorpusError([Fault(where, f"'{path.name}' cannot be read ({error})", "a readable table")]) from error
    return frame


def _as_strings(frame: pd.DataFrame) -> pd.DataFrame:
    strings = frame.astype("string").fillna("").set_axis([str(name) for name in frame.columns], axis="columns")
    doubled = strings.columns[strings.columns.duplicated()]
    if len(doubled):
        raise ValueError(f"two columns are called '{doubled[0]}'")
    stripped: pd.DataFrame = strings.apply(lambda column: column.str.strip()).astype(object)
    return stripped


def _read_any(path: Path, tables: Sequence[str]) -> pd.DataFrame:
    if path.suffix in (".csv", ".tsv"):
        return _read_csv(path, delimiter="\t" if path.suffix == ".tsv" else ",")
    if path.suffix == ".parquet":
        return read_parquet(path)
    if path.suffix == ".yaml":
        return _read_audformat(path, tables)
    raise ValueError(f"'{path.suffix}' is none of .csv, .tsv, .parquet, .yaml (audformat)")


def _read_csv(path: Path, *, delimiter: str) -> pd.DataFrame:
    """Read a table of strings; a line longer (but for empty fields) or shorter than the header is an error."""
    text = read_whole(path, at_most=MOST_BYTES).decode("utf-8-sig")
    if "\0" in text:
        raise ValueError("it has NUL characters; is it UTF-16?")
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header = next(lines, [])
    rows = []
    for row in lines:
        if row and (len(row) < len(header) or any(row[len(header) :])):
            raise ValueError(f"line {lines.line_num} has {len(row)} fields, the header {len(header)}")
        rows += [row[: len(header)]] if row else []
        if len(header) > MOST_COLUMNS or len(rows) > MOST_ROWS:
            raise ValueError(f"more than {MOST_COLUMNS} columns or {MOST_ROWS} rows")
    return pd.DataFrame(rows, columns=header, dtype=object)


def _read_audformat(path: Path, tables: Sequence[str]) -> pd.DataFrame:
    """Read tables of an audformat database from a copy of its header, and links to its CSV and parquet files.

    Read where it lies, audformat would run what a tag of the header or a pickle beside it says.
    """
    header = _read_header(path)
    found = [str(name) for kind in ("misc_tables", "tables") for name in header.get(kind) or {}]
    with tempfile.TemporaryDirectory(prefix="serbench-") as folder:
        place = Path(folder).resolve()
        (place / "db.yaml").write_text(yaml.safe_dump(header, sort_keys=False), encoding="utf-8")
        for name in found:
            _link_table(path, name, place, is_wanted=name in (tables or found))
        try:
            return _load_audformat(place, tables)
        except Exception as error:  # audformat checks little, so a header that was made up fails in any line of it
            raise ValueError(f"{type(error).__name__}: {error}") from error


def _read_header(path: Path) -> Mapping[str, Any]:
    text = read_whole(path, at_most=MOST_HEADER_BYTES).decode("utf-8-sig")
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None or not _n_values(node, {}) <= MOST_HEADER_VALUES:
            raise ValueError(f"no audformat header: nothing, or more than {MOST_HEADER_VALUES} values")
        header = loader.construct_document(node)
    except (yaml.YAMLError, RecursionError, AttributeError) as error:  # the last for a tag on the wrong kind of node
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"no audformat header: {reason}") from error
    kinds = ("tables", "misc_tables")
    if not isinstance(header, dict) or not all(isinstance(header.get(kind) or {}, dict) for kind in kinds):
        raise ValueError("no audformat header: no blocks of tables")
    return header


def _n_values(node: yaml.Node, known: dict[int, float]) -> float:
    """Count values, those behind aliases as often as they are named: a few lines can stand for a billion."""
    if id(node) not in known:
        known[id(node)] = float("inf")  # as long as it is being counted: an alias to what it is part of has no end
        children = node.value if isinstance(node, yaml.CollectionNode) else ()
        flat = itertools.chain.from_iterable(c if isinstance(c, tuple) else (c,) for c in children)
        known[id(node)] = 1 + sum(_n_values(child, known) for child in flat)
    return known[id(node)]


def _link_table(path: Path, name: str, place: Path, *, is_wanted: bool) -> None:
    """Link a table's CSV or parquet file into a folder; a pickle stays where it is."""
    if "/" in name or "\\" in name or "\0" in name:
        raise ValueError(f"a table called '{name}', which is no name of a file")
    files = {ending: path.with_name(f"{path.stem}.{name}.{ending}") for ending in ("parquet", "csv", "pkl")}
    there = {ending: file for ending, file in files.items() if file.exists()}
    if is_wanted and not there.keys() - {"pkl"}:
        why = "; a pickle is not read, for it can run anything" if there else ""
        raise ValueError(f"table '{name}' has no {files['csv'].name} or {files['parquet'].name}{why}")
    if "parquet" in there:
        read_parquet(files["parquet"])  # audformat would read what is larger than the limits
    if "csv" in there:
        check_regular(files["csv"], at_most=MOST_BYTES)
    for ending in there.keys() - {"pkl"}:
        (place / f"db.{name}.{ending}").symlink_to(files[ending].resolve())


def _load_audformat(folder: Path, tables: Sequence[str]) -> pd.DataFrame:
    import audformat

    database = audformat.Database.load(str(folder), name="db")
    joined: pd.DataFrame | None = None
    for name in tables or list(database.tables):
        frame = database[name].df.reset_index()
        keys = [key for key in ("file", "start", "end") if joined is not None and key in frame and key in joined]
        joined = frame if joined is None else _merged(joined, frame, keys)
    if joined is None:
        raise ValueError("the database has no tables")
    for column in joined.select_dtypes("timedelta").columns:
        joined[column] = joined[column].dt.total_seconds()
    return joined


def _merged(left: pd.DataFrame, right: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Join two tables unless each row of one meets each of the other."""
    counts = [frame.value_counts(list(keys), dropna=False) for frame in (left, right)]
    if (counts[0] * counts[1]).sum() > MOST_ROWS:
        raise ValueError(f"tables whose rows meet more than {MOST_ROWS} times")
    return left.merge(right, on=list(keys), how="left")
