import audmetric
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, f1_score

from serbench.errors import ScoreError
from serbench.scores.metrics import (
    ALL_METRICS,
    METRICS,
    confusions,
    kappa,
    macro_f1,
    recalls,
    uar,
    war,
)
from serbench.scores.rules import best_setting

LABELS = st.lists(st.integers(0, 3), min_size=8, max_size=60)


def confusion_matrix(truth, prediction, n_labels):
    return confusions(pd.DataFrame({"truth": truth, "prediction": prediction}), n_emotions=n_labels)


def pools(truth, prediction):
    return np.array([0, 1, 2, 3, *truth]), np.array([0, 0, 0, 0, *prediction])


@given(truth=LABELS, prediction=LABELS)
def test_metrics_agree_with_audmetric_and_scikit_learn(truth, prediction):
    n = min(len(truth), len(prediction))
    t, p = pools(truth[:n], prediction[:n])
    confusion = confusion_matrix(t, p, n_labels=4)
    labels = [0, 1, 2, 3]
    assert uar(confusion) == pytest.approx(audmetric.unweighted_average_recall(t, p, labels=labels))
    assert war(confusion) == pytest.approx(audmetric.accuracy(t, p, labels=labels))
    assert kappa(confusion) == pytest.approx(cohen_kappa_score(t, p, labels=labels))
    assert macro_f1(confusion) == pytest.approx(f1_score(t, p, labels=labels, average="macro", zero_division=0))


def test_fold_without_an_emotion_averages_over_those_present():
    confusion = confusion_matrix(np.array([0, 0, 1]), np.array([0, 2, 1]), n_labels=3)
    assert uar(confusion) == uar(confusion[None])[0] == 0.75
    assert np.isnan(recalls(confusion)[2])


def test_ties_between_settings_are_exact_and_the_earlier_wins():
    truth = np.repeat([0, 1, 2], 10)
    wrong = {0: 1, 1: 2, 2: 0}
    codes = np.array(
        [[t if i % 10 < of[t] else wrong[t] for i, t in enumerate(truth)] for of in ((0, 1, 10), (7, 1, 3))]
    )
    floats = [sum(hit / 10 for hit in of) for of in ((0, 1, 10), (7, 1, 3))]
    assert floats[0] != floats[1]  # 0.7 + 0.1 + 0.3 is not 1.1
    assert best_setting(codes, truth, n_emotions=3) == 0
    assert best_setting(codes[::-1], truth, n_emotions=3) == 0
    better = np.concatenate([codes, truth[np.newaxis]])
    assert best_setting(better, truth, n_emotions=3) == 2


def test_codes_outside_the_label_set_are_an_error():
    with pytest.raises(ScoreError, match=r"prediction codes 0..5. Expected 0..1"):
        confusion_matrix(np.array([0, 1]), np.array([0, 5]), n_labels=2)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_keeps_what_its_entry_promises(name):
    metric, rng = METRICS[name], np.random.default_rng(0)
    stack = rng.integers(0, 9, size=(50, 3, 3)) + np.eye(3, dtype=np.int64)
    assert metric(stack) == pytest.approx([metric(confusion) for confusion in stack])
    assert metric(np.diag([1, 1, 2])) == metric.bounds[1] == 1
    assert metric.bounds[0] <= metric(stack).min() <= metric(stack).max() <= 1
    if metric.has_chance:  # one emotion for all utterances is no better whichever it is
        counts = np.array([5, 3, 2])
        assert metric.chance(counts) == max(metric(counts[:, None] * np.eye(3, dtype=np.int64)[i]) for i in range(3))
    if metric.shares:
        assert metric.shares(stack).sum() == pytest.approx(metric(stack.sum(axis=0)))


def test_chance_is_one_emotion_at_random_in_uar_and_the_most_frequent_one_in_accuracy():
    found = {name: metric.chance(np.array([5, 3, 2])) for name, metric in METRICS.items()}
    assert (found["uar"], found["war"], found["kappa"], found["macro_f1"]) == (1 / 3, 0.5, 0, None)


def test_names_of_metrics_differ_wherever_they_are_read():
    assert len({metric.name for metric in ALL_METRICS.values()}) == len(ALL_METRICS)
    assert len({metric.short_name for metric in ALL_METRICS.values()}) == len(ALL_METRICS)
