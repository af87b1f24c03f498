"""What a user would otherwise run: scikit-learn's GridSearchCV inside a leave-one-speaker-out loop, on all cores.

It imports nothing from serbench. Like for like with a cell of serbench: the scaler is fitted inside each fit, the same
settings in the same order, and the setting is the one with the highest UAR pooled over the inner folds, compared as
fractions, the earlier of equals. Usage: grid_search.py CLASSIFIER TABLE.npz OUTPUT.json
"""

import json
import sys
import time
import warnings
from fractions import Fraction

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.class_weight import compute_sample_weight

SEED = 0
CHEAP = {"svc": {}, "rf": {"n_estimators": 1}, "mlp": {"max_iter": 1}}
"""What makes a first search short, by which the workers import what they need before the clock starts."""


class BalancedMLP(MLPClassifier):
    """A perceptron that weighs every emotion of its training rows the same."""

    def fit(self, X, y):
        """Fit with balanced sample weights."""
        return super().fit(X, y, sample_weight=compute_sample_weight("balanced", y))


def model_and_settings(name, n_features):
    """Return an estimator and its settings, each a dictionary of parameters."""
    if name == "svc":
        linear = [{"kernel": "linear", "C": c} for c in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1)]
        rbf = [{"kernel": "rbf", "C": c, "gamma": g / n_features} for c in (0.1, 1, 10, 100) for g in (0.1, 0.3, 1, 3)]
        return SVC(class_weight="balanced"), linear + rbf
    if name == "rf":
        forest = RandomForestClassifier(300, class_weight="balanced", random_state=SEED)
        return forest, [{"max_features": m, "min_samples_leaf": leaf} for m in ("sqrt", 0.2) for leaf in (1, 4)]
    if name == "mlp":
        settings = [{"hidden_layer_sizes": (h,), "alpha": a} for h in (64, 128, 256) for a in (1e-4, 1e-2, 1)]
        return BalancedMLP(max_iter=200, random_state=SEED), settings
    raise SystemExit(f"no such classifier: {name}")


def hits_and_counts(emotions):
    """Make a scorer that returns, for each emotion, how many rows there are and how many were found."""

    def score(estimator, X, y):
        found = estimator.predict(X)
        counts = {f"n_{e}": int(np.sum(y == e)) for e in emotions}
        return counts | {f"hits_{e}": int(np.sum((y == e) & (found == e))) for e in emotions}

    return score


def best_pooled(emotions):
    """Make a `refit` that chooses the setting with the highest UAR over all inner folds together."""

    def choose(results):
        def pooled(key, i):
            return sum(int(results[f"split{k}_test_{key}"][i]) for k in range(n_splits))

        n_splits = sum(key.endswith(f"_test_n_{emotions[0]}") and key.startswith("split") for key in results)
        uars = []
        for i in range(len(results["params"])):
            recalls = [Fraction(pooled(f"hits_{e}", i), n) for e in emotions if (n := pooled(f"n_{e}", i))]
            uars.append(sum(recalls) / len(recalls))
        return uars.index(max(uars))

    return choose


def search(estimator, settings, x, y, speakers, emotions):
    """Nested leave-one-speaker-out: predicted labels, and the selected setting for each speaker."""
    predictions, selected = np.empty_like(y), {}
    grid = [{f"model__{name}": [value] for name, value in setting.items()} for setting in settings]
    for train, test in LeaveOneGroupOut().split(x, y, speakers):
        found = GridSearchCV(
            Pipeline([("scaler", StandardScaler()), ("model", estimator)]),
            grid,
            scoring=hits_and_counts(emotions),
            refit=best_pooled(emotions),
            cv=LeaveOneGroupOut(),
            n_jobs=-1,
        ).fit(x[train], y[train], groups=speakers[train])
        predictions[test] = found.predict(x[test])
        selected[str(speakers[test][0])] = int(found.best_index_)
    return predictions, selected


def main():
    """Time one search once the libraries are imported and the workers are up."""
    warnings.simplefilter("ignore")
    table = np.load(sys.argv[2])
    x, y, speakers = table["x"].astype(np.float64), table["labels"], table["speakers"]
    emotions = sorted(set(y.tolist()))
    model, settings = model_and_settings(sys.argv[1], x.shape[1])
    search(clone(model).set_params(**CHEAP[sys.argv[1]]), [{}], x, y, speakers, emotions)
    started = time.perf_counter()
    predictions, selected = search(model, settings, x, y, speakers, emotions)
    seconds = time.perf_counter() - started
    found = dict(zip(table["utterances"].tolist(), predictions.tolist(), strict=True))
    with open(sys.argv[3], "w") as file:
        json.dump({"seconds": seconds, "labels": found, "selected": selected}, file)


if __name__ == "__main__":
    main()
