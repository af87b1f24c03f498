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
from collections.abc import Mapping
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

MOST_SETTINGS = 1000
"""Settings of one classifier."""


@dataclass(frozen=True, slots=True)
class Space:
    """Settings of one classifier, in order; `name` is `standard` or tells the file's content apart."""

    name: str
    settings: tuple[Setting, ...]
    default: int

    @staticmethod
    def of(classifier: Classifier) -> Space:
        """Return a classifier's own space."""
        return Space(STANDARD, classifier.space, classifier.space.index(classifier.default))


def read_spaces(path: Path) -> dict[str, Space]:
    """Read a file of spaces; classifiers it does not name keep their own.

    Raises
    ------
    ConfigError : with every fault of the file, unknown classifiers and parameters included.
    """
    content = parse_document(path, holds="classifiers", loader=yaml.SafeLoader).entries
    faults: list[Fault] = []
    if not content:
        raise ConfigError([Fault(path.name, "no classifiers", "a block per classifier")])
    spaces = {name: _space(path.name, name, block, faults) for name, block in content.items()}
    if faults:
        raise ConfigError(faults)
    return spaces


def _space(file: str, name: str, block: Any, faults: list[Fault]) -> Space:
    where = f"{file}: {name}"
    empty = Space("", (), 0)
    try:
        classifier = find_classifier(name)
    except (UnknownNameError, PluginError) as error:
        faults.append(Fault(where, str(error)))
        return empty
    if (
        not isinstance(block, dict)
        or not isinstance(block.get("settings"), list)
        or set(block) - {"settings", "default"}
    ):
        faults.append(Fault(where, short(f"{block}"), "a block with `settings`, a list, and perhaps `default`"))
        return empty
    n_settings = sum(_n_settings(entry) for entry in block["settings"])
    if n_settings > MOST_SETTINGS:
        todo = "Name fewer values; a second file and a second results folder hold the others"
        faults.append(Fault(where, f"{n_settings} settings", f"at most {MOST_SETTINGS} settings", todo))
        return empty
    settings: list[Setting] = []
    for entry in block["settings"]:
        settings += _expanded(where, entry, classifier, faults)
    given = block.get("default") or (settings[0] if settings else {})
    if not isinstance(given, Mapping):
        faults.append(Fault(f"{where}.default", short(f"{given}"), "a setting such as {C: 1}"))
        return empty
    default = {name: _number(value) for name, value in given.items()}
    distinct = {digest(dict(setting)) for setting in settings}
    if default not in settings or len(distinct) < len(settings):
        found = f"default {default} among {len(settings)} settings"
        faults.append(Fault(where, found, "each setting once, one of them the default"))
        return empty
    key = digest([*map(dict, settings), default])[:8]
    return Space(f"custom-{key}", tuple(settings), settings.index(default))


def _n_settings(entry: Any) -> int:
    """Count the settings that an entry stands for."""
    values = entry.values() if isinstance(entry, Mapping) else ()
    return math.prod(len(value) for value in values if isinstance(value, list))


def _expanded(where: str, entry: Any, classifier: Classifier, faults: list[Fault]) -> list[Setting]:
    if not isinstance(entry, Mapping):
        faults.append(Fault(where, short(f"{entry}"), "settings such as {C: 1}"))
        return []
    known = classifier.parameters
    for name in entry:
        if name not in known:
            todo = did_you_mean(str(name), known) or f"Known: {', '.join(known)}"
            faults.append(Fault(where, f"unknown parameter '{name}'", todo=todo))
    values = [[_number(v) for v in (value if isinstance(value, list) else [value])] for value in entry.values()]
    settings: list[Setting] = [dict(zip(entry, combination, strict=True)) for combination in itertools.product(*values)]
    odd = [value for of_parameter in values for value in of_parameter if not is_plain(value)]
    if odd:
        faults.append(Fault(where, short(f"the value {odd[0]}"), "text or a finite number"))
        return []
    for setting in settings:
        try:
            # scikit-learn checks values when it fits; asked here, so that a wrong one does not fail every job. The
            # estimators of plug-ins need not say which values they take.
            estimator = classifier.estimator(setting, n_features=1, seed=0)
            if hasattr(estimator, "_parameter_constraints"):
                estimator._validate_params()
        except STOPS:
            raise
        except BaseException as error:  # a plug-in may raise whatever it likes, SystemExit too
            faults.append(Fault(where, f"{setting} ({type(error).__name__}: {error})", "a complete setting"))
    return settings


def _number(value: Any) -> Any:
    """Read `1e-3` as the number it is; YAML 1.1 takes it for text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value
