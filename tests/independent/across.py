"""Protocols across corpora in plain scikit-learn: the loops a careful researcher would write, one for each protocol.

They import nothing from serbench. A table has the columns `utterance`, `emotion`, `speaker`, `corpus` and `language`
and features `x0`, `x1`, ...; rows are sorted by utterance. Every function yields (rows to test, rows to train on, pairs
of rows to validate and to train on for that), as boolean arrays.
"""

import numpy as np
from nested_loso import DEFAULT, estimators, pooled_uar
from sklearn.preprocessing import StandardScaler


def cross(table, target, source):
    train = table["corpus"] == source
    people = table["speaker"][train].unique()
    inner = [(table["speaker"] == who, train & (table["speaker"] != who)) for who in people]
    yield table["corpus"] == target, train, inner


def loco(table, target):
    train = table["corpus"] != target
    inner = [(table["corpus"] == out, train & (table["corpus"] != out)) for out in table["corpus"][train].unique()]
    yield table["corpus"] == target, train, inner


def lolo(table, target):
    own = table["language"][table["corpus"] == target].iloc[0]
    train = table["language"] != own
    several = [name for name in ("language", "corpus") if table[name][train].nunique() > 1]
    parts = several[0] if several else "speaker"
    inner = [(table[parts] == out, train & (table[parts] != out)) for out in table[parts][train].unique()]
    yield table["corpus"] == target, train, inner


def pooled(table, target):
    people = table["speaker"][table["corpus"] == target].unique()
    for tested in people:
        train = table["speaker"] != tested
        inner = [(table["speaker"] == who, train & (table["speaker"] != who)) for who in people if who != tested]
        yield table["speaker"] == tested, train, inner


def adapt(table, target, source, drawn):
    for tested in table["speaker"][table["corpus"] == target].unique():
        train = (table["corpus"] == source) | table["utterance"].isin(drawn[tested])
        people = table["speaker"][train].unique()
        inner = [(train & (table["speaker"] == who), train & (table["speaker"] != who)) for who in people]
        yield table["speaker"] == tested, train, inner


def holdout(table, train_people, test_people):
    train = table["speaker"].isin(train_people)
    inner = [(table["speaker"] == who, train & (table["speaker"] != who)) for who in train_people]
    yield table["speaker"].isin(test_people), train, inner


def scaled(table, x, train, test, scaling):
    """Scale the rows to train on and to test: by the training rows, or each speaker or corpus by itself."""
    if scaling == "train":
        scaler = StandardScaler().fit(x[train])
        return scaler.transform(x[train]), scaler.transform(x[test])
    out = np.full(x.shape, np.nan)
    for unit in table[scaling].unique():
        own = (table[scaling] == unit).to_numpy()
        known = own if scaling == "speaker" or not (own & train).any() else own & train
        out[own] = StandardScaler().fit(x[known]).transform(x[own])
    return out[train], out[test]


def predict(table, evaluations, family, *, scaling="train", weights=None):
    """Predictions by the setting that validation selects and by the default, for the rows tested; "" elsewhere."""
    x = table[[c for c in table if c.startswith("x")]].to_numpy(np.float64)
    y = table["emotion"].to_numpy(str)
    makes = estimators(family, x.shape[1])
    tuned, default = (np.full(len(y), "", dtype=y.dtype) for _ in range(2))

    def fitted(make, train, test):
        train_x, test_x = scaled(table, x, train, test, scaling)
        given = {} if weights is None else {"sample_weight": weights[train]}
        return make().fit(train_x, y[train], **given).predict(test_x)

    for test, train, inner in evaluations:
        test, train = test.to_numpy(), train.to_numpy()
        pairs = [(held.to_numpy(), rest.to_numpy()) for held, rest in inner]
        truth = np.concatenate([y[held] for held, _ in pairs])
        scores = [
            pooled_uar(truth, np.concatenate([fitted(make, rest, held) for held, rest in pairs])) for make in makes
        ]
        tuned[test] = fitted(makes[scores.index(max(scores))], train, test)
        default[test] = fitted(makes[DEFAULT[family]], train, test)
    return tuned, default
