"""Provenance: which serbench, packages, corpus, features, classifier and settings made each cell and each table.

Every file of a report names it. Long tables have a column `provenance` with the key of a cell; tables for readers have
a key of their own. `provenance.csv` has one row per cell and leads from both to what made them; `provenance.json` says
the same whole, with the settings and the feature sets. There are no times, hosts or folders in it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from serbench import __version__
from serbench.corpora.segments import seconds_of
from serbench.grid.comparable import OUTSIDE, settings_key
from serbench.store.keys import digest

Line = tuple[str, str]
"""A word and what it stands for, e.g. ("packages", "numpy 2.4, scipy 1.17")."""


_BY_CORPUS = ("indexes", "partials")


@dataclass(frozen=True, slots=True)
class Provenance:
    """What made one cell: its fields in `cell`, and all that these leave open; `settings` names its `space`.

    `outside` is the file (name and SHA-256) that the predictions of another system came in; no more is known of them.
    """

    cell: Mapping[str, Any]
    emotions: tuple[str, ...]
    task_map: str
    serbench: str
    versions: Mapping[str, str]
    indexes: Mapping[str, str]
    basis: str
    partials: Mapping[str, str]
    feature_key: str
    revision: int
    settings: str
    n_settings: int
    jobs: str
    space: Mapping[str, Any] = field(repr=False)
    outside: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(record: Mapping[str, Any]) -> Provenance:
        """Read it from a cell's record; `jobs` is a digest of the keys of its jobs."""
        return Provenance(
            cell=record["cell"],
            emotions=tuple(record["task_emotions"]),
            task_map=record["task_map"],
            serbench=record["serbench"],
            versions=record["versions"],
            indexes=record["indexes"],
            basis=record.get("basis", ""),
            partials=record["partials"],
            feature_key=record["feature_key"],
            revision=record["revision"],
            settings=settings_key(record),
            n_settings=len(record["settings"]),
            jobs=digest(record["jobs"]) if record.get("jobs") else "",
            space={"settings": record["settings"], "default": record["default"]},
            outside=record.get(OUTSIDE, {}),
        )

    @property
    def key(self) -> str:
        """Its name in other files."""
        return digest(self.json)[:12]

    @property
    def json(self) -> dict[str, Any]:
        """All of it as JSON."""
        nested = ("cell", "space", OUTSIDE)
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in nested}
        outside = {f"{OUTSIDE}_{name}": value for name, value in self.outside.items()}
        plain = {"emotions": list(self.emotions), **{name: dict(own[name]) for name in ("versions", *_BY_CORPUS)}}
        return {**self.cell, **own, **plain, **outside}

    @property
    def row(self) -> dict[str, Any]:
        """All of it as a row of a table."""
        by_corpus = {name: worded(getattr(self, name)) for name in ("versions", *_BY_CORPUS)}
        return {**self.json, "emotions": ", ".join(self.emotions), **by_corpus}


@dataclass(frozen=True, slots=True)
class Origin:
    """What made a table, in lines for readers, and the keys of its cells; `key` names it."""

    key: str = ""
    lines: tuple[Line, ...] = ()
    cells: tuple[str, ...] = field(default=(), repr=False)


NO_ORIGIN = Origin()


def worded(versions: Mapping[str, str]) -> str:
    """Word versions.

    >>> worded({"scipy": "1.17", "numpy": "2.4"})
    'numpy 2.4, scipy 1.17'
    """
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))


def origin_of(cells: Iterable[Provenance]) -> Origin:
    """Sum up what made a table of these cells."""
    made = list(cells)
    if not made:
        return NO_ORIGIN
    keys = tuple(sorted({p.key for p in made}))
    of_grid = [p for p in made if not p.outside]
    known: list[Line] = [
        ("packages", packages(of_grid)),
        ("emotions", _by_corpus(made, lambda p: f"{p.cell['task']} ({_labels(p)})")),
        ("protocol", _by_corpus(of_grid or made, lambda p: f"{p.cell['protocol']}, inner {p.cell['inner']}")),
        ("scaling", _by_corpus(of_grid, lambda p: p.cell["scaling"])),
        ("preprocessing", _by_corpus([p for p in of_grid if _is_cut(p)], lambda p: p.cell["preprocessing"])),
        ("seed", _by_corpus(of_grid, lambda p: str(p.cell["seed"]))),
        ("features", _by_corpus(of_grid, lambda p: p.feature_key)),
    ]
    lines: list[Line] = [
        ("made with", f"serbench {_by_corpus(made, lambda p: p.serbench)}; report by serbench {__version__}"),
        *(line for line in known if line[1]),
        *_distinct(of_grid, lambda p: ("classifier", _classifier(p))),
        *_distinct((p for p in made if p.outside), lambda p: (OUTSIDE, _outside(p))),
        *sorted({line for p in made for line in _corpora(p)}),
        ("provenance", f"{digest(list(keys))[:12]}, {len(made)} cells of provenance.csv"),
    ]
    return Origin(digest(list(keys))[:12], tuple(lines), keys)


def origin_of_indexes(indexes: Mapping[str, tuple[str, str, str]]) -> Origin:
    """Sum up what made Table 1: for each corpus the fingerprint of its index, what its copy lacks, and the serbench."""
    releases = sorted({release for _, _, release in indexes.values()})
    key = digest([sorted(indexes.items())])[:12]
    corpora = [("corpus", _index(name, index, partial)) for name, (index, partial, _) in sorted(indexes.items())]
    made = f"serbench {', '.join(releases)}; report by serbench {__version__}"
    return Origin(key, (("made with", made), *corpora, ("provenance", key)))


def made_with(cells: Sequence[Provenance]) -> str:
    """Name in a line the releases that made cells; empty where there are none."""
    releases = f"serbench {_by_corpus(cells, lambda p: p.serbench, ' and ')}" if cells else ""
    return ", ".join(filter(None, (releases, packages(cells))))


def packages(made: Sequence[Provenance]) -> str:
    """Word the versions of all packages; where corpora differ in one, which has which."""
    names = sorted({name for p in made for name in p.versions})
    return ", ".join(f"{name} {_versions(made, name)}" for name in names)


def _versions(made: Sequence[Provenance], package: str) -> str:
    return _by_corpus([p for p in made if package in p.versions], lambda p: p.versions[package], " and ")


def _by_corpus(made: Sequence[Provenance], value: Callable[[Provenance], str], join: str = "; ") -> str:
    """Word the values that cells have; one that not every corpus has is followed by those that have it."""
    corpora = sorted({p.cell["corpus"] for p in made})
    having: dict[str, set[str]] = {}
    for p in made:
        having.setdefault(value(p), set()).add(p.cell["corpus"])
    every = sorted(having.items())
    return join.join(v if len(of) == len(corpora) else f"{v} ({', '.join(sorted(of))})" for v, of in every)


def _labels(p: Provenance) -> str:
    """What is told apart, and of which emotions each label is made."""
    return p.task_map.replace(",", ", ") or ", ".join(p.emotions)


def _classifier(p: Provenance) -> str:
    name = f"{p.cell['classifier']} revision {p.revision}"
    return f"{name}, space {p.cell['space']} of {p.n_settings} ({p.settings})"


def _outside(p: Provenance) -> str:
    """What is known of predictions from outside; their packages, settings and training are not."""
    name = f"{p.cell['classifier']} ({p.cell['features']}) on {p.cell['corpus']}"
    return f"{name}, predictions in {p.outside['file']}, SHA-256 {p.outside['sha256']}"


def _is_cut(p: Provenance) -> bool:
    return bool(seconds_of(p.cell["preprocessing"]))


def _corpora(p: Provenance) -> Iterator[Line]:
    """Name the corpora that a cell trains on and tests, in the states that it has seen."""
    for name, state in sorted(p.indexes.items()):
        yield "corpus", _index(name, state, p.partials.get(name, ""))


def _index(name: str, index: str, partial: str) -> str:
    return f"{name}, index {index}" + (f", {partial}" if partial else "")


def _distinct(made: Iterable[Provenance], line: Callable[[Provenance], Line]) -> list[Line]:
    return sorted({line(p) for p in made})
