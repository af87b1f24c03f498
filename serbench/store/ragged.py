"""Matrices of different heights under one index: the frames of recordings, one below the other in one block.

A feature set that gives one row per frame has as many rows as a recording is long. `Ragged` holds them without
padding; where `matrix` is memory-mapped, so is every view of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, overload

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """Frames of recordings: those of recording i are `matrix[offsets[i] : offsets[i + 1]]`.

    `offsets`: int64, shape (n_recordings + 1,), from 0 up. `matrix`: shape (n_frames of all, n_features).
    """

    offsets: np.ndarray
    matrix: np.ndarray

    @staticmethod
    def of(frames: Sequence[np.ndarray], *, n_features: int) -> Ragged:
        """Copy matrices of shape (n_frames, n_features) into one block of float32."""
        import numpy as np

        offsets = np.cumsum([0, *map(len, frames)], dtype=np.int64)
        none = np.empty((0, n_features), dtype=np.float32)
        return Ragged(offsets, np.concatenate([none, *frames], dtype=np.float32))

    @property
    def lengths(self) -> np.ndarray:
        """Number of frames of every recording: int64, shape (n_recordings,)."""
        import numpy as np

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
