"""The results folder: its places, and the tables of numbers in it, features in parts and predictions by job.

Names of content (parts, jobs) are digests of what went into them; parts are never rewritten, and writing one twice is
harmless, by two processes too.
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
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from serbench.errors import DiskError, StoreError
from serbench.store.files import (
    TEMPORARY,
    is_temporary,
    metadata_of,
    read_json,
    read_table,
    system_id,
    write_table,
)
from serbench.store.locks import Claims

if TYPE_CHECKING:
    pass

FOLDERS = ("index", "features", "jobs", "cells", "experiments", "audits", "report")
"""Folders of a results folder that serbench writes to."""

_REPORT_NAME = re.compile(r"(figures/)?[A-Za-z0-9_-]+\.[a-z]+")

OUTDATED = "outdated:"
"""How the reason of a cell begins that must be run again."""


@dataclass(frozen=True, slots=True)
class Store:
    """A results folder and the places in it."""

    root: Path

    def index(self, corpus: str) -> Path:
        """Place of a corpus' index table."""
        return self.root / "index" / f"{corpus}.parquet"

    def index_parts(self, corpus: str) -> list[Path]:
        """Parts of the index of a corpus that is being extracted, by name."""
        return parts_of(self.index_part(corpus, "").parent)

    def index_part(self, corpus: str, content: str) -> Path:
        """Place of one such part."""
        return self.root / "index" / corpus / f"part-{content}.parquet"

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
            todo = "Choose another results folder with --results, or mend its permissions"
            raise DiskError(str(self.root), "written", error, todo) from error
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
    write_table(path, table, metadata)


def read_predictions(path: Path) -> tuple[list[str], np.ndarray, dict[str, Any]]:
    """Read a job: its utterances, its codes of shape (n_settings, n_utterances), its metadata."""
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


def parts_of(folder: Path) -> list[Path]:
    """Every part in a folder, by name."""
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
