"""The errors serbench raises on purpose, and the words they use.

A message says where, what was found, what was expected and what to do. The classes build it from their arguments,
which stay plain values, so that an error survives the way from a worker process to the terminal.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LISTED_AT_MOST = 10

_COMPARED_NAMES = 500
_COMPARED_CHARACTERS = 100
"""Comparing takes the product of the lengths: no suggestion is worth a minute."""


def listed(names: Iterable[str]) -> str:
    """Join names for a message; after ten the total stands for the rest.

    >>> listed(["a", "b"])
    'a, b'
    >>> listed(str(n) for n in range(12))
    '0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... (12 in all)'
    """
    every = list(names)
    shown = ", ".join(every[:LISTED_AT_MOST])
    return shown if len(every) <= LISTED_AT_MOST else f"{shown}, ... ({len(every)} in all)"


def printable(name: str) -> str:
    r"""Word a file name that is not UTF-8 (as old archives unzip) with its odd bytes escaped.

    >>> printable("caf\udce9.wav")
    'caf\\xe9.wav'
    """
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name most like `name`, compared without case, or None.

    >>> closest("egemaps", ["IS09", "eGeMAPSv02"])
    'eGeMAPSv02'
    """
    if len(name) > _COMPARED_CHARACTERS:
        return None
    folded = {k.casefold(): k for k in itertools.islice(known, _COMPARED_NAMES) if len(k) <= _COMPARED_CHARACTERS}
    hits = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    return folded[hits[0]] if hits else None


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Word a suggestion for a misspelt name, empty when nothing is near."""
    hit = closest(name, known)
    return f"Did you mean '{hit}'?" if hit else ""


class Stopped(SystemExit):
    """A signal that stops the command; a plug-in's own SystemExit is a fault of the plug-in."""


STOPS = (KeyboardInterrupt, Stopped)
"""What ends a command wherever it is; whatever else a plug-in raises fails what the plug-in was asked for."""


class SerbenchError(Exception):
    """Anything a user can mend; the command line prints it and exits with 1.

    Parameters
    ----------
    where : file, field, corpus or option at fault.
    found : what is there.
    expected : what should be there; may be empty.
    todo : what the user can do; may be empty.
    """

    def __init__(self, where: str, found: str, expected: str = "", todo: str = "") -> None:
        super().__init__(where, found, expected, todo)

    def __str__(self) -> str:
        where, found, expected, todo = self.args
        sentences = [_sentence(found), _sentence(f"Expected {expected}" if expected else ""), _sentence(todo)]
        return f"{where}: " + " ".join(s for s in sentences if s)


def _sentence(text: str) -> str:
    return text if not text or text.endswith((".", "?", "!")) else f"{text}."


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a file: its place in it, what was found, what was expected, what to do."""

    where: str
    found: str
    expected: str = ""
    todo: str = ""

    def __str__(self) -> str:
        return str(SerbenchError(self.where, self.found, self.expected, self.todo))


class FaultsError(SerbenchError):
    """Several faults, reported at once."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        Exception.__init__(self, tuple(faults))

    @property
    def faults(self) -> tuple[Fault, ...]:
        """The faults, in the order they were met."""
        return tuple(self.args[0])

    def __str__(self) -> str:
        if len(self.faults) == 1:
            return str(self.faults[0])
        return "\n".join([f"{len(self.faults)} faults:", *(f"  {fault}" for fault in self.faults)])


class ConfigError(FaultsError):
    """A YAML file cannot be used."""


class CorpusError(FaultsError):
    """A corpus on disk is not what its entry says."""


class UnknownNameError(SerbenchError):
    """A corpus, feature set, classifier, task or field that nothing is registered under.

    >>> print(UnknownNameError("feature set", "egemaps", ["IS09", "eGeMAPSv02"]))
    Unknown feature set 'egemaps'. Did you mean 'eGeMAPSv02'? Known: IS09, eGeMAPSv02.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        Exception.__init__(self, kind, name, tuple(sorted(known)))

    def __str__(self) -> str:
        kind, name, known = self.args
        words = [f"Unknown {kind} '{name}'.", did_you_mean(name, known), f"Known: {', '.join(known) or 'none'}."]
        return " ".join(word for word in words if word)


class PluginError(FaultsError):
    """A feature set or classifier of another package does not keep what serbench asks of it, or cannot be loaded."""


class AudioError(SerbenchError):
    """One recording cannot be decoded; becomes a row of the failures table."""


class FeatureError(SerbenchError):
    """A feature set cannot be computed or read for what was asked."""


class ProtocolError(SerbenchError):
    """A protocol cannot be carried out, or its plan leaks."""


class ScoreError(SerbenchError):
    """Predictions cannot be scored."""


class StoreError(SerbenchError):
    """The results folder cannot be read or written."""


class DamagedError(StoreError):
    """A file of the results folder does not hold what was written."""


class DiskError(StoreError):
    """The disk refuses to write: no room, no permission. What is stored already is intact, and more cannot be."""


class ClusterError(SerbenchError):
    """Workers, here or on other machines, cannot be used."""
