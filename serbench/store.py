"""The results folder: atomic files, and parts that are never rewritten.

Every file is written beside its place and moved there in one step, so a reader meets a whole file or none, and is
sealed with a checksum, so that a damaged one is known. Names of content (parts, jobs) are digests of what went into
them; writing one twice is harmless, by two processes too. Columns and metadata are text and numbers; nothing is ever
unpickled.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import mmap
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from serbench.errors import DiskError, StoreError
from serbench.keys import digest
from serbench.seals import UNSEALED, is_intact, seal

if TYPE_CHECKING:
    import pandas as pd

OUTDATED = "outdated:"
"""How the reason of a cell begins that must be run again."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTable:
    """Features of utterances: `matrix` is float32, shape (n_utterances, n_features), rows in the order of the ids."""

    utterances: tuple[str, ...]
    audio_hashes: tuple[str, ...]
    columns: tuple[str, ...]
    matrix: np.ndarray

    def frame(self) -> pd.DataFrame:
        """Return the table with utterances as index and one column per feature."""
        import pandas as pd

        index = pd.Index(self.utterances, name="utterance")
        return pd.DataFrame(self.matrix, index=index, columns=list(self.columns))


@dataclass(frozen=True, slots=True)
class Store:
    """A results folder and the places in it."""

    root: Path

    def index(self, corpus: str) -> Path:
        """Place of a corpus' index table."""
        return self.root / "index" / f"{corpus}.parquet"

    def recordings(self, corpus: str) -> list[Path]:
        """Parts of what is known of a corpus' recordings and their files, by name."""
        return _parts(self.recordings_part(corpus, "").parent)

    def recordings_part(self, corpus: str, content: str) -> Path:
        """Place of one such part."""
        return self.root / "recordings" / corpus / f"part-{content}.parquet"

    def features(self, feature_key: str, corpus: str) -> Path:
        """Folder of the parts of one feature set (named `SET-KEY`) for one corpus."""
        return self.root / "features" / feature_key / corpus

    def failures(self, feature_key: str, corpus: str) -> Path:
        """Place of the failures table of one feature set for one corpus."""
        return self.features(feature_key, corpus) / "failures.parquet"

    def job(self, key: str) -> Path:
        """Place of one job's predictions."""
        return self.root / "jobs" / f"{key}.parquet"

    def cell(self, name: str) -> Path:
        """Place of one cell's record."""
        return self.root / "cells" / f"{name}.json"

    @property
    def cells(self) -> list[Path]:
        """Every cell's record, by name."""
        return _whole_files(self.root / "cells", ".json")

    @property
    def jobs(self) -> list[Path]:
        """Every job's predictions, by name."""
        return _whole_files(self.root / "jobs", ".parquet")

    @property
    def feature_folders(self) -> list[Path]:
        """Folders of the parts of every feature set for every corpus, by name."""
        return sorted(path for path in self.root.glob("features/*/*") if path.is_dir())

    @property
    def indexes(self) -> list[Path]:
        """Every corpus' index, by name."""
        return _whole_files(self.root / "index", ".parquet")

    @property
    def timings(self) -> Path:
        """Place of the seconds that past jobs took; they inform estimates and no result."""
        return self.root / "timings.csv"

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.root / "report"

    def prepare(self) -> None:
        """Create the folder, prove that it can be written, and clear what killed processes of this host left.

        Raises
        ------
        DiskError : it cannot be created or written.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            raise DiskError(
                str(self.root),
                f"the results folder cannot be written ({error.strerror})",
                todo="Choose another with --results, or mend its permissions",
            ) from error
        self.clear_leftovers()

    def has_job(self, key: str) -> bool:
        """Say whether a job's predictions are there."""
        return self.job(key).is_file()

    def claim(self, name: str) -> Path:
        """Place of the lock of what a process has in hand."""
        return self.root / "claims" / f"{name}.lock"

    def temporary(self, *, older_than_s: float) -> list[Path]:
        """Temporary files of any host, by name, that nobody has written to for so many seconds."""
        before = time.time() - older_than_s
        return sorted(path for path in self.root.rglob(".tmp-*") if path.stat().st_mtime < before)

    def clear_leftovers(self) -> None:
        """Remove the temporary files of processes of this host that are gone, and claims that nobody holds."""
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            for leftover in self.root.rglob(".tmp-*"):
                _clear(leftover)
        claims = Claims(self)
        for path in self.claim("*").parent.glob("*.lock"):
            if claims.take(path.stem):
                claims.release(path.stem)


class Claims:
    """What this process has in hand, so that others on the same store do something else meanwhile.

    A claim is a lock of the operating system on a file of its own, so it ends with its process, however that ends. It
    saves work and guards nothing: where a file system has no locks, and in the instant when a file of a lock is
    removed, two processes may do the same, which is harmless.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._held: dict[str, FileLock] = {}

    def take(self, name: str) -> bool:
        """Claim something; say whether nobody else has it in hand."""
        path = self._store.claim(name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path)
            lock.acquire(blocking=False)
        except Timeout:
            return False
        except (OSError, NotImplementedError):  # no locks here, or not for this user
            return True
        self._held[name] = lock
        return True

    def release(self, name: str) -> None:
        """Leave something to others."""
        lock = self._held.pop(name, None)
        if lock is not None:
            with contextlib.suppress(OSError):
                self._store.claim(name).unlink(missing_ok=True)  # while it is held: nobody waits for this file
            lock.release()

    def __enter__(self) -> Claims:
        return self

    def __exit__(self, *raised: object) -> None:
        for name in tuple(self._held):
            self.release(name)
        with contextlib.suppress(OSError):  # others are at work
            self._store.claim("").parent.rmdir()


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, flush it to disk, and move it into place.

    Raises
    ------
    DiskError : no space, no permission, or any other refusal of the disk.
    """
    temporary = path.parent / f".tmp-{socket.gethostname()}-{os.getpid()}-{os.urandom(4).hex()}-{path.name}"
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


def write_table(path: Path, table: pa.Table) -> None:
    """Write an Arrow table as parquet, sealed, atomically."""

    def write(temporary: Path) -> None:
        pq.write_table(_unsealed(table), temporary, compression="zstd", write_page_checksum=True)
        seal(temporary)

    write_atomically(path, write)


def write_frame(path: Path, frame: pd.DataFrame, *, metadata: Mapping[str, Any] | None = None) -> None:
    """Write a data frame without its index as parquet, atomically, with JSON metadata."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    write_table(path, _with_metadata(table, metadata or {}))


def write_columns(
    path: Path, columns: Mapping[str, Sequence[Any]], *, metadata: Mapping[str, Any] | None = None
) -> None:
    """Write lists of equal length as parquet, atomically, with JSON metadata; a list of nothing is one of text."""
    arrays = {name: pa.array(values) if len(values) else pa.array([], pa.string()) for name, values in columns.items()}
    write_table(path, _with_metadata(pa.table(arrays), metadata or {}))


def read_columns(path: Path, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Read a parquet file, or some columns of it, as one dictionary per row; see `read_table`."""
    rows: list[dict[str, Any]] = read_table(path, columns).to_pylist()
    return rows


def write_text(path: Path, text: str) -> None:
    """Write text as UTF-8 with Unix line ends, atomically."""
    write_atomically(path, lambda temporary: _fill(temporary, text))


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
    StoreError : absent, or damaged.
    """
    try:
        record: dict[str, Any] = json.loads(_intact(path))
        del record["seal"]
        return record
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error


def read_table(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a parquet file, or some columns of it.

    Raises
    ------
    StoreError : absent or damaged.
    """
    try:
        with pq.ParquetFile(pa.BufferReader(_intact(path))) as file:
            return file.read(None if columns is None else list(columns))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def read_frame(path: Path) -> pd.DataFrame:
    """Read a parquet file as a data frame; see `read_table`."""
    frame: pd.DataFrame = read_table(path).to_pandas()
    return frame


def read_metadata(path: Path) -> dict[str, Any]:
    """Read the JSON metadata that serbench wrote into a parquet file."""
    try:
        return metadata_of(pq.read_schema(pa.BufferReader(_intact(path))))
    except (OSError, ValueError, pa.ArrowException) as error:
        raise _damaged(path, error) from error


def metadata_of(schema: pa.Schema) -> dict[str, Any]:
    """Return the JSON metadata that serbench wrote with a table."""
    raw = schema.metadata or {}
    return dict(json.loads(raw[b"serbench"])) if b"serbench" in raw else {}


def write_part(folder: Path, part: FeatureTable) -> Path:
    """Write rows of a feature table as one immutable part, named by what it holds."""
    path = folder / f"part-{_content(part)}.parquet"
    write_table(path, _arrow(part, {"columns": list(part.columns), "rows": len(part.utterances)}))
    return path


def content_of_part(path: Path) -> str:
    """Digest of what a part holds, as its name should tell.

    Raises
    ------
    StoreError : it cannot be read.
    """
    return _content(_read_part(path))


def _read_all_parts(paths: Iterable[Path]) -> FeatureTable:
    """Read parts whole, one after the other; rows of a recording's earlier content are among them."""
    parts = [_read_part(path) for path in paths]
    if not parts:
        return FeatureTable((), (), (), np.empty((0, 0), dtype=np.float32))
    return FeatureTable(
        tuple(u for part in parts for u in part.utterances),
        tuple(h for part in parts for h in part.audio_hashes),
        parts[-1].columns,
        np.concatenate([part.matrix for part in parts]),
    )


def map_features(folder: Path) -> FeatureTable:
    """Open all parts of a folder as one table whose matrix is memory-mapped, so that processes share its pages.

    The mapped file lies beside the parts, keyed by their names; it is made of them where it is absent or damaged.
    """
    parts = _parts(folder)
    path = folder / f"rows-{digest([part.name for part in parts])}.arrow"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return _open_mapped(path)
    table = _read_all_parts(parts)
    with contextlib.suppress(StoreError, OSError, ValueError, pa.ArrowException):  # no room: it stays in memory
        _write_mapped(path, table)
        table = _open_mapped(path)
    for earlier in set(folder.glob("rows-*.arrow")) - {path}:
        with contextlib.suppress(OSError):  # Windows does not remove what another process reads
            earlier.unlink(missing_ok=True)
    return table


def read_features(folder: Path, wanted: Mapping[str, str]) -> FeatureTable:
    """Read the rows of the wanted utterances (utterance -> audio hash) from all parts of a folder, sorted by id."""
    whole = map_features(folder)
    places = zip(whole.utterances, whole.audio_hashes, strict=True)
    found = {u: i for i, (u, audio_hash) in enumerate(places) if wanted.get(u) == audio_hash}
    ids = tuple(sorted(found))
    return FeatureTable(ids, tuple(wanted[u] for u in ids), whole.columns, whole.matrix[[found[u] for u in ids]])


def remove_damaged_parts(folder: Path) -> list[Path]:
    """Remove the parts of a feature set that cannot be read, and return where they were."""
    removed = []
    for path in _parts(folder):
        try:
            _rows_of(path, path.stat().st_mtime_ns)
        except StoreError:
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def stored_rows(folder: Path) -> set[tuple[str, str]]:
    """Return (utterance, audio hash) of every row in the parts of a folder, without reading the features."""
    rows: set[tuple[str, str]] = set()
    for path in _parts(folder):
        rows |= _rows_of(path, path.stat().st_mtime_ns)
    return rows


@functools.lru_cache(maxsize=256)
def _rows_of(path: Path, mtime_ns: int) -> frozenset[tuple[str, str]]:
    """Return (utterance, audio hash) of every row of a part; it is read once as long as its file is as it was."""
    table = read_table(path, ["utterance", "audio_hash"])
    return frozenset(zip(table["utterance"].to_pylist(), table["audio_hash"].to_pylist(), strict=True))


def write_predictions(
    path: Path, *, utterances: Sequence[str], predictions: np.ndarray, metadata: Mapping[str, Any]
) -> None:
    """Write a job's predictions.

    Parameters
    ----------
    predictions : integers, shape (n_settings, n_utterances): codes of the emotions named in `metadata`.
    """
    by_utterance = np.ascontiguousarray(predictions.T, dtype=np.uint8)
    columns = pa.FixedSizeListArray.from_arrays(pa.array(by_utterance.ravel()), by_utterance.shape[1])
    table = pa.table({"utterance": pa.array(utterances, pa.string()), "predictions": columns})
    write_table(path, _with_metadata(table, metadata))


def read_predictions(path: Path) -> tuple[list[str], np.ndarray, dict[str, Any]]:
    """Read a job: its utterances, its codes of shape (n_settings, n_utterances), its metadata."""
    table = read_table(path)
    codes = _matrix(table["predictions"], np.uint8)
    return table["utterance"].to_pylist(), codes.T, metadata_of(table.schema)


def _read_part(path: Path) -> FeatureTable:
    return _feature_table(read_table(path))


def _feature_table(arrow: pa.Table) -> FeatureTable:
    return FeatureTable(
        tuple(arrow["utterance"].to_pylist()),
        tuple(arrow["audio_hash"].to_pylist()),
        tuple(metadata_of(arrow.schema)["columns"]),
        _matrix(arrow["features"], np.float32),
    )


def _content(table: FeatureTable) -> str:
    """Digest of a table's ids, fingerprints and numbers."""
    matrix = np.ascontiguousarray(table.matrix, dtype=np.float32)
    return digest([list(table.utterances), list(table.audio_hashes), hashlib.sha256(matrix.data).hexdigest()])


def _arrow(table: FeatureTable, metadata: Mapping[str, Any]) -> pa.Table:
    matrix = np.ascontiguousarray(table.matrix, dtype=np.float32)
    columns = {
        "utterance": pa.array(table.utterances, pa.string()),
        "audio_hash": pa.array(table.audio_hashes, pa.string()),
        "features": pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1]),
    }
    return _with_metadata(pa.table(columns), metadata)


def _write_mapped(path: Path, table: FeatureTable) -> None:
    def write(temporary: Path) -> None:
        arrow = _unsealed(_arrow(table, {"columns": list(table.columns)}))
        with pa.ipc.new_file(str(temporary), arrow.schema) as file:
            file.write_table(arrow)
        seal(temporary)

    write_atomically(path, write)


def _open_mapped(path: Path) -> FeatureTable:
    with path.open("rb") as content, mmap.mmap(content.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        if not is_intact(mapped):
            raise ValueError("damaged")
    with pa.memory_map(str(path)) as file:
        return _feature_table(pa.ipc.open_file(file).read_all())


def _matrix(column: pa.ChunkedArray, dtype: type) -> np.ndarray:
    width = column.type.list_size
    chunks: list[np.ndarray] = [np.asarray(chunk.flatten(), dtype=dtype).reshape(-1, width) for chunk in column.chunks]
    if len(chunks) == 1:
        return chunks[0]  # a view: a memory-mapped column stays mapped
    return np.concatenate(chunks) if chunks else np.empty((0, width), dtype=dtype)


def _with_metadata(table: pa.Table, metadata: Mapping[str, Any]) -> pa.Table:
    own = {b"serbench": json.dumps(metadata, sort_keys=True, ensure_ascii=False).encode()}
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **own})


def _unsealed(table: pa.Table) -> pa.Table:
    return table.replace_schema_metadata({**(table.schema.metadata or {}), b"seal": UNSEALED.encode()})


def is_sound(path: Path) -> bool:
    """Say whether a sealed file is there and holds what was written."""
    try:
        _intact(path)
    except (OSError, ValueError):
        return False
    return True


def _intact(path: Path) -> bytes:
    """Read a file as it was when it was sealed; `ValueError` where it is not."""
    content = path.read_bytes()
    if not is_intact(content):
        raise ValueError("its content is not what was written: damaged, altered, or of an earlier serbench")
    return content


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


def _whole_files(folder: Path, suffix: str) -> list[Path]:
    """Files of a folder by name, without those that another process is still writing (hidden, as `*` matches too)."""
    return sorted(path for path in folder.glob(f"*{suffix}") if not path.name.startswith("."))


def _fill(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def _clear(leftover: Path) -> None:
    """Remove a temporary file whose process, on this host, is gone."""
    own = f".tmp-{socket.gethostname()}-"
    if not leftover.name.startswith(own):
        return
    pid = leftover.name[len(own) :].split("-", 1)[0]
    if pid.isdigit() and not _is_alive(int(pid)):
        leftover.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _disk_reason(error: OSError) -> str:
    """Say in the system's words why the disk refuses; pyarrow puts them behind words of its own."""
    return (error.strerror or str(error)).rpartition("] ")[2]


def _damaged(path: Path, error: Exception) -> StoreError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return StoreError(
        str(path), f"cannot be read ({reason})", todo="Delete this file and run the command that makes it again"
    )
