"""What is known of each utterance's audio, and the state of the file it was read from.

A file whose size, times and inode are as they were when it was read is not read again. A file that changed less than
two seconds before it was read might change once more within the same tick of its clock, so it is not trusted.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from serbench.audio import DECODER
from serbench.errors import StoreError
from serbench.store import Store, read_columns, read_metadata, write_columns

SETTLED_NS = 2_000_000_000
"""Nanoseconds that a file must have been left alone before it was read."""


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells that a file was written to; `read_ns` is the time just before its content was read."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    read_ns: int

    @staticmethod
    def of(path: Path) -> FileState | None:
        """Look at a file, now; None where there is none to be read."""
        now = time.time_ns()
        try:
            found = os.stat(path)
        except OSError:
            return None
        inode = found.st_ino % 2**63  # some file systems use all 64 bits, the store has signed numbers
        return FileState(found.st_size, found.st_mtime_ns, found.st_ctime_ns, inode, now)

    def still_holds(self, path: Path) -> bool:
        """Say whether the file certainly holds what it held when it was read."""
        if self.read_ns - max(self.mtime_ns, self.ctime_ns) < SETTLED_NS:
            return False
        now = FileState.of(path)
        return now is not None and dataclasses.replace(now, read_ns=self.read_ns) == self


@dataclass(frozen=True, slots=True)
class Measured:
    """One utterance after its recording was decoded; `problem` says why it could not be.

    `start_s` and `end_s` are the segment that was asked for, in seconds, None for a whole recording.
    """

    utterance: str
    start_s: float | None
    end_s: float | None
    duration_s: float | None
    sampling_rate: int | None
    channels: int | None
    audio_hash: str | None
    problem: str | None
    state: FileState | None

    def still_holds(self, path: Path, start_s: float | None, end_s: float | None) -> bool:
        """Say whether decoding this segment of this file would certainly give the same again."""
        same_segment = (self.start_s, self.end_s) == (start_s, end_s)
        return same_segment and self.state is not None and self.state.still_holds(path)


_FACTS = tuple(f.name for f in dataclasses.fields(Measured) if f.name not in ("problem", "state"))
_STATE = tuple(f.name for f in dataclasses.fields(FileState))


def read_measured(store: Store, corpus: str) -> dict[str, Measured]:
    """Read what earlier runs measured, by utterance; nothing where that was by another decoder, or is damaged."""
    path = store.recordings(corpus)
    known: dict[str, Measured] = {}
    with contextlib.suppress(StoreError, KeyError):
        if path.is_file() and read_metadata(path).get("decoder") == DECODER:
            for row in read_columns(path):
                state = FileState(**{name: row[name] for name in _STATE})
                known[row["utterance"]] = Measured(**{name: row[name] for name in _FACTS}, problem=None, state=state)
    return known


def write_measured(store: Store, corpus: str, measured: Iterable[Measured]) -> None:
    """Keep what was measured; recordings that could not be decoded are tried again by every run."""
    sound = [m for m in measured if m.state is not None and m.problem is None]
    columns = {name: [getattr(m, name) for m in sound] for name in _FACTS}
    states = {name: [getattr(m.state, name) for m in sound] for name in _STATE}
    write_columns(store.recordings(corpus), {**columns, **states}, metadata={"decoder": DECODER})
