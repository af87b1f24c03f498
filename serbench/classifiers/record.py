"""The record that describes a classifier, and the sweep that any estimator can use.

A sweep fits every setting of a space on one training set and predicts everything held out. A family may bring a
faster one; a contract test compares its predictions with those of `loop_sweep`, label for label.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from serbench.plugins import Package, Problem
from serbench.store.keys import package_versions

if TYPE_CHECKING:
    import numpy as np

    from serbench.features.table import Rows
    from serbench.workspace import Progress

Input = Literal["rows", "frames"]
"""What a classifier takes of each recording: one row of features, or one for every frame."""

Setting = Mapping[str, str | int | float]
"""One point of a space, e.g. {"kernel": "rbf", "C": 1, "gamma": 1}."""


@dataclass(frozen=True, slots=True)
class Training:
    """Training rows, sorted by utterance id; all but `X` have shape (n_training,).

    `X`: float64, C order, shape (n_training, n_features), scaled; for a classifier of frames a `Ragged` of float32.
    `labels`: codes into the sorted emotions. `weights`: None when every row counts the same. `auxiliary`: the further
    labels that the classifier declares, by name, as text.
    """

    X: Rows
    labels: np.ndarray
    weights: np.ndarray | None
    speakers: np.ndarray
    auxiliary: Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Swept:
    """Predictions of every setting, codes of shape (n_settings, n_evaluation); settings that did not converge."""

    predictions: np.ndarray
    not_converged: tuple[int, ...]


def rows_alone(n: int, n_evaluation: int, d: int) -> float:
    """Return the bytes of a fit that needs little except a few copies of its rows."""
    return 40.0 * (n + n_evaluation) * d


def loop_sweep(
    classifier: Classifier, settings: Sequence[Setting], training: Training, evaluation: Rows, *, seed: int
) -> Swept:
    """Fit and predict setting by setting: the sweep that every other one must equal.

    `evaluation` are the rows held out, sorted by utterance id: as `Training.X`, shape (n_evaluation, n_features).
    """
    import numpy as np
    from sklearn.exceptions import ConvergenceWarning

    predictions = np.empty((len(settings), len(evaluation)), dtype=np.int64)
    not_converged = []
    weights = classifier.fit_weights(training)
    given = {} if weights is None else {"sample_weight": weights}
    for i, setting in enumerate(settings):
        estimator = classifier.estimator(setting, n_features=training.X.shape[1], seed=seed)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            estimator.fit(training.X, training.labels, **given)
        if any(issubclass(warning.category, ConvergenceWarning) for warning in caught):
            not_converged.append(i)
        predictions[i] = estimator.predict(evaluation)
    return Swept(predictions, tuple(not_converged))


@dataclass(frozen=True, slots=True)
class Classifier:
    """A classifier with its ordered space of settings.

    Parameters
    ----------
    estimator : makes an unfitted scikit-learn estimator, `estimator(setting, n_features=..., seed=...)`; every
        `random_state` is the seed itself.
    seconds, memory : guess a job's time from (n_training, n_features, n_settings), until the store knows better, and
        bound its bytes from (n_training, n_evaluation, n_features).
    revision, packages : a number that goes up whenever predictions may change; packages whose releases may move them.
    sweep : fits all settings and predicts all rows held out, with the arguments of `loop_sweep`.
    fit_weights : sample weights that `fit` is given, or None for a fit without.
    input : "frames" goes with framewise feature sets alone; n_features are then the numbers of a mean recording.
    units : what the numbers of a parameter are multiples of, where they are not its values, such as "1 / n_features".
    auxiliary : labels of the training rows that the sweep is given as well: speaker, gender, language, or another field
        of text in a corpus' index.
    prepare : called with a `Progress` by the program that plans, before the first job: compiles what is kept on disk.
    package : filled in for a plug-in: what brings it.
    """

    name: str
    title: str
    space: tuple[Setting, ...]
    default: Setting
    parameters: tuple[str, ...]
    estimator: Callable[..., Any]
    seconds: Callable[[int, int, int], float]
    memory: Callable[[int, int, int], float] = rows_alone
    needs_scaling: bool = True
    takes_weights: bool = True
    revision: int = 1
    sweep: Callable[..., Swept] = loop_sweep
    fit_weights: Callable[[Training], np.ndarray | None] = lambda training: training.weights
    packages: tuple[str, ...] = ("scikit-learn", "numpy", "scipy")
    input: Input = "rows"
    auxiliary: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    prepare: Callable[[Progress], None] = lambda progress: None
    package: Package | None = None

    @property
    def versions(self) -> dict[str, str]:
        """Versions of the packages whose releases may move the predictions; of a plug-in's own the whole one."""
        own = {} if self.package is None else {self.package.name: self.package.version}
        return {**package_versions(self.packages), **own}


def problems(classifier: Classifier) -> Iterator[Problem]:
    """Look for what would fail far from its cause, and fit nothing."""
    settings = [tuple(sorted(setting.items())) for setting in classifier.space]
    n = len(set(settings))
    if not isinstance(classifier.space, tuple) or not settings or n < len(settings):
        yield f"a space of {len(settings)} settings, {n} of them distinct", "a tuple, each setting once"
    if classifier.default not in classifier.space:
        yield f"the default {dict(classifier.default)}", "one of the settings of the space"
    odd = sorted({name for setting in classifier.space for name in setting} - set(classifier.parameters))
    if odd:
        yield f"settings of {', '.join(odd)}", f"its parameters: {', '.join(classifier.parameters)}"
    wrong = [value for setting in classifier.space for value in setting.values() if not is_plain(value)]
    if wrong:
        yield f"the value {wrong[0]!r} in its space", "text or a finite number"
    for name in ("estimator", "sweep", "fit_weights", "prepare"):
        if not callable(getattr(classifier, name)):
            yield f"{name} {getattr(classifier, name)!r}", "a function"
    if classifier.input not in get_args(Input):
        yield f"input {classifier.input!r}", " or ".join(get_args(Input))
    if not isinstance(classifier.auxiliary, tuple) or not all(isinstance(name, str) for name in classifier.auxiliary):
        yield f"auxiliary {classifier.auxiliary!r}", "a tuple of names of labels"
    elif classifier.auxiliary and classifier.sweep is loop_sweep:
        yield f"auxiliary {classifier.auxiliary!r} with the default sweep, which passes none on", "a sweep of its own"
    guesses = {"seconds": classifier.seconds(100, 10, 1), "memory": classifier.memory(100, 10, 10)}
    for name, guess in guesses.items():
        if not 0 < guess < math.inf:
            yield f"{name} {guess!r} for 100 training rows", "more than 0"


def is_plain(value: object) -> bool:
    """Return whether a value may be in a setting: text or a finite number."""
    return isinstance(value, str) or (isinstance(value, int | float) and math.isfinite(value))
