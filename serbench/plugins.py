"""Plug-ins: feature sets and classifiers that other installed packages bring, through entry points.

A package joins with a line such as `loudness = "serbench_example:LOUDNESS"` under the entry-point group
`serbench.features` or `serbench.classifiers`. The object is the record itself and bears the name of its entry point.
Packages are looked through when a name is asked for that is not built in, and a plug-in is imported when it is asked
for by its own name or when all are listed; each once per process. One that cannot be used is a `PluginError` that
names it and its package, and takes nothing else down.
"""

from __future__ import annotations

import functools
import importlib.metadata
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from serbench.errors import STOPS, Fault, PluginError, UnknownNameError, listed

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
"""Names stand in file names, options and tables."""


@dataclass(frozen=True, slots=True)
class Package:
    """An installed package that brings plug-ins. Its whole version is part of the key of what they make."""

    name: str
    version: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


class Record(Protocol):
    """What records of feature sets and classifiers have in common."""

    @property
    def name(self) -> str:
        """What options and tables call it."""
        ...

    @property
    def revision(self) -> int:
        """Goes up by one whenever its numbers may change."""
        ...

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages whose releases may move its numbers."""
        ...


R = TypeVar("R", bound=Record)
Problem = tuple[str, str]
"""What was found in a record, and what was expected."""


@dataclass(frozen=True, slots=True, eq=False)
class Group(Generic[R]):
    """An entry-point group: its name, the records of serbench's own, and what its objects must be.

    `problems` looks for what would fail far from its cause; it computes no features and fits nothing. `bring` notes
    on a record the package that brings it.
    """

    name: str
    kind: str
    record: type[R]
    builtin: Mapping[str, R]
    problems: Callable[[R], Iterable[Problem]]
    bring: Callable[[R, Package], R]


@dataclass(frozen=True, slots=True)
class Known(Generic[R]):
    """Records by name, serbench's own first; and what is wrong with the plug-ins that are not among them."""

    records: Mapping[str, R]
    faults: tuple[PluginError, ...]


@dataclass(frozen=True, slots=True)
class _Offer:
    """An entry point and the package it is of."""

    package: Package
    entry_point: importlib.metadata.EntryPoint


@dataclass(frozen=True, slots=True)
class _Offers:
    by_name: Mapping[str, tuple[_Offer, ...]]
    faults: tuple[PluginError, ...]


def plugin_names(group: Group[R]) -> list[str]:
    """Names that installed packages bring, sorted; nothing is imported, so some may turn out not to be usable."""
    return sorted(_offers(group.name).by_name)


def find_plugin(group: Group[R], name: str) -> R:
    """Return a plug-in by name.

    Raises
    ------
    UnknownNameError : no package brings it.
    PluginError : it cannot be used.
    """
    if name not in _offers(group.name).by_name:
        raise UnknownNameError(group.kind, name, {*group.builtin, *plugin_names(group)})
    found: R | PluginError = _load(group, name)
    if isinstance(found, PluginError):
        raise found.with_traceback(None)
    return found


def know_all(group: Group[R]) -> Known[R]:
    """Import every plug-in of a group and return all that can be used, with what is wrong with the others."""
    loaded = {name: _load(group, name) for name in plugin_names(group)}
    faults = [found for found in loaded.values() if isinstance(found, PluginError)]
    usable = {name: found for name, found in loaded.items() if not isinstance(found, PluginError)}
    return Known({**group.builtin, **usable}, (*_offers(group.name).faults, *faults))


def check_record(group: Group[R], record: object, *, name: str) -> R:
    """Check an object to be a sound record of this name.

    Raises
    ------
    PluginError : with all that is wrong.
    """
    if not isinstance(record, group.record):
        found, expected = f"an object of type {type(record).__name__}", f"a {group.record.__name__}"
        raise PluginError([Fault(f"{group.kind} '{name}'", found, expected)])
    faults = [Fault(f"{group.kind} '{name}'", found, expected) for found, expected in _problems(group, record, name)]
    if faults:
        raise PluginError(faults)
    return record


def _problems(group: Group[R], record: R, name: str) -> Iterator[Problem]:
    if not isinstance(record.name, str) or not _NAME.fullmatch(record.name):
        yield f"the name {record.name!r}", "letters, digits, '_' and '-'"
    if record.name != name:
        yield f"the entry point '{name}' of a record named '{record.name}'", "one name for both"
    if type(record.revision) is not int or record.revision < 1:
        yield f"the revision {record.revision!r}", "a whole number, 1 or more"
    if not isinstance(record.packages, tuple) or not all(isinstance(package, str) for package in record.packages):
        yield f"packages {record.packages!r}", "a tuple of names of packages"
        return
    lacking = [package for package in record.packages if not _is_installed(package)]
    if lacking:
        yield f"{listed(lacking)} not installed", "every package of its `packages` to be there"
        return
    try:
        yield from group.problems(record)
    except Exception as error:  # fields of types that nobody foresaw
        yield f"fields that cannot be checked ({_worded(error)})", f"those that {group.record.__name__} describes"


def _is_installed(package: str) -> bool:
    try:
        return bool(importlib.metadata.version(package))
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return False


@functools.cache
def _load(group: Group[R], name: str) -> R | PluginError:
    """Import a plug-in, once; what is wrong with it is kept, so that it says the same when it is asked for again."""
    offers = _offers(group.name).by_name[name]
    packages = listed(str(offer.package) for offer in offers)
    where = f"{group.kind} '{name}' of {packages}"
    uninstall = f"Uninstall {listed(offer.package.name for offer in offers)}"
    if name in group.builtin:
        return PluginError([Fault(where, f"serbench has a {group.kind} of this name", "another name", uninstall)])
    if len(offers) > 1:
        # Which one is meant cannot be told, and the order of folders should not decide a number.
        return PluginError([Fault(where, f"{len(offers)} plug-ins of one name", "one", "Uninstall all but one")])
    offer = offers[0]
    todo = f"Upgrade or uninstall {offer.package.name}; all else works without it"
    try:
        found = check_record(group, offer.entry_point.load(), name=name)
    except STOPS:
        raise
    except PluginError as error:
        return PluginError([Fault(where, fault.found, fault.expected, todo) for fault in error.faults])
    except BaseException as error:  # anything may happen at an import: SystemExit, or a panic of a compiled module
        broken = PluginError(
            [Fault(where, f"{offer.entry_point.value} cannot be loaded ({_worded(error)})", todo=todo)]
        )
        broken.__cause__ = error
        return broken
    return group.bring(found, offer.package)


def _worded(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")


@functools.cache
def _offers(group: str) -> _Offers:
    """Look through the installed packages for entry points of a group; of a package that is there twice, the first."""
    by_name: dict[str, tuple[_Offer, ...]] = {}
    faults = []
    seen: set[Package] = set()
    for distribution in importlib.metadata.distributions():
        text = _entry_points_text(distribution)
        if group not in text:
            continue
        try:
            package = Package(distribution.metadata["Name"], distribution.version)
            first = importlib.metadata.distribution(package.name)
            if package in seen or _entry_points_text(first) != text:
                continue
            seen.add(package)
            own = [point for point in distribution.entry_points if point.group == group]
        except Exception as error:  # the metadata of a package that was unpacked or written badly
            where = f"a package in {distribution.locate_file('')}"
            found = f"entry points of {group} that cannot be read ({_worded(error)})"
            faults.append(PluginError([Fault(where, found, todo="Install it again, or uninstall it")]))
            continue
        for point in own:
            by_name[point.name] = (*by_name.get(point.name, ()), _Offer(package, point))
    return _Offers(by_name, tuple(faults))


def _entry_points_text(distribution: importlib.metadata.Distribution) -> str:
    try:
        return distribution.read_text("entry_points.txt") or ""
    except (OSError, ValueError):
        return ""  # not to be read by anyone


def forget_plugins() -> None:
    """Look for plug-ins anew at the next question: for tests, and a notebook in which a package was installed."""
    _offers.cache_clear()
    cached: Any = _load
    cached.cache_clear()
