"""What the cells of one column must agree in, whichever machine or release made them.

A column is one protocol with its options, task and its map, preprocessing, training and test corpora. Its cells agree
when every fact that two of them have is the same: labels, recordings and folds, the release of serbench, versions of
packages, features of one name, a classifier's revision and its settings. Decision records 0007 and 0010 say which of
them stay.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from serbench.store.keys import digest

INCOMPARABLE = "not comparable:"
"""How the reason of a cell begins that differs from the others of its column."""

FIELDS = (
    "basis",
    "task_map",
    "indexes",
    "tested",
    "pool",
    "serbench",
    "versions",
    "feature_key",
    "revision",
    "settings",
    "default",
)
"""What a cell's record must hold to be compared."""

BASIS = "labels, recordings and folds"

OUTSIDE = "outside"
"""What the record of a cell has whose predictions another system made: the file they came in."""

UNKNOWN = "unknown"
"""What such a cell has for the fields of the grid that serbench cannot know."""

Facts = Mapping[str, str]
Column = tuple[str, ...]


def column(record: Mapping[str, Any]) -> Column:
    """Return the column that a cell stands in; what another system did to its audio is no matter."""
    cell = record["cell"]
    preprocessing = "none" if is_outside(record) else cell["preprocessing"]
    told = cell.get("options", ""), cell.get("map", "")  # which records of an earlier release do not have
    return cell["protocol"], *told, cell["task"], cell["train"], cell["corpus"], preprocessing


def is_comparable(record: Mapping[str, Any]) -> bool:
    """Tell whether a record holds what comparing needs; those of an earlier release may not."""
    return set(FIELDS) <= set(record)


def is_outside(record: Mapping[str, Any]) -> bool:
    """Tell whether another system made the predictions of a cell."""
    return OUTSIDE in record


def again(record: Mapping[str, Any]) -> str:
    """Say what brings a cell up to date."""
    return "score it again" if is_outside(record) else "run it again"


def facts(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what a cell must have in common with the others of its column, in words.

    Of predictions from outside no versions are known, so that only what they were made for counts.
    """
    if is_outside(record):
        return {BASIS: record["basis"]}
    cell = record["cell"]
    classifier = cell["classifier"]
    return {
        BASIS: record["basis"],
        "serbench": ".".join(record["serbench"].split(".")[:2]),
        **record["versions"],
        f"{cell['features']} features": record["feature_key"],
        f"{classifier} revision": str(record["revision"]),
        f"{classifier} settings '{cell['space']}'": settings_key(record),
    }


def settings_key(record: Mapping[str, Any]) -> str:
    """Return the name of a cell's settings and their default: a digest, as spaces of one name may differ."""
    return digest([record["settings"], record["default"]])[:12]


def differing(own: Facts, others: Facts) -> list[str]:
    """Return the names of the facts that both have and that differ."""
    return sorted(name for name, value in own.items() if others.get(name, value) != value)


def agreeing(cells: Sequence[Facts]) -> frozenset[int]:
    """Choose the cells of a column that stand side by side; return their positions.

    Fact by fact, those facts first that most cells have, the value of most cells stays, and the newer of equals. Cells
    that went for a fact which in the end nobody has come back. The order of the cells does not matter.
    """
    return _agreeing(cells, frozenset(range(len(cells))))


def agreed(cells: Sequence[Facts]) -> dict[str, str]:
    """Join the facts of cells that agree."""
    return {name: value for cell in cells for name, value in cell.items()}


def _agreeing(cells: Sequence[Facts], among: frozenset[int]) -> frozenset[int]:
    if not among:
        return among
    standing = _most_alike(cells, among)
    common = agreed([cells[i] for i in standing])
    again = frozenset(i for i in among - standing if not differing(cells[i], common))
    return standing | _agreeing(cells, again)


def _most_alike(cells: Sequence[Facts], among: frozenset[int]) -> frozenset[int]:
    known = Counter(name for i in among for name in cells[i])
    for name in sorted(known, key=lambda name: (-known[name], name)):
        value = _value_of_most([cells[i][name] for i in among if name in cells[i]])
        among = frozenset(i for i in among if cells[i].get(name, value) == value)
    return among


def _value_of_most(values: Collection[str]) -> str:
    """Return the most frequent value, the newer of equals; any where the cells that have the fact are gone."""
    counted = Counter(values)
    return max(counted, key=lambda value: (counted[value], _release(value)), default="")


def _release(value: str) -> list[tuple[int, str]]:
    """Order versions as releases: 2.10 after 2.9; digests as they come."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.findall(r"\d+|\D+", value)]
