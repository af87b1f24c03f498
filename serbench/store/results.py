"""The results folder: where everything lies, locks on work in hand, and predictions by job.

Names of content (parts of features, jobs) are digests of what went into them. A file of such a name is never
rewritten, and writing one twice is harmless, by two processes too.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import glob
import hashlib
import os
import re
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from filelock import FileLock, Timeout

from serbench.errors import DiskError, StoreError
from serbench.store.files import TEMPORARY, metadata_of, read_json, read_table, system_id, write_table

FOLDERS = ("index", "features", "jobs", "cells", "experiments", "audits", "report")  # that serbench writes to

_LOCKED = re.compile(r"[0-9a-f]{24}|.+-[0-9]+")  # keys of jobs, and chunks of recordings by corpus and number
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}


@dataclass(frozen=True, slots=True)
class Store:
    """A results folder and the places in it; `feature_key` is `SET-KEY`."""

    root: Path

    timings = property(lambda store: store.root / "timings.csv")  # seconds of past jobs: estimates, and no result
    report = property(lambda store: store.root / "report")
    provenance = property(lambda store: store.report / "provenance.json")  # what made the report, and its files
    indexes = property(lambda store: every_file(store.root, "index/*.parquet"))
    jobs = property(lambda store: every_file(store.root, "jobs/*.parquet"))
    cells = property(lambda store: every_file(store.root, "cells/*.json"))
    experiments = property(lambda store: every_file(store.root, "experiments/*.json"))

    def index(self, corpus: str) -> Path:
        """Index of a corpus."""
        return self.root / f"index/{corpus}.parquet"

    def index_part(self, corpus: str, content: str) -> Path:
        """Part of an index by the digest of its content, while it is being extracted."""
        return self.root / f"index/{corpus}/part-{content}.parquet"

    def index_parts(self, corpus: str) -> list[Path]:
        """All parts of the index of a corpus, by name."""
        return every_file(self.root, f"index/{glob.escape(corpus)}/part-*.parquet")

    def features(self, feature_key: str, corpus: str) -> Path:
        """Folder of the parts of a feature set of a corpus."""
        return self.root / f"features/{feature_key}/{corpus}"

    def failures(self, feature_key: str, corpus: str) -> Path:
        """Table of the utterances that a feature set has no row of."""
        return self.features(feature_key, corpus) / "failures.parquet"

    def job(self, key: str) -> Path:
        """Predictions of a job."""
        return self.root / f"jobs/{key}.parquet"

    def cell(self, name: str) -> Path:
        """Record of a cell."""
        return self.root / f"cells/{name}.json"

    def experiment(self, name: str) -> Path:
        """Record of an experiment."""
        return self.root / f"experiments/{name}.json"

    def audit(self, corpus: str) -> Path:
        """Findings of the audit of a corpus."""
        return self.root / f"audits/{corpus}.json"

    def report_files(self) -> dict[str, bool]:
        """Return the names below `report/` that the last report wrote, each with whether it is there as written."""
        files = read_json(self.provenance).get("files")
        if not isinstance(files, Mapping):
            raise StoreError(str(self.provenance), "no list of what the report wrote", todo="Run `serbench report`")
        own = {name: self.report / name for name in files if re.fullmatch(r"(figures/)?[A-Za-z0-9_-]+\.[a-z]+", name)}
        found = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in own.items() if path.is_file()}
        return {name: found.get(name) == files[name] for name in own}

    def worded(self, text: str) -> str:
        """Return words for a record or a report, with places relative to the results folder.

        >>> Store(Path("/home/me/results")).worded("/home/me/results/jobs/a.parquet: damaged")
        'jobs/a.parquet: damaged'
        """
        return re.sub(rf"(?<![^\s'\"(]){re.escape(str(self.root))}{re.escape(os.sep)}", "", text)

    def prepare(self) -> None:
        """Create the folder, prove that it can be written, and clear what killed processes of this host left."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.root):
                pass
        except OSError as error:
            todo = "Choose another results folder with --results, or mend its permissions"
            raise DiskError(str(self.root), "written", error, todo) from error
        self.clear_leftovers()

    def locks(self) -> Locks:
        """Return locks on the work of this store, none of them held yet."""
        return Locks(self.root / "locks")

    def temporary(self, *, older_than_s: float = 0) -> Iterator[Path]:
        """Yield temporary files and folders that nobody has written to for so long; no links, nor behind them."""
        for folder, folders, files in os.walk(self.root):
            for path in (Path(folder, name) for name in (*folders, *files) if TEMPORARY.fullmatch(name)):
                with contextlib.suppress(FileNotFoundError):  # its writer has just moved it into place
                    if not path.is_symlink() and time.time() - path.stat().st_mtime >= older_than_s:
                        yield path
            if folder == str(self.root):
                folders[:] = [name for name in folders if name in FOLDERS]

    def clear_leftovers(self) -> None:
        """Remove the temporary files of processes of this system that are gone, and locks that nobody holds."""
        import psutil

        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            for path in list(self.temporary()):
                _, system, pid, _ = path.name.split("-", maxsplit=3)
                if system == system_id() and not psutil.pid_exists(int(pid)):
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        self.locks().held()


class Locks:
    """Locks of the operating system that this process holds on files in a folder; they end with the process.

    They save work and guard nothing: where a file system has no locks, and in the instant when the file of a lock is
    removed, two processes may do the same, which is harmless.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, FileLock] = {}

    def acquire(self, name: str) -> bool:
        """Lock something; return whether no other process holds it."""
        path = self._folder / f"{name}.lock"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(path, fallback_to_soft=False)  # a soft one outlives its process: all would wait for ever
            lock.acquire(blocking=False)
        except Timeout:
            return False
        except OSError as error:  # no locks here, or not for this user
            if error.errno in _NO_LOCKS:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)  # nobody can hold it, and it would be taken for a lock
                _warn_of_no_locks(self._folder)
            return True
        self._held[name] = lock
        return True

    def release(self, name: str) -> None:
        """Leave something to others."""
        if (lock := self._held.pop(name, None)) is not None:
            with contextlib.suppress(OSError):
                Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: nobody waits for this file
            lock.release()

    def __enter__(self) -> Locks:
        return self

    def __exit__(self, *raised: object) -> None:
        for name in tuple(self._held):
            self.release(name)
        with contextlib.suppress(OSError):  # others are at work
            self._folder.rmdir()

    def held(self) -> list[str]:
        """Return what any process has locked, and remove the files of locks that nobody holds, left by killed ones."""
        names = [path.stem for path in self._folder.glob("*.lock") if _LOCKED.fullmatch(path.stem)]
        for name in [name for name in names if self.acquire(name)]:
            self.release(name)
        return [name for name in names if (self._folder / f"{name}.lock").exists()]


@functools.cache
def _warn_of_no_locks(folder: Path) -> None:
    meaning = "has no locks: run one serbench at a time on it, as several would do the same work twice"
    warnings.warn(f"the file system of {folder.parent} {meaning}", stacklevel=2)


def every_file(folder: Path, pattern: str) -> list[Path]:
    """Files of a folder by name, without those that another process is still writing (hidden, as `*` matches too)."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def write_predictions(
    path: Path, *, utterances: Sequence[str], predictions: np.ndarray, metadata: Mapping[str, Any]
) -> None:
    """Write the predictions of a job, of shape (n_settings, n_utterances): codes of the emotions in `metadata`."""
    by_utterance = np.ascontiguousarray(predictions.T, dtype=np.uint8)
    columns = pa.FixedSizeListArray.from_arrays(pa.array(by_utterance.ravel()), by_utterance.shape[1])
    write_table(path, pa.table({"utterance": pa.array(utterances, pa.string()), "predictions": columns}), metadata)


def read_predictions(path: Path) -> tuple[list[str], np.ndarray, dict[str, Any]]:
    """Read a job: its utterances, its codes of shape (n_settings, n_utterances), its metadata."""
    table = read_table(path)
    codes = matrix_of(table["predictions"], np.uint8)
    return table["utterance"].to_pylist(), codes.T, metadata_of(table.schema)


def matrix_of(column: pa.ChunkedArray, dtype: type) -> np.ndarray:
    """Return a column of fixed-size lists as a matrix; of one chunk it is a view, so that what is mapped stays so."""
    empty: np.ndarray = np.empty((0, column.type.list_size), dtype)
    chunks: list[np.ndarray] = [
        np.asarray(chunk.flatten(), dtype).reshape(-1, empty.shape[1]) for chunk in column.chunks
    ] or [empty]
    return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
