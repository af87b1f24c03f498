"""Files as serbench writes them: whole or not at all, with a checksum; and how they are read again.

Every file is filled beside its place and moved there in one step. JSON, parquet and Arrow files contain a checksum of
every byte, which other programs ignore, and are read only where they are what was written. No file is ever unpickled.
Text in CSV files that a spreadsheet would run as a formula gets a quote in front.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import json
import mmap
import os
import re
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq

from serbench.errors import DamagedError, DiskError, StoreError

if TYPE_CHECKING:
    import pandas as pd

TEMPORARY = re.compile(r"\.tmp-[0-9a-f]{12}-[0-9]+-[0-9a-f]{8}-.+")  # system, process, a random number, whole name

# The place of the checksum, which is the SHA-256 of the whole file with these zeros. Of several the last counts.
_MARKER, _ZEROS = b"serbench-sha256:", b"0" * 64
UNSEALED = (_MARKER + _ZEROS).decode()

_FORMULA = tuple("=+-@\t\n\uff1d\uff0b\uff0d\uff20")  # the last four are the wide ones of East Asia, taken likewise
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")


@functools.cache
def system_id() -> str:
    """Name what process ids are unique in: this host since it was started, or this container."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):  # other systems than Linux
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]


def temporary_beside(path: Path) -> Path:
    """Name a file to fill before it is moved to `path`: whose it is, and that no other process has it.

    >>> TEMPORARY.fullmatch(temporary_beside(Path("jobs/a.parquet")).name) is not None
    True
    """
    return path.parent / f".tmp-{system_id()}-{os.getpid()}-{os.urandom(4).hex()}-{path.name}"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk, and move it into place, or a DiskError."""
    temporary = temporary_beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise DiskError(str(path), "written", error) from error
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
    """Remove stale files of a folder and move staged files there, in the order of their names.

    A DiskError comes where the disk refuses. If a file or folder of somebody is in the way, nothing is moved.
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
        raise DiskError(str(folder), "written", error) from error


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes as they are, atomically."""
    write_atomically(path, lambda temporary: temporary.write_bytes(content))


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8 with Unix line ends, atomically."""
    write_bytes(path, text.encode())


def write_json(path: Path, record: Mapping[str, Any]) -> None:
    """Write a record as JSON with a checksum, one line per field, atomically."""
    text = json.dumps({**record, "seal": UNSEALED}, indent=1, ensure_ascii=False) + "\n"
    _write_sealed(path, lambda temporary: temporary.write_bytes(text.encode()))


def write_table(path: Path, table: pa.Table | pd.DataFrame, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a table, or a data frame without its index, with JSON metadata and a checksum, atomically.

    It is parquet, but as it lies in memory, for `map_table`, where the name ends in .arrow.
    """
    arrow = table if isinstance(table, pa.Table) else pa.Table.from_pandas(table, preserve_index=False)
    own = json.dumps(metadata or {}, sort_keys=True, ensure_ascii=False).encode()
    sealed = {b"serbench": own, b"seal": UNSEALED.encode()}
    ready = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **sealed})

    def write(temporary: Path) -> None:
        if path.suffix == ".arrow":
            with pa.ipc.new_file(str(temporary), ready.schema) as file:
                file.write_table(ready)
        else:
            pq.write_table(ready, temporary, compression="zstd", write_page_checksum=True)

    _write_sealed(path, write)


def write_columns(path: Path, columns: Mapping[str, Sequence[Any]], metadata: Mapping[str, Any] | None = None) -> None:
    """Write lists of equal length as parquet; a list of nothing is one of text; see `write_table`."""
    arrays = {name: pa.array(values) if len(values) else pa.array([], pa.string()) for name, values in columns.items()}
    write_table(path, pa.table(arrays), metadata)


def read_json(path: Path) -> dict[str, Any]:
    """Read a record that was written as JSON; StoreError if it cannot be read, DamagedError if it was altered."""
    with _intact(path) as content:
        record: dict[str, Any] = json.loads(content)
        del record["seal"]
        return record


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a parquet file, or some columns; raises as `read_json` does."""
    with _intact(path) as content, pq.ParquetFile(pa.BufferReader(content), pre_buffer=False) as file:
        # Without threads: one of Arrow's may let go of Python's bytes while Python ends, which aborts the process.
        return file.read(None if columns is None else list(columns), use_threads=False)


def read_frame(path: Path) -> pd.DataFrame:
    """Read a parquet file as a data frame; see `read_table`."""
    frame: pd.DataFrame = read_table(path).to_pandas()
    return frame


def read_metadata(path: Path) -> dict[str, Any]:
    """Read the JSON metadata of a parquet file; see `read_table`."""
    with _intact(path) as content:
        return metadata_of(pq.read_schema(pa.BufferReader(content)))


def metadata_of(schema: pa.Schema) -> dict[str, Any]:
    """Return the JSON metadata that serbench wrote with a table."""
    raw = schema.metadata or {}
    return dict(json.loads(raw[b"serbench"])) if b"serbench" in raw else {}


def map_table(path: Path) -> pa.Table:
    """Map an .arrow file of `write_table` into memory, so that processes share its pages; raises like `read_json`."""
    with _readable(path):
        with path.open("rb") as content, mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            if not is_intact(mapped):
                raise DamagedError(str(path))
        with pa.memory_map(str(path)) as file:
            return pa.ipc.open_file(file).read_all()


def is_intact(content: bytes | mmap.mmap) -> bool:
    """Return whether the content of a file is what its checksum was computed of."""
    place = content.rfind(_MARKER) + len(_MARKER)
    written = content[place : place + len(_ZEROS)]
    with memoryview(content) as view:
        computed = hashlib.sha256(view[:place])
        computed.update(_ZEROS)
        computed.update(view[place + len(_ZEROS) :])
    return place >= len(_MARKER) and written == computed.hexdigest().encode()


def is_damaged(path: Path) -> bool:
    """Return whether a file is there whose content is not what was written; a StoreError where nobody knows."""
    with _readable(path), contextlib.suppress(FileNotFoundError):
        return not is_intact(path.read_bytes())
    return False


def frame_to_csv(frame: pd.DataFrame) -> str:
    """Write a frame as CSV for people: text that a spreadsheet would run gets a quote in front, numbers stay."""
    import pandas as pd

    written = frame.rename(columns=lambda name: _plain(str(name)))
    for place, kind in enumerate(written.dtypes):
        if not pd.api.types.is_numeric_dtype(kind):
            values = written.iloc[:, place].to_numpy(dtype=object).tolist()
            plain = {text: _plain(text) for text in set(values) if isinstance(text, str) and text != _plain(text)}
            if plain:
                written.isetitem(place, pd.array([plain.get(value, value) for value in values], dtype=object))
    return str(written.to_csv(index=False, lineterminator="\n"))


def _plain(text: str) -> str:
    plain = re.sub("\r\n?", "\n", text)  # the csv module leaves a lone carriage return without quotes
    plain = re.sub("[\ud800-\udfff]", "\N{REPLACEMENT CHARACTER}", plain)
    return f"'{plain}" if plain[:1] in _FORMULA and not _NUMBER.fullmatch(plain) and plain != "-" else plain


def _write_sealed(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file that contains `UNSEALED`, and put its checksum there."""

    def write_and_seal(temporary: Path) -> None:
        write(temporary)
        with temporary.open("r+b") as file:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                place = content.rfind(UNSEALED.encode()) + len(_MARKER)
                checksum = hashlib.sha256(content).hexdigest()
            file.seek(place)
            file.write(checksum.encode())  # not through the map: a full disk must show as an error

    write_atomically(path, write_and_seal)


@contextlib.contextmanager
def _intact(path: Path) -> Iterator[bytes]:
    """Give the content of a file that is what was written; what libraries raise at it becomes a StoreError."""
    with _readable(path):
        content = path.read_bytes()
        if not is_intact(content):
            raise DamagedError(str(path))
        yield content


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn what libraries raise at a file into a StoreError."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        todo = "Run the command that makes it, or mend the disk"
        raise StoreError(str(path), f"cannot be read ({reason})", todo=todo) from error
