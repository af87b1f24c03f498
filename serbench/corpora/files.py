"""Files that others wrote, read within bounds.

A pipe in the place of a file would wait for ever, a device never ends, and a few bytes of parquet may claim a billion
rows; all that is refused by name before it costs time or memory. Refusals are `OSError`s and `ValueError`s worded for
a message; the readers above turn them into errors of their own.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

MOST_PARQUET_VALUES = 2**28
"""Rows times columns of a parquet file, at most: a gigabyte of float32."""

MOST_PARQUET_BYTES = 2**31
"""Bytes that a parquet file may take in memory; repeated text is a few bytes in the file and each row's in memory."""

_BATCH_VALUES = 2**20

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def check_regular(path: Path, *, at_most: int | None = None) -> None:
    """Check that a path leads to a regular file of `at_most` bytes, without opening it: opening a pipe waits.

    Raises
    ------
    OSError : it does not; `strerror` says what is there.
    """
    try:
        found = os.stat(path)
    except ValueError as error:  # a NUL in the name
        raise OSError(errno.EINVAL, f"no name of a file: {error}") from error
    if not stat.S_ISREG(found.st_mode):
        kind = next((word for is_kind, word in _KINDS if is_kind(found.st_mode)), "something else")
        raise OSError(errno.EINVAL, f"{kind}, not a file")
    if at_most is not None and found.st_size > at_most:
        raise _too_large(f"{found.st_size} bytes", at_most)


def read_whole(path: Path, *, at_most: int) -> bytes:
    """Read a regular file of `at_most` bytes.

    Raises
    ------
    OSError : no such file, no file, or a larger one.
    """
    check_regular(path, at_most=at_most)
    with path.open("rb") as file:
        content = file.read(at_most + 1)  # some files of the system say 0 bytes and go on
    if len(content) > at_most:
        raise _too_large(f"more than {at_most} bytes", at_most)
    return content


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


def _too_large(found: str, at_most: int) -> OSError:
    return OSError(errno.EFBIG, f"{found}, at most {at_most} are read")
