"""Random forests of 300 trees."""

from __future__ import annotations

import math
from typing import Any

from serbench.classifiers.record import Classifier, Setting, rows_alone


def make_forest(setting: Setting, *, n_features: int, seed: int) -> Any:
    """Make a balanced forest; `max_features` is a share of the features or "sqrt"."""
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(
        n_estimators=300,
        max_features=setting["max_features"],
        min_samples_leaf=setting["min_samples_leaf"],
        class_weight="balanced",
        random_state=seed,
    )


def _forest(max_features: str | float, leaf: int) -> Setting:
    return {"max_features": max_features, "min_samples_leaf": leaf}


FOREST = Classifier(
    name="rf",
    title="random forest of 300 trees",
    space=tuple(_forest(m, leaf) for m in ("sqrt", 0.2) for leaf in (1, 4)),
    default=_forest("sqrt", 1),
    parameters=("max_features", "min_samples_leaf"),
    estimator=make_forest,
    seconds=lambda n, d, settings: settings * (0.4 + 1.9e-6 * n * math.log2(n + 1) * d),
    memory=lambda n, n_held, d: 2.5e4 * n + rows_alone(n, n_held, d),
    needs_scaling=False,
)
