"""Tables of labels as users have them: CSV, TSV, parquet, audformat. Every value is read as a stripped string.

Tables come from strangers with the corpus. None of them may run code (a pickle, or a tag in an audformat header, can)
or fill the memory.
"""

from __future__ import annotations

import csv
import io
import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from serbench.corpora.documents import check_regular, read_whole
from serbench.errors import CorpusError, Fault

MOST_BYTES = 2**26
"""Bytes of a table of text."""

MOST_HEADER_BYTES = 2**21
"""Bytes of the header of an audformat database."""

MOST_HEADER_VALUES = 1_000_000

MOST_ROWS = 2_000_000
MOST_COLUMNS = 10_000

MOST_PARQUET_VALUES = 2**28
"""Rows times columns of a parquet file, at most: a gigabyte of float32."""

MOST_PARQUET_BYTES = 2**31
"""Bytes that a parquet file may take in memory; repeated text is a few bytes in the file and each row's in memory."""

_BATCH_VALUES = 2**20

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


def read_parquet(path: Path, *, most_rows: int | None = None, most_bytes: int = MOST_PARQUET_BYTES) -> pd.DataFrame:
    """Read the flat columns of a parquet file; columns of lists or blocks come empty, as nothing here needs them.

    Parameters
    ----------
    most_rows, most_bytes : rows, and bytes in memory, that the reader expects at most.

    Raises
    ------
    OSError : no such file, or no file.
    ValueError : no parquet, damaged, of doubled columns, or larger than the limits.
    """
    check_regular(path)
    try:
        return _read_parquet(path, most_rows, most_bytes)
    except (OSError, ValueError):
        raise
    except Exception as error:  # pyarrow and pandas raise whatever comes of a file that was made up
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _read_parquet(path: Path, most_rows: int | None, most_bytes: int) -> pd.DataFrame:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        n_rows = file.metadata.num_rows
        if most_rows is not None and n_rows > most_rows:
            raise ValueError(f"{n_rows} rows, at most {most_rows} are read")
        names = _columns(file.schema_arrow.names, n_rows)
        useless = [field.name for field in file.schema_arrow if _is_of_no_use(field.type)]
        texts = [column.path for column in file.schema if column.physical_type == "BYTE_ARRAY"]
    flat = [name for name in names if name not in useless]
    with pq.ParquetFile(path, read_dictionary=texts) as file:  # text stays a dictionary until its size is known
        frame = _written_out(file, flat, most_bytes)
    return frame.assign(**dict.fromkeys(useless)) if useless else frame


def _written_out(file: Any, columns: Sequence[str], most_bytes: int) -> pd.DataFrame:
    """Read columns of a parquet file batch by batch, as long as they are small enough."""
    import pyarrow as pa

    batch_size = max(1, _BATCH_VALUES // max(1, len(columns)))
    read = file.iter_batches(batch_size=batch_size, columns=columns, use_threads=False)
    batches = list(_within_bounds(read, most_bytes))
    schema = pa.schema([f for f in file.schema_arrow if f.name in columns], file.schema_arrow.metadata)
    table = pa.Table.from_batches(batches) if batches else schema.empty_table()
    decoded = [_decoded(column) for column in table.columns]
    written_out = pa.table(decoded, names=table.column_names, metadata=schema.metadata)
    written_out.validate(full=True)  # text that is not UTF-8 shows here, or only when it is used
    frame: pd.DataFrame = written_out.to_pandas()
    return frame.set_axis([str(name) for name in frame.columns], axis="columns")  # pandas' notes may say tuples


def _columns(names: Sequence[str], n_rows: int) -> Sequence[str]:
    doubled = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if doubled:
        raise ValueError(f"two columns are called '{doubled[0]}'")
    if n_rows * max(1, len(names)) > MOST_PARQUET_VALUES:
        raise ValueError(f"{n_rows} rows of {len(names)} columns, at most {MOST_PARQUET_VALUES} values are read")
    return names


def _within_bounds(batches: Iterator[Any], most_bytes: int) -> Iterator[Any]:
    size = 0
    for batch in batches:
        batch.validate(full=True)
        size += sum(map(_size_as_text, batch.columns))
        if size > most_bytes:
            raise ValueError(f"more than {most_bytes} bytes once unpacked")
        yield batch


def _size_as_text(column: Any) -> int:
    """Bytes of an array once a dictionary is written out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type) or not _is_text(column.type.value_type):
        return int(column.nbytes)
    return int(pc.sum(pc.binary_length(column.dictionary).take(column.indices)).as_py() or 0) + 8 * len(column)


def _decoded(column: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_dictionary(column.type) and _is_text(column.type.value_type):
        return column.cast(column.type.value_type)
    return column


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    is_any = (pa.types.is_string, pa.types.is_binary, pa.types.is_large_string, pa.types.is_large_binary)
    return any(is_kind(kind) for is_kind in is_any)


def _is_of_no_use(kind: Any) -> bool:
    """Say whether a column holds lists, blocks or bytes of fixed size, all of which can be small in the file only."""
    import pyarrow as pa

    plain = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
    return bool(pa.types.is_nested(plain) or pa.types.is_fixed_size_binary(plain))
