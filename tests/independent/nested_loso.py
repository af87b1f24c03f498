"""Nested leave-one-speaker-out on EmoDB in plain scikit-learn: the loop a careful researcher would write.

It imports nothing from serbench and starts from the audio, so that the two can be compared label for label. Nothing
is merged, cached or reordered for speed. Use it as a program (`python nested_loso.py FOLDER_OF_WAVS svc`) or call
`nested` on a table of your own.
"""

import re
import sys
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.class_weight import compute_sample_weight

SEED = 0


def estimators(family, n_features):
    """The settings of a family in the order of the design, each as a function that makes an unfitted estimator."""
    if family == "svc":
        linear = [("linear", c, "scale") for c in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1)]
        rbf = [("rbf", c, g / n_features) for c in (0.1, 1, 10, 100) for g in (0.1, 0.3, 1, 3)]
        return [lambda k=k, c=c, g=g: SVC(kernel=k, C=c, gamma=g, class_weight="balanced") for k, c, g in linear + rbf]
    if family == "rf":
        return [
            lambda m=m, leaf=leaf: RandomForestClassifier(
                300, max_features=m, min_samples_leaf=leaf, class_weight="balanced", random_state=SEED
            )
            for m in ("sqrt", 0.2)
            for leaf in (1, 4)
        ]
    if family == "mlp":
        return [
            lambda h=h, a=a: MLPClassifier((h,), alpha=a, max_iter=200, random_state=SEED)
            for h in (64, 128, 256)
            for a in (1e-4, 1e-2, 1)
        ]
    if family == "logistic":
        return [
            lambda c=c: LogisticRegression(C=c, class_weight="balanced", max_iter=1000, random_state=SEED)
            for c in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1)
        ]
    if family == "linear-svc":
        return [
            lambda c=c: LinearSVC(C=c, class_weight="balanced", random_state=SEED)
            for c in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1)
        ]
    if family == "knn":
        return [lambda k=k: KNeighborsClassifier(k) for k in (1, 3, 5, 9, 15, 25)]
    return [lambda: DummyClassifier(strategy="most_frequent")]


DEFAULT = {
    "svc": 6 + 4 + 2,  # rbf, C = 1, gamma = 1 / n_features
    "rf": 0,
    "mlp": 3,
    "logistic": 3,
    "linear-svc": 3,
    "knn": 2,
    "dummy": 0,
}


def fit_predict(make, train_x, train_y, test_x, *, balanced_by_rows):
    """Fit scaler and estimator on the training rows, predict the test rows."""
    scaler = StandardScaler().fit(train_x)
    estimator = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if balanced_by_rows:
            weights = compute_sample_weight("balanced", train_y)
            estimator.fit(scaler.transform(train_x), train_y, sample_weight=weights)
        else:
            estimator.fit(scaler.transform(train_x), train_y)
        return estimator.predict(scaler.transform(test_x))


def pooled_uar(truth, prediction):
    """Unweighted average recall as an exact fraction over the emotions present in the truth."""
    recalls = [
        Fraction(int(np.sum((truth == e) & (prediction == e))), int(np.sum(truth == e))) for e in np.unique(truth)
    ]
    return sum(recalls) / len(recalls)


def nested(family, x, y, speakers, outers=None):
    """Predictions of nested leave-one-speaker-out, those of the default setting, and the selected settings.

    `outers` are the speakers to test on; None for all.
    """
    x = np.asarray(x, dtype=np.float64)
    makes = estimators(family, x.shape[1])
    by_rows = family == "mlp"
    selected, tuned, default = {}, np.empty_like(y), np.empty_like(y)
    for outer in np.unique(speakers) if outers is None else outers:
        rest = speakers != outer
        scores = []
        for make in makes:
            inner_truth, inner_prediction = [], []
            for inner in np.unique(speakers[rest]):
                train, held_out = rest & (speakers != inner), speakers == inner
                inner_truth.append(y[held_out])
                inner_prediction.append(fit_predict(make, x[train], y[train], x[held_out], balanced_by_rows=by_rows))
            scores.append(pooled_uar(np.concatenate(inner_truth), np.concatenate(inner_prediction)))
        best = scores.index(max(scores))
        selected[str(outer)] = best
        for setting, out in ((best, tuned), (DEFAULT[family], default)):
            out[~rest] = fit_predict(makes[setting], x[rest], y[rest], x[~rest], balanced_by_rows=by_rows)
    return tuned, default, selected


def nested_texts(family, x, y, speakers, texts):
    """As `nested`, but nothing that says a text of the test is trained on or used to select.

    Each text is held out by itself. Gives predictions, those of the default setting, and the settings selected.
    """
    x = np.asarray(x, dtype=np.float64)
    makes = estimators(family, x.shape[1])
    by_rows = family == "mlp"
    selected, tuned, default = {}, np.empty_like(y), np.empty_like(y)
    for text in np.unique(texts):
        known = texts != text
        for outer in np.unique(speakers):
            test, rest = (speakers == outer) & ~known, (speakers != outer) & known
            scores = []
            for make in makes:
                inner_truth, inner_prediction = [], []
                for inner in np.unique(speakers[rest]):
                    train, held = rest & (speakers != inner), rest & (speakers == inner)
                    inner_truth.append(y[held])
                    inner_prediction.append(fit_predict(make, x[train], y[train], x[held], balanced_by_rows=by_rows))
                scores.append(pooled_uar(np.concatenate(inner_truth), np.concatenate(inner_prediction)))
            best = scores.index(max(scores))
            selected[str(outer), str(text)] = best
            for setting, out in ((best, tuned), (DEFAULT[family], default)):
                out[test] = fit_predict(makes[setting], x[rest], y[rest], x[test], balanced_by_rows=by_rows)
    return tuned, default, selected


def emodb(folder):
    """IS09 functionals, emotions and speakers of the five-emotion EmoDB, ordered by file name."""
    import opensmile

    names = {"W": "anger", "A": "fear", "F": "happiness", "T": "sadness", "N": "neutral"}
    smile = opensmile.Smile(opensmile.FeatureSet.IS09, opensmile.FeatureLevel.Functionals)
    files = [f for f in sorted(Path(folder).glob("*.wav")) if re.search("[WAFTN][a-z].wav$", f.name)]
    x = np.concatenate([smile.process_file(f).to_numpy() for f in files])
    y = np.array([names[f.name[5]] for f in files])
    return x, y, np.array([f.name[:2] for f in files]), [f.name for f in files]


def main():
    x, y, speakers, _ = emodb(sys.argv[1])
    tuned, default, selected = nested(sys.argv[2], x, y, speakers)
    print(f"{sys.argv[2]}: {len(y)} utterances, nested UAR {float(pooled_uar(y, tuned)):.4f}")
    print(f"default UAR {float(pooled_uar(y, default)):.4f}, selected settings {selected}")


if __name__ == "__main__":
    main()
