"""The checks for plug-ins find what they are for; that sound records pass is held by the contract tests."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from serbench.classifiers import CLASSIFIERS, Swept, loop_sweep
from serbench.errors import PluginError
from serbench.testing import check_classifier, check_feature_set


class Extractor:
    """Mean and spread, NaN below 20 ms, with one fault or none."""

    columns = ("mean", "spread")
    buffer = np.zeros(2, dtype=np.float32)
    last = 0.0

    def __init__(self, fault=""):
        self.fault = fault
        if fault == "names":
            self.columns = ("mean", "mean")

    def __call__(self, mono):
        if len(mono) < 320 and self.fault != "short":
            return np.full(2, np.nan, dtype=np.float32)
        row = np.array([mono.mean(), mono.std()], dtype=np.float32)
        if self.fault == "type":
            return row.astype(np.float64)
        if self.fault == "series":
            return pd.Series(row)
        if self.fault == "size":
            return row[:1]
        if self.fault == "nan":
            row[0] = np.nan
        if self.fault == "samples":
            mono -= mono.mean()
        if self.fault == "memory":
            row[0], self.last = row[0] + self.last, float(row[0])
        if self.fault == "buffer":
            self.buffer[:] = row
            return self.buffer
        return row


def test_sound_feature_set_passes(fake_feature_set):
    check_feature_set(dataclasses.replace(fake_feature_set, open=Extractor))


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("type", r"feature set 'fake': ndarray of shape \(2,\) and type float64\. Expected .* type float32"),
        ("series", r"Series of shape \(2,\) and type float32\. Expected an array"),
        ("size", r"ndarray of shape \(1,\) and type float32\. Expected an array of shape \(2,\)"),
        ("nan", r"1 features of a second of noise that are not finite"),
        ("names", r"2 names of features, 1 of them distinct\. Expected 2 distinct names"),
        ("samples", r"samples altered by the extractor"),
        ("short", r"numbers for 0\.01 s less than shortest_s\. Expected NaN"),
        ("memory", r"rows that depend on the order of recordings"),
        ("buffer", r"rows that later calls alter"),
        ({"shortest_s": 0.01}, r"not finite for 0\.01 s of noise"),
        ({"name": "two words"}, r"the name 'two words'\. Expected letters"),
    ],
    ids=str,
)
def test_fault_of_an_extractor_or_a_field_of_its_feature_set_is_found(fake_feature_set, fault, words):
    change = fault if isinstance(fault, dict) else {"open": lambda: Extractor(fault)}
    with pytest.raises(PluginError, match=words):
        check_feature_set(dataclasses.replace(fake_feature_set, **{"open": Extractor, **change}))


def test_what_is_no_record_is_told():
    with pytest.raises(PluginError, match=r"an object of type str\. Expected a FeatureSet"):
        check_feature_set("IS09")
    with pytest.raises(PluginError, match=r"an object of type str\. Expected a Classifier"):
        check_classifier("svc")


def sweep_one_label_off(classifier, settings, training, held, *, seed):
    swept = loop_sweep(classifier, settings, training, held, seed=seed)
    predictions = swept.predictions.copy()
    predictions[0, 0] = (predictions[0, 0] + 1) % 3
    return Swept(predictions, ())


def sweep_of_one_setting(classifier, settings, training, held, *, seed):
    return loop_sweep(classifier, settings[:1], training, held, seed=seed)


def sweep_that_centres(classifier, settings, training, held, *, seed):
    swept = loop_sweep(classifier, settings, training, held, seed=seed)
    held[:] -= held.mean(axis=0)
    return swept


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sweep": sweep_one_label_off}, r"classifier 'knn': 1 of 180 predictions unlike those of single fits"),
        ({"sweep": sweep_of_one_setting}, r"predictions of shape \(1, 30\)\. Expected one per setting .*\(6, 30\)"),
        ({"sweep": sweep_that_centres}, r"predictions unlike those|rows altered by the sweep"),
        ({"takes_weights": True, "fit_weights": lambda training: None}, r"the same predictions whatever the weights"),
        ({"default": {"k": 2}}, r"the default {'k': 2}\. Expected one of the settings"),
    ],
    ids=["label", "shape", "rows", "weights", "default"],
)
def test_fault_of_a_classifier_is_found(change, words):
    with pytest.raises(PluginError, match=words):
        check_classifier(dataclasses.replace(CLASSIFIERS["knn"], **{"sweep": loop_sweep, **change}))
