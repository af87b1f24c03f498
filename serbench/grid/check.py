"""Upkeep of a results folder: whether every file is what was written, and what no cell refers to any more."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serbench.errors import DiskError, SerbenchError, StoreError
from serbench.features import find_feature_set
from serbench.features.table import content_of_part
from serbench.grid.cells import Cell
from serbench.grid.forms import read_cell
from serbench.store.files import is_damaged, read_metadata
from serbench.store.keys import digest
from serbench.store.results import Store


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """Files looked at by kind, and those that are damaged or stand under another's name, with the reason."""

    counts: Mapping[str, int]
    damaged: Mapping[Path, str]


@dataclass(frozen=True, slots=True)
class Litter:
    """Files that no cell refers to any more, by kind, and their size in bytes."""

    files: Mapping[str, tuple[Path, ...]]

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        found = [file for paths in self.files.values() for path in paths for file in (path, *path.rglob("*"))]
        return sum(file.lstat().st_size for file in found if file.is_file())


def check_store(store: Store) -> StoreCheck:
    """Read every file of a results folder and hold it against its seal and its name; nothing is changed.

    Raises
    ------
    StoreError : there is no such folder.
    """
    if not store.root.is_dir():
        raise StoreError(str(store.root), "no such folder", "a results folder", "Name it with --results")
    counts: Counter[str] = Counter()
    damaged: dict[Path, str] = {}
    for kind, path in _files(store):
        counts[kind] += 1
        reason = _fault(kind, path)
        if reason:
            damaged[path] = reason
    with contextlib.suppress(StoreError):  # no list of the report's files; a damaged one is named above
        for name, sha256 in store.report_files.items():
            counts["files of the report"] += 1
            if (store.report / name).is_file() and not store.has_report_file(name, sha256):
                damaged.setdefault(store.report / name, "it is not what the last report wrote; run `serbench report`")
    return StoreCheck(counts, damaged)


def find_litter(store: Store) -> Litter:
    """Find what no cell refers to any more, and cells that cannot be carried out.

    A cell that has failed or is outdated keeps its jobs, which its next run needs. Features that the present feature
    sets would use stay, whether a grid has used them yet or not. Only names that serbench writes are litter, in the
    folders where it writes them; what lies behind a link is not.

    Raises
    ------
    StoreError : no results folder; a cell's record is damaged, so that nobody knows what it refers to; or a run is
        going on.
    """
    _check_results_folder(store)
    if store.claims().is_any_held:
        todo = "Wait for its end, and run this again"
        raise StoreError(str(store.root), "another process is at work on it", todo=todo)
    cells = {path: read_cell(path) for path in store.cells}
    planned = [record for record in cells.values() if "jobs" in record]
    jobs = {key for record in planned for key in record["jobs"]}
    used = {(record.get("feature_key", ""), corpus) for record in planned for corpus in record.get("indexes", ())}
    found = {
        "cells that cannot be carried out": [path for path, record in cells.items() if "jobs" not in record],
        "jobs": [path for path in store.jobs if path.stem not in jobs],
        "files of features": list(_unused_features(store, used)),
    }
    own = {kind: tuple(path for path in paths if _is_own(path, store)) for kind, paths in found.items()}
    own["temporary files"] = tuple(store.temporary(older_than_s=86400))
    return Litter({kind: paths for kind, paths in own.items() if paths})


_OWN_NAMES = re.compile(
    r"cells/[^/]+-[0-9a-f]{10}\.json|jobs/[0-9a-f]{24}\.parquet|features/[^/]+-[0-9a-f]{12}/"
    r"(set\.json|[^/]+/(part-[0-9a-f]{24}\.parquet|rows-[0-9a-f]{24}\.arrow|failures\.parquet))"
)
"""Names below a results folder that serbench gives to what may become litter."""


def _is_own(path: Path, store: Store) -> bool:
    """Whether a file has a name of serbench's and is no link, nor behind one."""
    place = path.relative_to(store.root)
    links = (store.root / part for part in (place, *place.parents[:-1]))
    return _OWN_NAMES.fullmatch(place.as_posix()) is not None and not any(link.is_symlink() for link in links)


def _check_results_folder(store: Store) -> None:
    """Check that serbench has worked here: one sound index, part of an index or record of a cell marks a folder."""
    marks = (*store.indexes, *store.cells, *store.root.glob("index/*/part-*.parquet"))
    if all(not path.is_file() or is_damaged(path) for path in marks):  # a link may lead nowhere
        found = "no results folder: none of index/ and cells/ holds a sound file of serbench"
        todo = "Name a results folder with --results; where it is one, run `serbench extract` first"
        raise StoreError(str(store.root), found, todo=todo)


def remove_litter(litter: Litter, store: Store) -> None:
    """Remove files that still are litter, and folders that are empty then.

    Raises
    ------
    DiskError : a file cannot be removed; those before it are gone.
    """
    still = {path for paths in find_litter(store).files.values() for path in paths}
    for path in (path for paths in litter.files.values() for path in paths if path in still):
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            _remove_empty(path.parent, store.root)
        except OSError as error:
            todo = "Mend the permissions and run this again; cells refer to nothing that was removed"
            raise DiskError(str(path), "removed", error, todo) from error


def _unused_features(store: Store, used: set[tuple[str, str]]) -> Iterator[Path]:
    """Files of features by corpus that nothing uses, and the description of a set that has none left."""
    litter = [folder for folder in store.feature_folders if not folder.is_symlink() and _is_litter(folder, used)]
    for folder in litter:
        yield from sorted(path for path in folder.iterdir() if path.is_file())
    for parent in sorted({folder.parent for folder in litter}):
        left = [path for path in parent.iterdir() if path.is_dir() and path not in litter]
        if not left and (parent / "set.json").is_file():
            yield parent / "set.json"


def _files(store: Store) -> Iterator[tuple[str, Path]]:
    for kind, pattern in _KINDS.items():
        for path in sorted(store.root.glob(pattern)):
            if not path.name.startswith("."):
                yield kind, path


_KINDS = {
    "cells": "cells/*.json",
    "jobs": "jobs/*.parquet",
    "indexes": "index/*.parquet",
    "parts of indexes": "index/*/part-*.parquet",
    "feature sets": "features/*/set.json",
    "parts of features": "features/*/*/part-*.parquet",
    "mapped features": "features/*/*/rows-*.arrow",
    "failures": "features/*/*/failures.parquet",
    "experiments": "experiments/*.json",
    "audits": "audits/*.json",
    "tables of the report": "report/*.parquet",
    "provenance": "report/*.json",
}
"""Every kind of file that is sealed, and where it lies."""


def _fault(kind: str, path: Path) -> str:
    """Say what is wrong with a file, or nothing."""
    if is_damaged(path):
        return "its content is not what was written"
    name_of = _NAMES.get(kind)
    try:
        name = path.stem if name_of is None else name_of(path)
    except (StoreError, KeyError, TypeError) as error:
        return f"it cannot be read ({error})"
    return "" if name == path.stem else f"it holds what belongs under the name {name}"


_NAMES: dict[str, Callable[[Path], str]] = {
    "cells": lambda path: _cell_name(read_cell(path)),
    "jobs": lambda path: str(read_metadata(path)["key"]),
    "parts of features": lambda path: f"part-{content_of_part(path)}",
}
"""What the name of a file of a kind must be by its content."""


def _cell_name(record: Mapping[str, Any]) -> str:
    return f"{Cell(**record['cell']).stem}-{digest(record['cell'])[:10]}"


def _is_litter(folder: Path, used: set[tuple[str, str]]) -> bool:
    """Whether no cell uses a folder of features and no present feature set would."""
    key = folder.parent.name
    if (key, folder.name) in used:
        return False
    try:
        return find_feature_set(key.rpartition("-")[0]).key != key
    except SerbenchError:
        return True


def _remove_empty(folder: Path, root: Path) -> None:
    while folder != root and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
