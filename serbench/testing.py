"""What every feature set and classifier keeps, serbench's own and those of plug-ins, as checks for a test to call.

`check_feature_set(LOUDNESS)` raises `PluginError` with what was found and expected. Data are synthetic and seeded.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from serbench.classifiers import GROUP as CLASSIFIER_GROUP
from serbench.classifiers import Classifier, Setting, Training, loop_sweep
from serbench.errors import PluginError
from serbench.features import GROUP as FEATURE_GROUP
from serbench.features import FeatureSet
from serbench.features.table import Ragged, Rows, flat

STEP_S = 0.01  # how exactly `shortest_s` is held: 10 ms less give no numbers


def check_feature_set(feature_set: FeatureSet) -> None:
    """Check the fields of a feature set, its rows, its shortest duration, and that no row depends on another."""
    FEATURE_GROUP.check(feature_set, name=getattr(feature_set, "name", ""))
    _check_row(feature_set)
    _check_shortest_duration(feature_set)
    _check_order_and_threads(feature_set)


def check_classifier(classifier: Classifier) -> None:
    """Check the fields of a classifier, that its sweep equals single fits and alters nothing, and that weights act."""
    CLASSIFIER_GROUP.check(classifier, name=getattr(classifier, "name", ""))
    _check_sweep(classifier)
    if classifier.takes_weights:
        _check_weights_matter(classifier)


def _check_row(feature_set: FeatureSet) -> None:
    """A second of noise gives finite float32 of the promised shape, with distinct names, and stays as it was."""
    extractor, mono, n = feature_set.open(), noise(feature_set.sampling_rate), feature_set.n_features
    row, names = extractor(mono), list(extractor.columns)
    shape, kind = np.shape(row), getattr(row, "dtype", "unknown")
    wanted = (1 + feature_set.is_framewise, (n,), np.float32)
    is_right = isinstance(row, np.ndarray) and (row.ndim, shape[-1:], kind) == wanted and row.size > 0
    promised = f"(n_frames, {n})" if feature_set.is_framewise else f"({n},)"
    found = f"{type(row).__name__} of shape {shape} and type {kind}"
    _hold(is_right, feature_set, found, f"an array of shape {promised} and type float32")
    n_bad = int((~np.isfinite(row)).sum())
    _hold(n_bad == 0, feature_set, f"{n_bad} features of a second of noise that are not finite", "numbers")
    is_right = all(isinstance(name, str) for name in names) and len(names) == len(set(names)) == n
    found = f"{len(names)} names of features, {len(set(names))} of them distinct"
    _hold(is_right, feature_set, found, f"{n} distinct names of type str")
    is_same = np.array_equal(mono, noise(feature_set.sampling_rate))
    _hold(is_same, feature_set, "samples altered by the extractor", "a new array for the row, and samples as they were")


def _check_shortest_duration(feature_set: FeatureSet) -> None:
    """`shortest_s` gives numbers, and 10 ms less give NaN rather than an exception."""
    n = round(feature_set.shortest_s * feature_set.sampling_rate)
    shorter = n - round(STEP_S * feature_set.sampling_rate)
    for length, gives, found, expected in (
        (n, True, f"features that are not finite for {feature_set.shortest_s} s of noise", "or a higher shortest_s"),
        (shorter, False, f"numbers for {STEP_S} s less than shortest_s", "or a lower shortest_s"),
    ):
        row = feature_set.open()(noise(length)) if length > 0 else np.empty(0)
        is_kept = length <= 0 or (row.size > 0 and bool(np.isfinite(row).all())) == gives
        _hold(is_kept, feature_set, found, f"{'numbers' if gives else 'NaN'}, {expected}")


def _check_order_and_threads(feature_set: FeatureSet) -> None:
    """Rows depend on their recording alone, whatever came before and however many threads extract at a time."""
    lengths_s = (0.5, 1.9, 0.19, 1.0)
    signals = [noise(round(s * feature_set.sampling_rate), seed=i) for i, s in enumerate(lengths_s)]

    def extract(_: object = None) -> list[np.ndarray]:
        own = feature_set.open()
        return [own(signal).copy() for signal in signals]

    def same(rows: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> bool:
        return all(np.array_equal(row, other, equal_nan=True) for row, other in zip(rows, others, strict=True))

    extractor = feature_set.open()
    rows = [extractor(signal) for signal in signals]
    forwards = [row.copy() for row in rows]
    backwards = [extractor(signal).copy() for signal in reversed(signals)][::-1]
    _hold(same(rows, forwards), feature_set, "rows that later calls alter", "a new array at every call")
    _hold(same(backwards, forwards), feature_set, "rows that depend on the order of recordings", "the same rows")
    with ThreadPoolExecutor(2) as threads:
        is_same = all(same(others, forwards) for others in threads.map(extract, range(2)))
    found = "other rows where two threads each open an extractor of their own"
    _hold(is_same, feature_set, found, "the same rows as in one thread")


def _check_sweep(classifier: Classifier) -> None:
    """A sweep alters nothing, and predicts, label for label, what single fits predict (which take no auxiliary labels).

    Weights of 0 count, too: libsvm leaves such rows out. The slow `loop_sweep` fits its whole space on few features.
    """
    rng = np.random.default_rng(11)
    labels = np.sort(rng.integers(0, 5, 150))
    x = rng.normal(size=(190, 384)) + 0.4 * rng.normal(size=(5, 384))[np.append(labels, rng.integers(0, 5, 40))]
    wide = Training(x[:150].copy(), labels, None, np.array(["s"] * 150), {})
    cases: dict[str, tuple[Training, Rows]] = {
        "three emotions of 6 features": blobs(),
        "five emotions of 384 features": (wide, x[150:].copy()),
    }
    training, held = blobs(n=90)
    for least in (0.0, 0.1) if classifier.takes_weights else ():
        weights = np.random.default_rng(3).permutation(np.linspace(least, 2, 90))
        cases[f"weights from {least} to 2"] = dataclasses.replace(training, weights=weights), held
    for n, (data, given) in enumerate(cases.items()):
        settings = (classifier.default,) if n and classifier.sweep is loop_sweep else classifier.space
        training, held = _as_taken(classifier, *given)
        before = [array.copy() for array in (flat(training.X), training.labels, flat(held))]
        swept = classifier.sweep(classifier, settings, training, held, seed=3).predictions
        shape = (len(settings), len(held))
        wanted = f"one per setting and held-out row: shape {shape}"
        _hold(swept.shape == shape, classifier, f"predictions of shape {swept.shape}", wanted)
        arrays = zip((flat(training.X), training.labels, flat(held)), before, strict=True)
        is_kept = all(np.array_equal(array, same) for array, same in arrays)
        _hold(is_kept, classifier, "training or held-out rows altered by the sweep", "rows as they were")
        if classifier.auxiliary:
            other, expected = (
                "a second sweep",
                classifier.sweep(classifier, settings, training, held, seed=3).predictions,
            )
        else:
            other, expected = "single fits", _single_fits(classifier, settings, training, held)
        n = int((swept != expected).sum())
        found = f"{n} of {swept.size} predictions unlike those of {other} ({data})"
        _hold(n == 0, classifier, found, "the same labels: a faster sweep may not change one")


def _single_fits(classifier: Classifier, settings: Sequence[Setting], training: Training, held: Rows) -> np.ndarray:
    """Predict setting by setting with the calls of scikit-learn alone."""
    weights = classifier.fit_weights(training)
    given = {} if weights is None else {"sample_weight": weights}
    predictions = []
    for setting in settings:
        estimator = classifier.estimator(setting, n_features=training.X.shape[1], seed=3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            predictions.append(estimator.fit(training.X, training.labels, **given).predict(held))
    return np.array(predictions)


def _check_weights_matter(classifier: Classifier) -> None:
    """Weights of the rows change predictions."""
    training, held = blobs(n=60, seed=2)
    mixed_up = np.random.default_rng(7).permutation(flat(training.X))  # labels that the features do not tell
    plain, held = _as_taken(classifier, dataclasses.replace(training, X=mixed_up), held)
    heavy = np.where(np.arange(60) % 2, 1000.0, 1e-3)  # within each emotion: balancing may undo weights across them
    default, weighted = (classifier.default,), dataclasses.replace(plain, weights=heavy)
    of_plain = classifier.sweep(classifier, default, plain, held, seed=0).predictions
    of_weighted = classifier.sweep(classifier, default, weighted, held, seed=0).predictions
    found = "the same predictions whatever the weights of the rows"
    _hold(not np.array_equal(of_plain, of_weighted), classifier, found, "others, or takes_weights=False")


def noise(n: int, seed: int = 0) -> np.ndarray:
    """Make `n` samples of soft noise: float32 in [-1, 1)."""
    return (0.1 * np.random.default_rng(seed).normal(size=n)).astype(np.float32)


def blobs(n: int = 45, d: int = 6, seed: int = 0) -> tuple[Training, Rows]:
    """Make `n` training rows and 30 held-out rows of three emotions in `d` features, some of them hard to tell."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    centres = rng.normal(0, 1.5, (3, d))
    x = centres[labels] + rng.normal(size=(n, d))
    training = Training(np.ascontiguousarray(x), labels, None, np.array([f"s{i % 5}" for i in range(n)]), {})
    return training, centres[np.arange(30) % 3] + rng.normal(size=(30, d))


def _as_taken(classifier: Classifier, training: Training, held: Rows) -> tuple[Training, Rows]:
    """Put rows as a classifier takes them: as one to three frames each, and with the labels that it declares."""

    def frames(rows: Rows) -> Rows:
        own = [np.repeat(row[np.newaxis], 1 + i % 3, axis=0) for i, row in enumerate(flat(rows))]
        return Ragged.of(own, n_features=rows.shape[1])

    if classifier.input == "frames":
        training, held = dataclasses.replace(training, X=frames(training.X)), frames(held)
    words = np.resize(["one", "other"], len(training.labels))
    return dataclasses.replace(training, auxiliary=dict.fromkeys(classifier.auxiliary, words)), held


def _hold(is_kept: bool, record: FeatureSet | Classifier, found: str, expected: str) -> None:
    if not is_kept:
        kind = "feature set" if isinstance(record, FeatureSet) else "classifier"
        raise PluginError(f"{kind} '{record.name}'", found, expected)
