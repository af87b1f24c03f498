"""The errors that serbench raises on purpose, and the words they use.

A message says where, what was found, what was expected and what to do. The classes build it from their arguments,
which stay plain values, so that an error survives the way from a worker process to the terminal.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LISTED_AT_MOST = 10

# Other words for emotions, as names and labels of corpora have them (without accents), and for classifiers.
_SYNONYMS = {
    "anger": "anger angry ang wut arger zorn rage rabbia rab enojo ira colere raiva gniew złosc",
    "boredom": "boredom bored bor langeweile ennui",
    "calm": "calm calmness cal",
    "contempt": "contempt contemptuous con verachtung",
    "disgust": "disgust disgusted dis ekel degout asco disgusto nojo",
    "excitement": "excitement excited exc",
    "fear": "fear fearful fea scared afraid anxiety anxious angst peur paura pau miedo medo strach",
    "frustration": "frustration frustrated fru",
    "happiness": "happiness happy hap joy joyful freude joie gioia gio alegria felicidad radosc",
    "neutral": "neutral neu neutre neutrale neutra normal",
    "sadness": "sadness sad sorrow trauer tristesse tristezza tristeza tri smutek",
    "surprise": "surprise surprised sur uberraschung sorpresa sor surpresa zaskoczenie ps",
    "knn": "k-nn neighbours neighbors nearest",
    "logistic": "lr logreg logit",
    "mlp": "nn dnn perceptron",
    "rf": "forest random-forest randomforest trees",
    "svc": "svm rbf",
    "linear-svc": "linearsvc liblinear linear-svm",
}
MEANT = {word: name for name, words in _SYNONYMS.items() for word in words.split()}


class Stopped(SystemExit):
    """A signal that stops the command; a plug-in's own SystemExit is a fault of the plug-in."""


STOPS = (KeyboardInterrupt, Stopped)
"""What ends a command wherever it is; whatever else a plug-in raises fails what the plug-in was asked for."""


def listed(names: Iterable[str]) -> str:
    """Join names for a message; after ten the total stands for the rest.

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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the known name that means the same or is spelt nearly so, without regard to case; empty if none does."""
    if len(name) > 100:  # comparing takes the product of the lengths: no suggestion is worth a minute
        return ""
    folded = {k.casefold(): k for k in itertools.islice(known, 500) if len(k) <= 100}
    if (meant := MEANT.get(name.casefold())) in folded:
        return f"Did you mean '{meant}'?"
    hits = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    return f"Did you mean '{folded[hits[0]]}'?" if hits else ""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: its place (file, field, corpus or option), what was found, what was expected, what to do."""

    where: str
    found: str
    expected: str = ""
    todo: str = ""

    def __str__(self) -> str:
        sentences = [self.found, f"Expected {self.expected}" if self.expected else "", self.todo]
        ended = (text if text.endswith((".", "?", "!")) else f"{text}." for text in sentences if text)
        return f"{self.where}: {' '.join(ended)}"


class SerbenchError(Exception):
    """Anything a user can mend; the command line prints it and exits with 1.

    It is raised with the words of one `Fault`, or with all the faults that were met, in their order.
    """

    faults: tuple[Fault, ...] = ()

    def __init__(self, where: str | Sequence[Fault], found: str = "", expected: str = "", todo: str = "") -> None:
        super().__init__(where, found, expected, todo)
        self.faults = (Fault(where, found, expected, todo),) if isinstance(where, str) else tuple(where)

    def __str__(self) -> str:
        lines = [f"{len(self.faults)} faults:", *(f"  {fault}" for fault in self.faults)]
        return str(self.faults[0]) if len(self.faults) == 1 else "\n".join(lines)


class ConfigError(SerbenchError):
    """A YAML file cannot be used."""


class CorpusError(SerbenchError):
    """A corpus on disk is not what its entry says."""


class PluginError(SerbenchError):
    """A feature set or classifier of another package does not keep what serbench asks of it, or cannot be loaded."""


class UnknownNameError(SerbenchError):
    """A corpus, feature set, classifier, task or field that nothing is registered under."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        Exception.__init__(self, kind, name, tuple(sorted(known)))

    def __str__(self) -> str:
        kind, name, known = self.args
        sentences = f"Unknown {kind} '{name}'.", did_you_mean(name, known), f"Known: {', '.join(known) or 'none'}."
        return " ".join(filter(None, sentences))


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

    FOUND = "its content is not what was written: damaged, altered, or of an earlier serbench"
    TODO = "Run `serbench extract`, `grid` or `score` again, which make it anew"

    def __init__(self, where: str, found: str = FOUND, expected: str = "", todo: str = TODO) -> None:
        super().__init__(where, found, expected, todo)


class DiskError(StoreError):
    """The disk refuses to write or to remove. What is stored already is intact, and more cannot be."""

    TODO = "What was stored before is intact; make room or mend permissions and run the same command again"

    def __init__(self, where: str, action: str, error: OSError | str, todo: str = TODO) -> None:
        # pyarrow puts the system's words behind words of its own
        reason = (error.strerror or str(error)).rpartition("] ")[2] if isinstance(error, OSError) else error
        super().__init__(where, f"cannot be {action} ({reason})", todo=todo)
        self.args = where, action, reason, todo  # what a copy in another process is made of


class ClusterError(SerbenchError):
    """Workers, here or on other machines, cannot be used."""
