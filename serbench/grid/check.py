"""What is in a results folder: its cells, files that are not what was written, and files that no cell uses any more."""

from __future__ import annotations

import contextlib
import fnmatch
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from serbench.errors import DiskError, SerbenchError, StoreError, did_you_mean
from serbench.features import find_feature_set
from serbench.features.table import content_of_part
from serbench.grid.cells import CellRecord, read_cell
from serbench.store.files import is_damaged, read_metadata
from serbench.store.results import Store, every_file
from serbench.workspace import HERE, Workspace

CHECKED = {  # every kind of file with a checksum, and where it lies
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

# Names that serbench gives to files that may become unused; no other name is ever removed.
_REMOVABLE = re.compile(
    r"cells/[^/]+-[0-9a-f]{10}\.json|jobs/[0-9a-f]{24}\.parquet|features/[^/]+-[0-9a-f]{12}/"
    r"(set\.json|[^/]+/(part-[0-9a-f]{24}\.parquet|rows-[0-9a-f]{24}\.arrow|failures\.parquet))"
)


def find_cells(
    names: Sequence[str] = (), workspace: Workspace = HERE, *, refused: bool = False
) -> dict[str, CellRecord | None]:
    """Return the records of cells by name, None for one that cannot be read.

    Parameters
    ----------
    names : names, or patterns such as "within-emodb-*"; none for all cells.
    refused : only those that could not be carried out.

    Raises
    ------
    StoreError : no cell has a name that was given.
    """
    store = workspace.store()
    known = [path.stem for path in store.cells]
    for name in names:
        if not fnmatch.filter(known, name):
            todo = did_you_mean(name, known) or "`serbench cells list` shows the names"
            raise StoreError(str(store.root / "cells"), f"no cell '{name}'", todo=todo)
    found: dict[str, CellRecord | None] = {}
    for cell in (cell for cell in known if not names or any(fnmatch.fnmatch(cell, name) for name in names)):
        found[cell] = None
        with contextlib.suppress(StoreError):
            found[cell] = read_cell(store.cell(cell))
    return {name: of for name, of in found.items() if not refused or (of is not None and of.reason)}


def remove_cells(names: Iterable[str], workspace: Workspace = HERE) -> None:
    """Remove the records of cells; their predictions stay for other cells, until `clean_store`.

    Raises
    ------
    DiskError : a record cannot be removed; those before it are gone.
    """
    for path in map(workspace.store().cell, names):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise DiskError(str(path), "removed", error, "Mend the permissions and run this again") from error


@dataclass(frozen=True, slots=True)
class StoreCheck:
    """Number of files by kind; files that are damaged or have another file's name, with the reason."""

    counts: Mapping[str, int]
    damaged: Mapping[Path, str]


def check_store(workspace: Workspace = HERE) -> StoreCheck:
    """Read every file of the results folder and compare it with its checksum and its name; nothing is changed.

    Raises
    ------
    StoreError : there is no such folder.
    """
    store = workspace.store()
    if not store.root.is_dir():
        raise StoreError(str(store.root), "no such folder", "a results folder", "Name it with --results")
    counts: Counter[str] = Counter()
    damaged: dict[Path, str] = {}
    for kind, pattern in CHECKED.items():
        for path in every_file(store.root, pattern):
            counts[kind] += 1
            if reason := _fault(kind, path):
                damaged[path] = reason
    with contextlib.suppress(StoreError):  # no list of the report's files; a damaged one is named above
        for name, is_as_written in store.report_files().items():
            counts["files of the report"] += 1
            if (store.report / name).is_file() and not is_as_written:
                damaged.setdefault(store.report / name, "it is not what the last report wrote; run `serbench report`")
    return StoreCheck(counts, damaged)


def _fault(kind: str, path: Path) -> str:
    """Return what is wrong with a file; empty for a sound one."""
    if is_damaged(path):
        return "its content is not what was written"
    name = path.stem
    try:
        if kind == "cells":
            name = read_cell(path).cell.name
        elif kind == "jobs":
            name = read_metadata(path)["key"]
        elif kind == "parts of features":
            name = f"part-{content_of_part(path)}"
    except (StoreError, KeyError, TypeError) as error:
        return f"it cannot be read ({error})"
    return "" if name == path.stem else f"it holds what belongs under the name {name}"


def find_unused(workspace: Workspace = HERE) -> dict[str, tuple[Path, ...]]:
    """Find, by kind, files that no cell uses any more, and cells that cannot be carried out; see `clean_store`.

    A cell that has failed or is outdated keeps its jobs, which its next run needs. Features of the present feature
    sets stay, whether a grid has used them yet or not. Only names that serbench writes are found, in the folders
    where it writes them, and nothing behind a link.

    Raises
    ------
    StoreError : no results folder; a cell's record is damaged, so that nobody knows what it uses; or a run is going on.
    """
    store = workspace.store()
    marks = (*store.indexes, *store.cells, *store.root.glob("index/*/part-*.parquet"))
    if all(not path.is_file() or is_damaged(path) for path in marks):  # a link may lead nowhere
        found = "no results folder: none of index/ and cells/ holds a sound file of serbench"
        todo = "Name a results folder with --results; where it is one, run `serbench extract` first"
        raise StoreError(str(store.root), found, todo=todo)
    if store.locks().held():
        todo = "Wait for its end, and run this again"
        raise StoreError(str(store.root), "another process is at work on it", todo=todo)
    records = {path: read_cell(path) for path in store.cells}
    planned = [record for record in records.values() if record.folds]
    jobs = {key for record in planned for key in record.jobs}
    unused = {
        "cells that cannot be carried out": [path for path, record in records.items() if not record.folds],
        "jobs": [path for path in store.jobs if path.stem not in jobs],
        "files of features": [],
    }
    used = {(record.feature_key, corpus) for record in planned for corpus in record.indexes}
    for folder in sorted(store.root.glob("features/*")):
        with contextlib.suppress(SerbenchError):  # a set that is not present any more
            if find_feature_set(folder.name.rpartition("-")[0]).key == folder.name:
                continue
        corpora = [path for path in sorted(folder.glob("*")) if path.is_dir()]
        idle = [path for path in corpora if not path.is_symlink() and (folder.name, path.name) not in used]
        unused["files of features"] += [path for of in idle for path in sorted(of.iterdir()) if path.is_file()]
        if idle == corpora:  # none is left, too, after a clean that was killed
            unused["files of features"] += folder.glob("set.json")
    found_by_kind = {kind: tuple(path for path in paths if _is_own(path, store)) for kind, paths in unused.items()}
    found_by_kind["temporary files"] = tuple(sorted(store.temporary(older_than_s=86400)))
    return {kind: paths for kind, paths in found_by_kind.items() if paths}


def _is_own(path: Path, store: Store) -> bool:
    """Return whether a file has a name of serbench's and neither is a link nor lies behind one."""
    place = path.relative_to(store.root)
    links = (store.root / part for part in (place, *place.parents[:-1]))
    return _REMOVABLE.fullmatch(place.as_posix()) is not None and not any(link.is_symlink() for link in links)


def clean_store(unused: Mapping[str, Iterable[Path]], workspace: Workspace = HERE) -> None:
    """Remove the files that `find_unused` found and that still are unused, and folders that are empty then.

    Raises
    ------
    StoreError : as `find_unused` does.
    DiskError : a file cannot be removed; those before it are gone.
    """
    root = workspace.store().root
    still = {path for paths in find_unused(workspace).values() for path in paths}
    for path in (path for paths in unused.values() for path in paths if path in still):
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            for folder in path.relative_to(root).parents[:-1]:
                if any((root / folder).iterdir()):
                    break
                (root / folder).rmdir()
        except OSError as error:
            todo = "Mend the permissions and run this again; cells use nothing that was removed"
            raise DiskError(str(path), "removed", error, todo) from error
