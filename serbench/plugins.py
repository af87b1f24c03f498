"""Plug-ins: feature sets and classifiers that other installed packages bring, through entry points.

A package joins with a line such as `loudness = "serbench_example:LOUDNESS"` under the entry-point group
`serbench.features` or `serbench.classifiers`. The object is the record itself and has the name of its entry point.
It is imported once, when it is asked for by its name or when all are listed. A plug-in that cannot be used is a
`PluginError` that names the plug-in and its package, and does not stop anything else.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from serbench.errors import STOPS, Fault, PluginError, UnknownNameError, listed

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")  # names are parts of file names, options and tables

R = TypeVar("R")
Problem = tuple[str, str]  # what was found in a record, and what was expected


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package that brings plug-ins. Its whole version is part of the key of what they make."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True, eq=False)
class Group(Generic[R]):
    """An entry-point group: its name, serbench's own records, and what the objects of other packages must be.

    `problems` looks for what would fail far from its cause; it computes no features and fits nothing.
    """

    name: str
    kind: str
    record: type[R]
    builtin: Mapping[str, R]
    problems: Callable[[R], Iterable[Problem]]

    def find(self, name: str) -> R:
        """Return a record by name; an `UnknownNameError` if there is none, a `PluginError` if it cannot be used."""
        if name in self.builtin:
            return self.builtin[name]
        if not self.has(name):
            raise UnknownNameError(self.kind, name, {*self.builtin, *_entry_points(self.name)})
        found: R | PluginError = _load(self, name)
        if isinstance(found, PluginError):
            raise found.with_traceback(None)
        return found

    def has(self, name: str) -> bool:
        """Return whether a name is registered. Plug-ins are not imported, so theirs may turn out not to be usable."""
        return name in self.builtin or name in _entry_points(self.name)

    def known(self) -> tuple[Mapping[str, R], tuple[PluginError, ...]]:
        """Import every plug-in; return records by name, serbench's own first, and what is wrong with other plug-ins."""
        loaded = {name: _load(self, name) for name in sorted(_entry_points(self.name))}
        usable = {name: found for name, found in loaded.items() if not isinstance(found, PluginError)}
        faults = tuple(found for found in loaded.values() if isinstance(found, PluginError))
        return {**self.builtin, **usable}, faults

    def check(self, record: Any, *, name: str) -> R:
        """Return an object that is a sound record of this name, or raise a `PluginError` with all that is wrong."""
        wanted, problems = self.record.__name__, list[Problem]()
        if not isinstance(record, self.record):
            problems = [(f"an object of type {type(record).__name__}", f"a {wanted}")]
        else:
            try:
                problems += _problems(record, name)
                problems += self.problems(record)
            except Exception as error:  # fields of types that nobody foresaw, or a package that is missing
                unforeseen = f"fields that cannot be checked ({_words(error)})", f"those that {wanted} describes"
                problems = problems or [unforeseen]
        if problems:
            raise PluginError([Fault(f"{self.kind} '{name}'", *problem) for problem in problems])
        return cast(R, record)


def _problems(record: Any, name: str) -> Iterator[Problem]:
    """Look at the fields that every record has."""
    from importlib.metadata import distributions

    if not isinstance(record.name, str) or not _NAME.fullmatch(record.name):
        yield f"the name {record.name!r}", "letters, digits, '_' and '-'"
    if record.name != name:
        yield f"the entry point '{name}' of a record named '{record.name}'", "one name for both"
    if type(record.revision) is not int or record.revision < 1:
        yield f"the revision {record.revision!r}", "a whole number, 1 or more"
    if not isinstance(record.packages, tuple) or not all(isinstance(package, str) for package in record.packages):
        yield f"packages {record.packages!r}", "a tuple of names of packages"
    elif missing := [one for one in record.packages if not any(distributions(name=one))]:
        yield f"{listed(missing)} not installed", "every package of its `packages` to be there"


@functools.cache
def _entry_points(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Entry points of the installed packages by name: one each, unless two packages bring the same name."""
    from importlib.metadata import entry_points  # takes as long as a tenth of `serbench --help`

    points = entry_points(group=group)
    return {name: tuple(points.select(name=name)) for name in points.names}


@functools.cache
def _load(group: Group[R], name: str) -> R | PluginError:
    """Import a plug-in, once; what is wrong with it is kept for the next time it is asked for."""
    points = _entry_points(group.name)[name]
    packages = [Package(point.dist.name, point.dist.version) for point in points if point.dist is not None]
    where, todo = f"{group.kind} '{name}' of {listed(map(str, packages))}", f"Uninstall {packages[0].name}"
    if name in group.builtin:
        return PluginError(where, f"serbench has a {group.kind} of this name", "another name", todo)
    if len(points) > 1:  # the order of folders must not decide a number
        return PluginError(where, f"{len(points)} plug-ins of one name", "one", "Uninstall all but one")
    todo = f"Upgrade or uninstall {packages[0].name}; all else works without it"
    try:
        record: Any = group.check(points[0].load(), name=name)
        brought: R = dataclasses.replace(record, package=packages[0])
        return brought
    except STOPS:
        raise
    except PluginError as error:
        return PluginError([Fault(where, fault.found, fault.expected, todo) for fault in error.faults])
    except BaseException as error:  # anything may happen at an import: SystemExit, or a panic of a compiled module
        broken = PluginError(where, f"{points[0].value} cannot be loaded ({_words(error)})", todo=todo)
        broken.__cause__ = error
        return broken


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")


def forget_plugins() -> None:
    """Look for plug-ins again at the next question: for tests, and a notebook in which a package was installed."""
    _entry_points.cache_clear()
    _load.cache_clear()
