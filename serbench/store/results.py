"""The results folder: where everything lies, and predictions by job.

Names of content (parts of features, jobs) are digests of what went into them. A file of such a name is never
rewritten, and writing one twice is harmless, by two processes too.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from serbench.errors import DiskError, StoreError
from serbench.store.files import TEMPORARY, is_temporary, metadata_of, read_json, read_table, system_id, write_table
from serbench.store.locks import Locks

FOLDERS = ("index", "features", "jobs", "cells", "experiments", "audits", "report")
"""Folders of a results folder that serbench writes to."""

OUTDATED = "outdated:"
"""How the reason of a cell begins that must be run again."""


@dataclass(frozen=True, slots=True)
class Store:
    """A results folder and the places in it."""

    root: Path

    def index(self, corpus: str) -> Path:
        """Place of the index of a corpus."""
        return self.root / "index" / f"{corpus}.parquet"

    def index_part(self, corpus: str, content: str) -> Path:
        """Place of a part of the index of a corpus that is being extracted."""
        return self.root / "index" / corpus / f"part-{content}.parquet"

    def features(self, feature_key: str, corpus: str) -> Path:
        """Folder of the parts of one feature set (named `SET-KEY`) for one corpus."""
        return self.root / "features" / feature_key / corpus

    def failures(self, feature_key: str, corpus: str) -> Path:
        """Place of the failures table of one feature set for one corpus."""
        return self.features(feature_key, corpus) / "failures.parquet"

    def job(self, key: str) -> Path:
        """Place of the predictions of one job."""
        return self.root / "jobs" / f"{key}.parquet"

    def cell(self, name: str) -> Path:
        """Place of the record of one cell."""
        return self.root / "cells" / f"{name}.json"

    def experiment(self, name: str) -> Path:
        """Place of the record of one experiment."""
        return self.root / "experiments" / f"{name}.json"

    def audit(self, corpus: str) -> Path:
        """Place of what the audit of a corpus found."""
        return self.root / "audits" / f"{corpus}.json"

    def has_job(self, key: str) -> bool:
        """Return whether the predictions of a job are there."""
        return self.job(key).is_file()

    @property
    def timings(self) -> Path:
        """Place of the seconds that past jobs took; they inform estimates and no result."""
        return self.root / "timings.csv"

    @property
    def report(self) -> Path:
        """Folder of the report."""
        return self.root / "report"

    @property
    def indexes(self) -> list[Path]:
        """Every index, by name."""
        return every_file(self.root / "index", "*.parquet")

    def index_parts(self, corpus: str) -> list[Path]:
        """Every part of the index of a corpus that is being extracted, by name."""
        return every_file(self.root / "index" / corpus, "part-*.parquet")

    @property
    def jobs(self) -> list[Path]:
        """The predictions of every job, by name."""
        return every_file(self.root / "jobs", "*.parquet")

    @property
    def cells(self) -> list[Path]:
        """The record of every cell, by name."""
        return every_file(self.root / "cells", "*.json")

    @property
    def experiments(self) -> list[Path]:
        """The record of every experiment, by name."""
        return every_file(self.root / "experiments", "*.json")

    @property
    def provenance(self) -> Path:
        """Place of what made the report, and of the list of its files."""
        return self.report / "provenance.json"

    def report_files(self) -> dict[str, bool]:
        """Return the names below `report/` that the last report wrote, each with whether it is there as written.

        Raises
        ------
        StoreError : there is no such list.
        """
        files = read_json(self.provenance).get("files")
        if not isinstance(files, Mapping):
            raise StoreError(str(self.provenance), "no list of what the report wrote", todo="Run `serbench report`")
        own = {name: self.report / name for name in files if re.fullmatch(r"(figures/)?[A-Za-z0-9_-]+\.[a-z]+", name)}
        return {
            name: place.is_file() and hashlib.sha256(place.read_bytes()).hexdigest() == files[name]
            for name, place in own.items()
        }

    def worded(self, text: str) -> str:
        """Return words for a record or a report, with places relative to the results folder.

        >>> Store(Path("/home/me/results")).worded("/home/me/results/jobs/a.parquet: damaged")
        'jobs/a.parquet: damaged'
        """
        return re.sub(rf"(?<![^\s'\"(]){re.escape(str(self.root))}{re.escape(os.sep)}", "", text)

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
            todo = "Choose another results folder with --results, or mend its permissions"
            raise DiskError(str(self.root), "written", error, todo) from error
        self.clear_leftovers()

    def locks(self) -> Locks:
        """Return locks on the work of this store, none of them held yet."""
        return Locks(self.root / "locks")

    def temporary(self, *, older_than_s: float = 0) -> Iterator[Path]:
        """Yield temporary files and folders of any host that nobody has written to for so many seconds.

        Only what has a name of `temporary_beside`, in folders where serbench writes; no links, nor what lies behind.
        """
        for folder, folders, files in os.walk(self.root):
            for path in (Path(folder, name) for name in (*folders, *files) if is_temporary(name)):
                with contextlib.suppress(FileNotFoundError):  # its writer has just moved it into place
                    if not path.is_symlink() and time.time() - path.stat().st_mtime >= older_than_s:
                        yield path
            if folder == str(self.root):
                folders[:] = [name for name in folders if name in FOLDERS]

    def clear_leftovers(self) -> None:
        """Remove the temporary files of processes of this system that are gone, and locks that nobody holds."""
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            for path in list(self.temporary()):
                system, pid, _ = path.name.removeprefix(TEMPORARY).split("-", maxsplit=2)
                if system == system_id() and not _is_alive(int(pid)):
                    shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        self.locks().held()


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def every_file(folder: Path, pattern: str) -> list[Path]:
    """Files of a folder by name, without those that another process is still writing (hidden, as `*` matches too)."""
    return sorted(path for path in folder.glob(pattern) if not path.name.startswith("."))


def write_predictions(
    path: Path, *, utterances: Sequence[str], predictions: np.ndarray, metadata: Mapping[str, Any]
) -> None:
    """Write the predictions of a job.

    Parameters
    ----------
    predictions : integers, shape (n_settings, n_utterances): codes of the emotions named in `metadata`.
    """
    by_utterance = np.ascontiguousarray(predictions.T, dtype=np.uint8)
    columns = pa.FixedSizeListArray.from_arrays(pa.array(by_utterance.ravel()), by_utterance.shape[1])
    write_table(path, pa.table({"utterance": pa.array(utterances, pa.string()), "predictions": columns}), metadata)


def read_predictions(path: Path) -> tuple[list[str], np.ndarray, dict[str, Any]]:
    """Read a job: its utterances, its codes of shape (n_settings, n_utterances), its metadata.

    Raises
    ------
    StoreError : absent, unreadable or damaged.
    """
    table = read_table(path)
    codes = matrix_of(table["predictions"], np.uint8)
    return table["utterance"].to_pylist(), codes.T, metadata_of(table.schema)


def matrix_of(column: pa.ChunkedArray, dtype: type) -> np.ndarray:
    """Return a column of fixed-size lists as a matrix; of one chunk it is a view, so that what is mapped stays so."""
    width = column.type.list_size
    chunks: list[np.ndarray] = [np.asarray(chunk.flatten(), dtype=dtype).reshape(-1, width) for chunk in column.chunks]
    if len(chunks) == 1:
        return chunks[0]
    return np.concatenate(chunks) if chunks else np.empty((0, width), dtype=dtype)
