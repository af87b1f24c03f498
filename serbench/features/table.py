"""Features of utterances: one row of each, or its frames; the parts in which they are stored, and one mapped file.

Parts are named by what they contain and never rewritten; writing one twice is harmless, by two processes too.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, overload

import numpy as np
import pyarrow as pa

from serbench.errors import DamagedError, StoreError
from serbench.store.files import map_table, metadata_of, read_table, write_table
from serbench.store.keys import digest
from serbench.store.results import every_file, matrix_of

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Frames of recordings, one below the other: those of recording i are `matrix[offsets[i] : offsets[i + 1]]`.

    `offsets`: int64, shape (n_recordings + 1,), from 0 up. `matrix`: shape (n_frames of all, n_features); where it is
    memory-mapped, so is every view of it.
    """

    offsets: np.ndarray
    matrix: np.ndarray

    @staticmethod
    def of(frames: Sequence[np.ndarray], *, n_features: int) -> Ragged:
        """Copy matrices of shape (n_frames, n_features) into one block of float32."""
        offsets = np.cumsum([0, *map(len, frames)], dtype=np.int64)
        none = np.empty((0, n_features), dtype=np.float32)
        return Ragged(offsets, np.concatenate([none, *frames], dtype=np.float32))

    @property
    def lengths(self) -> np.ndarray:
        """Number of frames of every recording: int64, shape (n_recordings,)."""
        return np.diff(self.offsets)

    @property
    def shape(self) -> tuple[int, int]:
        """(n_recordings, n_features): what the shape would be of a matrix of one row per recording."""
        return len(self), self.matrix.shape[1]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[i] for i in range(len(self)))

    @overload
    def __getitem__(self, place: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, place: Sequence[int]) -> Ragged: ...

    def __getitem__(self, place: int | Sequence[int]) -> np.ndarray | Ragged:
        """Return the frames of one recording, a read-only view of shape (n_frames, n_features); or copy several."""
        if isinstance(place, Sequence):
            return Ragged.of([self[i] for i in place], n_features=self.shape[1])
        i = range(len(self))[place]
        frames = self.matrix[self.offsets[i] : self.offsets[i + 1]]
        frames.flags.writeable = False
        return frames


Rows: TypeAlias = "np.ndarray | Ragged"
"""A matrix of one row per recording, or the frames of each."""


def flat(rows: Rows) -> np.ndarray:
    """Return a matrix as it is, or of frames the block of all: what is fitted and transformed row by row."""
    return rows.matrix if isinstance(rows, Ragged) else rows


def with_flat(rows: Rows, matrix: np.ndarray) -> Rows:
    """Return other numbers in the same shape: the inverse of `flat`."""
    return Ragged(rows.offsets, matrix) if isinstance(rows, Ragged) else matrix


def for_each_row(rows: Rows, values: np.ndarray) -> np.ndarray:
    """Return what is known of recordings for every row of `flat`: shape (n_rows,)."""
    return values.repeat(rows.lengths) if isinstance(rows, Ragged) else values


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

        rows = pd.Index(self.utterances, name="utterance")
        if isinstance(self.matrix, Ragged):
            lengths, starts = self.matrix.lengths, self.matrix.offsets[:-1]
            frames = np.arange(len(self.matrix.matrix)) - starts.repeat(lengths)
            rows = pd.MultiIndex.from_arrays([rows.repeat(lengths), frames], names=["utterance", "frame"])
        return pd.DataFrame(flat(self.matrix), index=rows, columns=list(self.columns))


def write_part(folder: Path, part: FeatureTable) -> Path:
    """Write rows of a feature table as one immutable part, named by what it contains."""
    matrix = np.ascontiguousarray(flat(part.matrix), dtype=np.float32)
    features = pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel()), matrix.shape[1])
    if isinstance(part.matrix, Ragged):
        features = pa.LargeListArray.from_arrays(pa.array(part.matrix.offsets), features)
    ids, hashes = pa.array(part.utterances, pa.string()), pa.array(part.audio_hashes, pa.string())
    path = folder / f"part-{_content(part)}.parquet"
    table = pa.table({"utterance": ids, "audio_hash": hashes, "features": features})
    write_table(path, table, {"columns": list(part.columns), "rows": len(part.utterances)})
    return path


def content_of_part(path: Path) -> str:
    """Digest what a part contains, which is its name."""
    return _content(_feature_table(read_table(path)))


def _content(table: FeatureTable) -> str:
    matrix = np.ascontiguousarray(flat(table.matrix), dtype=np.float32)
    lengths = [table.matrix.lengths.tolist()] if isinstance(table.matrix, Ragged) else []
    numbers = hashlib.sha256(matrix.data).hexdigest()
    return digest([list(table.utterances), list(table.audio_hashes), numbers, *lengths])


def _feature_table(arrow: pa.Table) -> FeatureTable:
    """Return an Arrow table as features; its numbers stay a view of a column of one chunk."""
    column = arrow["features"]
    if pa.types.is_large_list(column.type):
        whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        first, last = whole.offsets[0].as_py(), whole.offsets[-1].as_py()
        frames = pa.chunked_array([whole.values.slice(first, last - first)])
        matrix: Rows = Ragged(np.asarray(whole.offsets, dtype=np.int64) - first, matrix_of(frames, np.float32))
    else:
        matrix = matrix_of(column, np.float32)
    ids, hashes = tuple(arrow["utterance"].to_pylist()), tuple(arrow["audio_hash"].to_pylist())
    return FeatureTable(ids, hashes, tuple(metadata_of(arrow.schema)["columns"]), matrix)


def map_features(folder: Path) -> FeatureTable:
    """Open all parts of a folder as one table whose matrix is memory-mapped, so that processes share its pages.

    The mapped file, named by a digest of the names of the parts, is made where it is absent or damaged. It contains
    rows of a recording's earlier content, too.
    """
    parts = every_file(folder, "part-*.parquet")
    path = folder / f"rows-{digest([part.name for part in parts])}.arrow"
    with contextlib.suppress(StoreError):
        return _feature_table(map_table(path))
    if not parts:
        return FeatureTable((), (), (), np.empty((0, 0), dtype=np.float32))
    arrow = pa.concat_tables([read_table(part) for part in parts]).combine_chunks()
    table = _feature_table(arrow)
    with contextlib.suppress(StoreError):  # no room: it stays in memory
        write_table(path, arrow, {"columns": list(table.columns)})
        table = _feature_table(map_table(path))
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


def stored_rows(folder: Path, *, remove_damaged: bool = False) -> set[tuple[str, str]]:
    """Return (utterance, audio hash) of every row in the parts of a folder; damaged parts may go, with a warning."""
    rows: set[tuple[str, str]] = set()
    for path in every_file(folder, "part-*.parquet"):
        try:
            rows |= _rows_of(path, path.stat().st_mtime_ns)
        except FileNotFoundError:  # removed by another process
            continue
        except DamagedError:
            if not remove_damaged:
                raise
            path.unlink(missing_ok=True)
            warnings.warn(f"{path} is damaged; its rows are extracted again", stacklevel=2)
    return rows


@functools.lru_cache(maxsize=256)
def _rows_of(path: Path, mtime_ns: int) -> frozenset[tuple[str, str]]:
    """Read (utterance, audio hash) of every row of a part, once as long as the file is as it was."""
    table = read_table(path, ["utterance", "audio_hash"])
    return frozenset(zip(table["utterance"].to_pylist(), table["audio_hash"].to_pylist(), strict=True))
