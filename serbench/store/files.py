"""Files as serbench writes them: whole or not at all, and sealed with a checksum; and how they are read again.

Every file is written beside its place and moved there in one step, so that a reader meets a whole file or none. JSON
and parquet are sealed, and read only where they are what was written. Columns and metadata are text and numbers;
nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from serbench.errors import DamagedError, DiskError, StoreError
from serbench.store.checksum import UNSEALED, is_intact, seal

if TYPE_CHECKING:
    import pandas as pd

TEMPORARY = ".tmp-"
"""How the names of files that are being written begin; then follow the host and the process."""


@functools.cache
def system_id() -> str:
    """Name what process ids are unique in: this host since it was started, or this container."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # other systems than Linux
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]


def temporary_beside(path: Path) -> Path:
    """Name a file to fill before it is moved to `path`: whose it is, and that no other process has it."""
    return path.parent / f"{TEMPORARY}{system_id()}-{os.getpid()}-{os.urandom(4).hex()}-{path.name}"


def is_temporary(name: str) -> bool:
    """Say whether a name is one of `temporary_beside`, of any host and process.

    >>> is_temporary(temporary_beside(Path("jobs/a.parquet")).name), is_temporary(".tmp-notes.txt")
    (True, False)
    """
    return re.fullmatch(rf"{re.escape(TEMPORARY)}[0-9a-f]{{12}}-[0-9]+-[0-9a-f]{{8}}-.+", name) is not None


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk, and move it into place.

    Raises
    ------
    DiskError : no space, no permission, or any other refusal of the disk.
    """
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise DiskError(
            str(path),
            f"cannot be written ({_disk_reason(error)})",
            todo="What was stored before is intact; make room or mend permissions and run the same command again",
        ) from error
    finally:
        with contextlib.suppress(OSError):  # what went wrong with the write is already on its way
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Give the place of a temporary folder beside another one, to fill with what is moved there; it is gone after."""
    temporary = temporary_beside(folder)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def put_staged(temporary: Path, folder: Path, names: Iterable[str], *, stale: Iterable[str] = ()) -> None:
    """Remove stale files of a folder and move staged ones there, in the order of their names.

    Nothing is moved where somebody's file or folder is in the way.

    Raises
    ------
    DiskError : the disk refuses.
    """
    names = tuple(names)
    try:
        for place in (folder / name for name in names):
            if place.parent.is_file():
                raise OSError(errno.ENOTDIR, f"{place.parent.name} is a file")
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.is_dir():
                raise OSError(errno.EISDIR, f"{place.name} is a folder")
        for name in stale:
            (folder / name).unlink(missing_ok=True)
        for name in names:
            try:
                (temporary / name).replace(folder / name)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                write_bytes(folder / name, (temporary / name).read_bytes())  # the folder is a link to another disk
    except OSError as error:
        todo = "Make room or mend permissions and run the same command again"
        raise DiskError(str(folder), f"cannot be written ({_disk_reason(error)})", todo=todo) from error


def write_table(path: Path, table: pa.Table) -> None:
    """Write an Arrow table as parquet, sealed, atomically."""

    def write(temporary: Path) -> None:
        pq.write_table(unsealed(table), temporary, compression="zstd", write_page_checksum=True)
        seal(temporary)

    write_atomically(path, write)


def write_frame(path: Path, frame: pd.DataFrame, *, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a data frame without its index as parquet, atomically, with JSON metadata."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    write_table(path, with_metadata(table, metadata or {}))


def write_columns(
    path: Path, columns: Mapping[str, Sequence[Any]], *, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write lists of equal length as parquet, atomically, with JSON metadata; a list of nothing is one of text."""
    arrays = {name: pa.array(values) if len(values) else pa.array([], pa.string()) for name, values in columns.items()}
    write_table(path, with_metadata(pa.table(arrays), metadata or {}))


def read_columns(path: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Read a parquet file, or some columns of it, as one dictionary per row; see `read_table`."""
    rows: list[dict[str, Any]] = read_table(path, columns).to_pylist()
    return rows


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8 with Unix line ends, atomically."""
    write_atomically(path, lambda temporary: _fill(temporary, text))


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes as they are, atomically."""

    def write(temporary: Path) -> None:
        temporary.write_bytes(content)

    write_atomically(path, write)


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON, one line per field, sealed, atomically."""

    def write(temporary: Path) -> None:
        _fill(temporary, json.dumps({**record, "seal": UNSEALED}, indent=1, ensure_ascii=False) + "\n")
        seal(temporary)

    write_atomically(path, write)


def read_json(path: Path) -> dict[str, Any]:
    """Read a record that was written as JSON.

    Raises
    ------
    StoreError : absent or unreadable; a `DamagedError` where it is not what was written.
    """
    try:
        record: dict[str, Any] = json.loads(_intact(path))
        del record["seal"]
        return record
    except (OSError, ValueError, KeyError, TypeError) as error:  # the last two where it is sealed and no record
        raise _unreadable(path, error) from error


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a parquet file, or some columns of it.

    Raises
    ------
    StoreError : absent or unreadable; a `DamagedError` where it is not what was written.
    """
    try:
        with pq.ParquetFile(pa.BufferReader(_intact(path)), pre_buffer=False) as file:
            # Without threads: one of Arrow's may let go of Python's bytes while Python ends, which aborts the process.
            return file.read(None if columns is None else list(columns), use_threads=False)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def read_frame(path: Path) -> pd.DataFrame:
    """Read a parquet file as a data frame; see `read_table`."""
    frame: pd.DataFrame = read_table(path).to_pandas()
    return frame


def read_metadata(path: Path) -> dict[str, Any]:
    """Read the JSON metadata that serbench wrote into a parquet file."""
    try:
        return metadata_of(pq.read_schema(pa.BufferReader(_intact(path))))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _unreadable(path, error) from error


def metadata_of(schema: pa.Schema) -> dict[str, Any]:
    """Return the JSON metadata that serbench wrote with a table."""
    raw = schema.metadata or {}
    return dict(json.loads(raw[b"serbench"])) if b"serbench" in raw else {}


def with_metadata(table: pa.Table, metadata: Mapping[str, Any]) -> pa.Table:
    """Return a table with JSON metadata."""
    own = {b"serbench": json.dumps(metadata, sort_keys=True, ensure_ascii=False).encode()}
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **own})


def unsealed(table: pa.Table) -> pa.Table:
    """Return a table with a place for its seal."""
    return table.replace_schema_metadata({**(table.schema.metadata or {}), b"seal": UNSEALED.encode()})


def is_damaged(path: Path) -> bool:
    """Say whether a sealed file is there and does not hold what was written.

    Raises
    ------
    StoreError : it cannot be read just now, so that nobody knows.
    """
    try:
        _intact(path)
    except FileNotFoundError:
        return False
    except DamagedError:
        return True
    except OSError as error:
        raise _unreadable(path, error) from error
    return False


def _intact(path: Path) -> bytes:
    """Read a file as it was when it was sealed."""
    content = path.read_bytes()
    if not is_intact(content):
        found = "its content is not what was written: damaged, altered, or of an earlier serbench"
        raise DamagedError(str(path), found, todo="Run `serbench extract`, `grid` or `score` again, which make it anew")
    return content


def _fill(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _disk_reason(error: OSError) -> str:
    """Say in the system's words why the disk refuses; pyarrow puts them behind words of its own."""
    return (error.strerror or str(error)).rpartition("] ")[2]


def _unreadable(path: Path, error: Exception) -> StoreError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return StoreError(str(path), f"cannot be read ({reason})", todo="Run the command that makes it, or mend the disk")
