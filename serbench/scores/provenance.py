"""Provenance: which serbench, packages, corpora, features, classifier and settings made a cell.

Long tables have a column `provenance` with the key of a cell. `provenance.csv` has one row per key, and
`provenance.json` has all of it, with the settings and the feature sets. There are no times, hosts or folders in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from serbench.grid.cells import CellRecord
from serbench.store.keys import digest


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made a cell, as JSON, and its key in other files."""

    key: str
    json: Mapping[str, Any]


def provenance_of(record: CellRecord) -> Provenance:
    """Collect what made a cell: its fields, and what these leave open. `jobs` is a digest of the keys of its jobs."""
    names = ("emotions", "task_map", "serbench", "versions", "indexes", "basis", "partials", "feature_key", "revision")
    about: dict[str, Any] = record.cell.keyed | {name: getattr(record, name) for name in names}
    about |= {"emotions": list(record.emotions), "settings": settings_key(record), "n_settings": len(record.settings)}
    about |= {"jobs": digest(list(record.jobs)) if record.jobs else ""}
    if record.outside:
        about |= {"outside_file": record.outside.file, "outside_sha256": record.outside.sha256}
    return Provenance(digest(about)[:12], about)


def settings_key(record: CellRecord) -> str:
    """Return the name of a cell's settings and their default: a digest, as spaces of one name may differ."""
    return digest([list(record.settings), record.default])[:12]


def worded(versions: Mapping[str, str]) -> str:
    """Word versions, e.g. `numpy 2.4, scipy 1.17`."""
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def made_with(records: Iterable[CellRecord]) -> str:
    """Name in a line the releases that made cells, all of each package; empty where there are no cells."""
    found: dict[str, set[str]] = {}
    for record in records:
        for name, version in {"serbench": record.serbench, **record.versions}.items():
            found.setdefault(name, set()).add(version)
    order = sorted(found, key=lambda name: (name != "serbench", name))
    return ", ".join(f"{name} {' and '.join(sorted(found[name]))}" for name in order)
