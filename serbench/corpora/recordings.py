"""What is known of each utterance's audio, and the state of the file it was read from.

A file whose size, times and inode are as they were when it was read is not read again. A file that changed less than
two seconds before it was read might change once more within the same tick of its clock, so it is not trusted.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serbench.corpora.audio import DECODER
from serbench.errors import DamagedError, StoreError
from serbench.store.files import read_columns, read_metadata, write_columns
from serbench.store.keys import digest
from serbench.store.results import Store

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
    """Read what earlier runs measured, by utterance, the latest of each; what another decoder measured is passed over.

    A damaged part is told and removed, so that its recordings are read again.
    """
    known: dict[str, Measured] = {}
    for path in store.recordings(corpus):
        for measured in _sound_part(path):
            before = known.get(measured.utterance)
            if before is None or _read_ns(before) <= _read_ns(measured):
                known[measured.utterance] = measured
    return known


def add_measured(store: Store, corpus: str, measured: Iterable[Measured]) -> Path | None:
    """Keep what was measured, and return where; recordings that could not be decoded are tried again by every run."""
    sound = [m for m in measured if m.state is not None and m.problem is None]
    if not sound:
        return None
    columns = {name: [getattr(m, name) for m in sound] for name in _FACTS}
    columns |= {name: [getattr(m.state, name) for m in sound] for name in _STATE}
    path = store.recordings_part(corpus, digest([DECODER, columns]))
    write_columns(path, columns, metadata={"decoder": DECODER})
    return path


def replace_measured(store: Store, corpus: str, measured: Iterable[Measured]) -> None:
    """Keep what was measured of a corpus in one part, and none that this process found before."""
    earlier = store.recordings(corpus)
    whole = add_measured(store, corpus, measured)
    for path in earlier:
        if path != whole:
            path.unlink(missing_ok=True)


def _sound_part(path: Path) -> tuple[Measured, ...]:
    try:
        return _part(path, path.stat().st_mtime_ns)
    except FileNotFoundError:  # another process has just joined it with others
        return ()
    except DamagedError:
        warnings.warn(f"{path} is damaged; its recordings are read again", stacklevel=2)
        path.unlink(missing_ok=True)
        return ()
    except StoreError:  # gone between the two looks, or unreadable just now: its recordings are read again
        return ()


@functools.lru_cache(maxsize=256)
def _part(path: Path, mtime_ns: int) -> tuple[Measured, ...]:
    """Read a part, once as long as its file is as it was."""
    if read_metadata(path).get("decoder") != DECODER:
        return ()
    return tuple(_measured(row) for row in read_columns(path))


def _measured(row: Mapping[str, Any]) -> Measured:
    state = FileState(**{name: row[name] for name in _STATE})
    return Measured(**{name: row[name] for name in _FACTS}, problem=None, state=state)


def _read_ns(measured: Measured) -> int:
    return 0 if measured.state is None else measured.state.read_ns
