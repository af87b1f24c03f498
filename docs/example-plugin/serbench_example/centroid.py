"""Nearest centroid: each emotion stands for its mean, and a row gets the emotion whose mean is nearest.

A mean is a mean of however many rows, so that rare emotions count as much as frequent ones without any weights.
"""

from __future__ import annotations

from typing import Any

from serbench.classifiers import Classifier, Setting


def make_nearest_centroid(setting: Setting, *, n_features: int, seed: int) -> Any:
    """Make a nearest-centroid classifier.

    `shrink` is the threshold, in pooled within-emotion standard deviations, by which each mean is moved towards the
    mean of all rows, feature by feature (Tibshirani et al., PNAS 2002); 0 leaves the means as they are. There is
    nothing random in it: the seed is not used.
    """
    # Heavy imports stand inside, so that `serbench --help` and errors in names come at once.
    from sklearn.neighbors import NearestCentroid

    return NearestCentroid(shrink_threshold=float(setting["shrink"]) or None)


NEAREST_CENTROID = Classifier(
    name="nearest-centroid",
    title="nearest mean of an emotion, shrunken or not",
    space=tuple({"shrink": shrink} for shrink in (0, 0.5, 1, 2)),
    default={"shrink": 0},
    parameters=("shrink",),
    estimator=make_nearest_centroid,
    # A guess of a job's time is enough: serbench corrects it by what jobs took.
    seconds=lambda n, d, settings: settings * (1e-3 + 4e-9 * n * d),
    takes_weights=False,
    revision=1,
)
