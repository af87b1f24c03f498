"""The results folder: its places, and the tables of numbers in it, features in parts and predictions by job.

Names of content (parts, jobs) are digests of what went into them; parts are never rewritten, and writing one twice is
harmless, by two processes too.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import mmap
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from serbench.errors import DamagedError, DiskError, StoreError
from serbench.store.checksum import is_intact, seal
from serbench.store.files import (
    TEMPORARY,
    is_temporary,
    metadata_of,
    read_json,
    read_table,
    system_id,
    unsealed,
    with_metadata,
    write_atomically,
    write_table,
)
from serbench.store.keys import digest
from serbench.store.locks import Claims
from serbench.store.ragged import Ragged, Rows, flat

if TYPE_CHECKING:
    import pandas as pd

FOLDERS = ("index", "recordings", "features", "jobs", "cells", "experiments", "audits", "report")
"""Folders of a results folder that serbench writes to."""

_REPORT_NAME = re.compile(r"(figures/)?[A-Za-z0-9_-]+\.[a-z]+")

OUTDATED = "outdated:"
"""How the reason of a cell begins that must be run again."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureTable:
    """Features of utterances, in the order of the ids.

    `matrix` is float32, shape (n_utterances, n_features), or of a framewise set the frames of each.
    """

    utterances: tuple[str, ...]
    audio_hashes: tuple[str, ...]
    columns: tuple[str, ...]
    matrix: Rows

    def frame(self) -> pd.DataFrame:
        """Return the table with utterances (and the frames of each, from 0) as index and one column per feature."""
        import pandas as pd

        return pd.DataFrame(flat(self.matrix), index=self._rows(), columns=list(self.columns))

    def _rows(self) -> pd.Index:
        import pandas as pd

        if not isinstance(self.matrix, Ragged):
            return pd.Index(self.utterances, name="utterance")
        lengths = self.matrix.lengths
        frames = [np.arange(length) for length in lengths]
        ids = np.repeat(np.asarray(self.utterances, dtype=object), lengths)
        return pd.MultiIndex.from_arrays([ids, np.concatenate([[], *frames]).astype(int)], names=["utterance", "frame"])


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

    def experiment(self, name: str) -> Path:
        """Place of the record of one experiment."""
        return self.root / "experiments" / f"{name}.json"

    def audit(self, corpus: str) -> Path:
        """Place of what the audit of a corpus found."""
        return self.root / "audits" / f"{corpus}.json"

    @property
    def experiments(self) -> list[Path]:
        """Every experiment's record, by name."""
        return _whole_files(self.root / "experiments", ".json")

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

    def worded(self, text: str) -> str:
        """Return words for a record or a report, with places relative to the results folder.

        >>> Store(Path("/home/me/results")).worded("/home/me/results/jobs/a.parquet: damaged")
        'jobs/a.parquet: damaged'
        """
        return re.sub(rf"(?<![^\s'\"(]){re.escape(str(self.root))}{re.escape(os.sep)}", "", text)

    @property
    def provenance(self) -> Path:
        """Place of what made the report, and of the list of its files."""
        return self.report / "provenance.json"

    @property
    def report_files(self) -> dict[str, str]:
        """Names below `report/` that the last report wrote, each with the SHA-256 of what it wrote there.

        Raises
        ------
        StoreError : there is no such list.
        """
        try:
            files: dict[str, str] = read_json(self.provenance)["files"]
            return {name: files[name] for name in files if _REPORT_NAME.fullmatch(name)}
        except (KeyError, TypeError) as error:
            raise StoreError(str(self.provenance), "no list of what the report wrote") from error

    def has_report_file(self, name: str, sha256: str) -> bool:
        """Say whether a file of the report is there and holds this."""
        try:
            return hashlib.sha256((self.report / name).read_bytes()).hexdigest() == sha256
        except OSError:
            return False

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

    def claims(self) -> Claims:
        """Return claims on this store's work, none of them taken yet."""
        return Claims(self.root / "claims")

    def temporary(self, *, older_than_s: float) -> list[Path]:
        """Temporary files of any host, by name, that nobody has written to for so many seconds."""
        before = time.time() - older_than_s
        found = []
        for path in self._temporary():
            with contextlib.suppress(FileNotFoundError):  # its writer has just moved it into place
                found += [path] if path.stat().st_mtime < before else []
        return sorted(found)

    def _temporary(self) -> Iterator[Path]:
        """What has a name of `temporary_beside` where serbench writes, but for links and what lies behind them."""
        for folder, folders, files in os.walk(self.root):
            for name in (*folders, *files):
                if is_temporary(name) and not Path(folder, name).is_symlink():
                    yield Path(folder, name)
            if folder == str(self.root):
                folders[:] = [name for name in folders if name in FOLDERS]

    def clear_leftovers(self) -> None:
        """Remove the temporary files of processes of this system that are gone, and claims that nobody holds."""
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            for leftover in self._temporary():
                _clear(leftover)
        self.claims().clear()


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
        _one_below_the_other([part.matrix for part in parts]),
    )


def _one_below_the_other(matrices: Sequence[Rows]) -> Rows:
    if any(isinstance(one, Ragged) for one in matrices):
        return Ragged.of([frames for one in matrices for frames in one], n_features=matrices[-1].shape[1])
    return np.concatenate([flat(one) for one in matrices])


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
    """Remove the parts of a feature set that are damaged, and return where they were."""
    removed = []
    for path in _parts(folder):
        try:
            _rows_of(path, _changed_ns(path))
        except DamagedError:
            path.unlink(missing_ok=True)
            removed.append(path)
    return removed


def stored_rows(folder: Path) -> set[tuple[str, str]]:
    """Return (utterance, audio hash) of every row in the parts of a folder, without reading the features."""
    rows: set[tuple[str, str]] = set()
    for path in _parts(folder):
        rows |= _rows_of(path, _changed_ns(path))
    return rows


def _changed_ns(path: Path) -> int:
    """When a part was changed; 0 where another process has just removed it."""
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_mtime_ns
    return 0


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
    write_table(path, with_metadata(table, metadata))


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
        _features(arrow["features"]),
    )


def _features(column: pa.ChunkedArray) -> Rows:
    """Return the rows of a column, or its frames where it is one of lists; both are views of a column of one chunk."""
    if not pa.types.is_large_list(column.type):
        return _matrix(column, np.float32)
    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    first, last = whole.offsets[0].as_py(), whole.offsets[-1].as_py()
    frames = pa.chunked_array([whole.values.slice(first, last - first)])
    return Ragged(np.asarray(whole.offsets, dtype=np.int64) - first, _matrix(frames, np.float32))


def _content(table: FeatureTable) -> str:
    """Digest of a table's ids, fingerprints and numbers, and of how many frames each has."""
    matrix = np.ascontiguousarray(flat(table.matrix), dtype=np.float32)
    lengths = [table.matrix.lengths.tolist()] if isinstance(table.matrix, Ragged) else []
    numbers = hashlib.sha256(matrix.data).hexdigest()
    return digest([list(table.utterances), list(table.audio_hashes), numbers, *lengths])


def _arrow(table: FeatureTable, metadata: Mapping[str, Any]) -> pa.Table:
    matrix = np.ascontiguousarray(flat(table.matrix), dtype=np.float32)
    rows = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    if isinstance(table.matrix, Ragged):
        rows = pa.LargeListArray.from_arrays(pa.array(table.matrix.offsets), rows)
    columns = {
        "utterance": pa.array(table.utterances, pa.string()),
        "audio_hash": pa.array(table.audio_hashes, pa.string()),
        "features": rows,
    }
    return with_metadata(pa.table(columns), metadata)


def _write_mapped(path: Path, table: FeatureTable) -> None:
    def write(temporary: Path) -> None:
        arrow = unsealed(_arrow(table, {"columns": list(table.columns)}))
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


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob("part-*.parquet"))


def _whole_files(folder: Path, suffix: str) -> list[Path]:
    """Files of a folder by name, without those that another process is still writing (hidden, as `*` matches too)."""
    return sorted(path for path in folder.glob(f"*{suffix}") if not path.name.startswith("."))


def _clear(leftover: Path) -> None:
    """Remove a temporary file whose process, of this system since it was started, is gone."""
    system, _, rest = leftover.name.removeprefix(TEMPORARY).partition("-")
    pid = rest.partition("-")[0]
    if system == system_id() and pid.isdigit() and not _is_alive(int(pid)):
        shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
