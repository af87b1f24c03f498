"""A user's own spaces: `--space spaces.yaml`, one list of settings per classifier.

A list of values stands for one setting each, combined in the order written::

    svc:
      default: {kernel: linear, C: 0.01}
      settings:
        - {kernel: linear, C: [0.001, 0.01]}
        - {kernel: rbf, C: [1, 10], gamma: 1}
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from serbench.classifiers import Classifier, Setting, find_classifier
from serbench.classifiers.record import is_plain
from serbench.corpora.documents import parse_document, short
from serbench.errors import STOPS, ConfigError, Fault, PluginError, UnknownNameError, did_you_mean
from serbench.store.keys import digest

STANDARD = "standard"
UNTUNED = "default"  # only the default setting of a classifier
MOST_SETTINGS = 1000  # of one classifier


@dataclass(frozen=True, slots=True)
class Space:
    """Settings of one classifier, in order; `name` is `standard` or tells the file's content apart."""

    name: str
    settings: tuple[Setting, ...]
    default: int

    @staticmethod
    def of(classifier: Classifier, *, is_quick: bool = False) -> Space:
        """Return a classifier's own space, or its default setting alone."""
        if is_quick and len(classifier.space) > 1:
            return Space(UNTUNED, (classifier.default,), 0)
        return Space(STANDARD, classifier.space, classifier.space.index(classifier.default))


def read_spaces(path: Path) -> dict[str, Space]:
    """Read a file of spaces; classifiers it does not name keep their own. All its faults are one `ConfigError`."""
    content = parse_document(path, holds="classifiers", loader=yaml.SafeLoader).entries
    if not content:
        raise ConfigError(path.name, "no classifiers", "a block per classifier")
    spaces: dict[str, Space] = {}
    faults: list[Fault] = []
    for name, block in content.items():
        where = f"{path.name}: {name}"
        try:
            spaces[name] = _space(find_classifier(name), block, where)
        except ConfigError as error:
            faults += error.faults
        except (UnknownNameError, PluginError) as error:
            faults.append(Fault(where, str(error)))
    if faults:
        raise ConfigError(faults)
    return spaces


def _space(classifier: Classifier, block: Any, where: str) -> Space:
    entries = block.get("settings") if isinstance(block, dict) and not set(block) - {"settings", "default"} else None
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        expected = "a block with `settings`, a list such as [{C: 1}], and perhaps `default`"
        raise ConfigError(where, short(f"{block}"), expected)
    n = sum(math.prod(len(value) for value in entry.values() if isinstance(value, list)) for entry in entries)
    if n > MOST_SETTINGS:
        todo = "Name fewer values; a second file and a second results folder hold the others"
        raise ConfigError(where, f"{n} settings", f"at most {MOST_SETTINGS} settings", todo)
    known, faults, settings = classifier.parameters, list[Fault](), list[Setting]()
    for entry in entries:
        values = [[_number(v) for v in (value if isinstance(value, list) else [value])] for value in entry.values()]
        settings += [dict(zip(entry, combination, strict=True)) for combination in itertools.product(*values)]
        for name in sorted(map(str, entry.keys() - set(known))):
            todo = did_you_mean(name, known) or f"Known: {', '.join(known)}"
            faults.append(Fault(where, f"unknown parameter '{name}'", todo=todo))
        odd = [value for value in itertools.chain(*values) if not is_plain(value)]
        faults += [Fault(where, short(f"the value {value}"), "text or a finite number") for value in odd]
    faults = faults or [Fault(where, found, "a complete setting") for found in _refused(settings, classifier)]
    if faults:
        raise ConfigError(faults)
    given = block.get("default") or (settings[0] if settings else {})
    if not isinstance(given, Mapping):
        raise ConfigError(f"{where}.default", short(f"{given}"), "a setting such as {C: 1}")
    default = {name: _number(value) for name, value in given.items()}
    if default not in settings or len({digest(setting) for setting in settings}) < len(settings):
        found = f"default {default} among {len(settings)} settings"
        raise ConfigError(where, found, "each setting once, one of them the default")
    return Space(f"custom-{digest([*settings, default])[:8]}", tuple(settings), settings.index(default))


def _number(value: Any) -> Any:
    """Read `1e-3` as the number it is; YAML 1.1 takes it for text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _refused(settings: Sequence[Setting], classifier: Classifier) -> Iterator[str]:
    """Yield the settings that an estimator refuses, with its reason; later, a wrong one would fail every job.

    scikit-learn's estimators look at their settings before they look at rows, so that nothing is fitted here. Other
    errors of a fit without rows do not count: estimators of plug-ins need not say which settings they take.
    """
    for setting in settings:
        estimator = None
        try:
            estimator = classifier.estimator(setting, n_features=1, seed=0)
            estimator.fit([], [])
        except STOPS:
            raise
        except BaseException as error:  # a plug-in may raise whatever it likes, SystemExit too
            if estimator is None:
                yield f"{setting} ({type(error).__name__}: {error})"
            elif isinstance(error, ValueError) and isinstance(error, TypeError):  # InvalidParameterError
                yield f"{setting} ({error})"
