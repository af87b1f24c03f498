"""Statistics against plain loops, other libraries' results and published examples."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, ttest_ind, ttest_rel
from sklearn.metrics import recall_score

from serbench.errors import ScoreError
from serbench.metrics import METRICS, uar_of_present
from serbench.stats import (
    ALPHA,
    EXACT_UP_TO,
    STATISTICS,
    against_best,
    can_be_tested,
    gap_interval,
    holm,
    jackknife_interval,
    range_p,
    rank_over,
    sign_flip_p,
    smallest_p,
    uar_shares,
    war_shares,
)


def predictions(n_speakers=6, n_emotions=3, takes=5, seed=0, hit=0.6):
    """Speakers, truths and predictions of utterances."""
    rng = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(n_speakers), n_emotions * takes)
    truth = np.tile(np.repeat(np.arange(n_emotions), takes), n_speakers)
    guess = rng.integers(n_emotions, size=len(truth))
    return speaker, truth, np.where(rng.random(len(truth)) < hit, truth, guess)


def stack_of(speaker, truth, predicted, n_emotions=3):
    stack = np.zeros((speaker.max() + 1, n_emotions, n_emotions), dtype=np.int64)
    np.add.at(stack, (speaker, truth, predicted), 1)
    return stack


def test_jackknife_is_that_of_a_plain_loop_over_left_out_speakers():
    speaker, truth, predicted = predictions()
    interval = jackknife_interval(stack_of(speaker, truth, predicted), STATISTICS["uar"], bounds=(0, 1))
    whole = recall_score(truth, predicted, average="macro")
    pseudo = []
    for one in np.unique(speaker):
        rest = speaker != one
        pseudo.append(6 * whole - 5 * recall_score(truth[rest], predicted[rest], average="macro"))
    expected = ttest_1samp(pseudo, 0).confidence_interval(0.95)
    reach = (expected.high - expected.low) / 2
    assert interval.low == pytest.approx(whole - reach)
    assert interval.high == pytest.approx(whole + reach)
    assert interval.n_units == 6


def test_interval_of_a_mean_is_students():
    values = np.array([3.0, 5.0, 4.0, 8.0])
    stack = np.stack([values, np.ones(4)], axis=1)
    interval = jackknife_interval(stack, lambda totals: totals[:, 0] / totals[:, 1], bounds=(-100, 100))
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval.ends == pytest.approx((expected.low, expected.high))


def test_interval_stays_within_what_a_metric_can_be_and_one_speaker_has_none():
    stack = np.array([[[9, 1], [0, 10]], [[10, 0], [3, 7]], [[10, 0], [0, 10]]])
    interval = jackknife_interval(stack, STATISTICS["uar"], bounds=(0, 1))
    assert interval.high == 1.0
    assert interval.low > 0.5
    assert jackknife_interval(stack[:1], STATISTICS["uar"], bounds=(0, 1)) is None


@given(st.lists(st.lists(st.integers(0, 4), min_size=9, max_size=9), min_size=1, max_size=5))
def test_statistics_of_many_pools_are_the_metrics_of_each(pools):
    stack = np.array(pools).reshape(-1, 3, 3)
    one_by_one = {**METRICS, "uar": uar_of_present}
    for name, statistic in STATISTICS.items():
        filled = stack[stack.sum(axis=(1, 2)) > 0] if name != "macro_f1" else stack[stack.sum(axis=2).all(axis=1)]
        expected = [one_by_one[name](confusion) for confusion in filled]
        assert statistic(filled) == pytest.approx(np.array(expected, dtype=float)), name


def test_macro_f1_of_a_pool_without_an_emotion_is_over_the_others():
    pool = np.array([[3, 1, 0], [1, 3, 0], [0, 0, 0]])
    assert STATISTICS["macro_f1"](pool[None]) == pytest.approx([METRICS["macro_f1"](pool[:2, :2])])


def test_gap_of_means_has_welchs_interval():
    one, other = np.array([3.0, 5.0, 4.0, 8.0, 6.0]), np.array([2.0, 2.5, 4.0])
    stacks = [np.stack([values, np.ones(len(values))], axis=1) for values in (one, other)]
    interval = gap_interval(*stacks, lambda totals: totals[:, 0] / totals[:, 1], bounds=(-100, 100))
    expected = ttest_ind(one, other, equal_var=False).confidence_interval(0.95)
    assert interval.ends == pytest.approx((expected.low, expected.high))
    assert gap_interval(stacks[0], stacks[1][:1], STATISTICS["war"], bounds=(-1, 1)) is None


def test_empty_pool_has_no_uar():
    assert np.isnan(STATISTICS["uar"](np.zeros((1, 2, 2), dtype=int))).all()


@given(st.integers(0, 50), st.integers(2, 8))
def test_shares_of_speakers_sum_to_the_metric(seed, n_speakers):
    stack = stack_of(*predictions(n_speakers, seed=seed))
    assert uar_shares(stack).sum() == pytest.approx(METRICS["uar"](stack.sum(axis=0)))
    assert war_shares(stack).sum() == pytest.approx(METRICS["war"](stack.sum(axis=0)))


def test_pool_that_lacks_an_emotion_is_not_tested():
    with pytest.raises(ScoreError, match="no utterance of label 1"):
        uar_shares(np.array([[[1, 0], [0, 0]]]))


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=8))
def test_sign_flip_is_that_of_trying_every_flip(differences):
    observed = abs(sum(differences))
    flips = itertools.product((1, -1), repeat=len(differences))
    sums = [abs(sum(sign * d for sign, d in zip(signs, differences, strict=True))) for signs in flips]
    expected = np.mean([total >= observed for total in sums])
    # Of a lattice of small integers the two tails are the same, but a sum of 0 lies in both.
    assert sign_flip_p(np.array(differences, dtype=float)) == pytest.approx(min(1.0, expected))


def test_sign_flip_of_many_units_draws_and_finds_the_same_again():
    rng = np.random.default_rng(0)
    differences = rng.normal(0.3, 1, size=EXACT_UP_TO + 11)
    assert sign_flip_p(differences) == sign_flip_p(differences)
    assert sign_flip_p(differences) == pytest.approx(ttest_1samp(differences, 0).pvalue, abs=0.05)
    assert sign_flip_p(np.ones(24)) == smallest_p(24)


@pytest.mark.parametrize("n_units", [2, 4, 6, 10, 13])
def test_smallest_p_is_reached_when_every_unit_agrees(n_units):
    assert sign_flip_p(np.linspace(1, 2, n_units)) == pytest.approx(smallest_p(n_units))


def test_four_speakers_can_test_nothing_and_six_one_comparison():
    assert not can_be_tested(4, 1)
    assert can_be_tested(6, 1)
    assert not can_be_tested(6, 2)
    assert can_be_tested(10, 11)
    assert not can_be_tested(10, 0)


@settings(max_examples=15)  # statsmodels collects garbage at every call
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_is_that_of_statsmodels(p):
    from statsmodels.stats.multitest import multipletests

    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_range_test_of_two_methods_is_the_paired_t_test():
    rng = np.random.default_rng(1)
    shares = rng.normal(size=(8, 2)) / 10 + [0.1, 0.05]
    (p,) = range_p(shares, np.array([np.diff(shares.sum(axis=0))[0]]))
    assert p == pytest.approx(ttest_rel(shares[:, 0], shares[:, 1]).pvalue, abs=1e-6)


def test_range_test_of_many_is_tukeys_of_statsmodels_for_blocks():
    # Kutner's textbook form: the gap of means over sqrt(MSE / n_blocks), by the table of the studentized range.
    rng = np.random.default_rng(2)
    shares = rng.normal(size=(12, 5))
    means = shares.mean(axis=0)
    fitted = shares.mean(axis=1, keepdims=True) + means - shares.mean()
    error = ((shares - fitted) ** 2).sum() / (11 * 4)
    q_at_5_percent = 4.04  # of 5 means and 44 degrees of freedom, between the printed 4.04 (40) and 3.98 (60)
    gap = q_at_5_percent * np.sqrt(error / 12) * 12
    assert range_p(shares, np.array([gap]))[0] == pytest.approx(0.05, abs=0.002)


def test_methods_without_any_spread_are_equal_or_not():
    shares = np.tile([0.1, 0.1, 0.2], (4, 1))
    assert range_p(shares, np.array([0.0, 0.4])).tolist() == [1.0, 0.0]


def test_best_is_compared_with_each_other_and_p_is_never_below_holms():
    stacks = {i: stack_of(*predictions(10, seed=i, hit=hit)) for i, hit in enumerate((0.95, 0.75, 0.3))}
    best, others = against_best(stacks, "uar")
    assert best == 0
    flips = holm([sign_flip_p(uar_shares(stacks[0]) - uar_shares(stacks[i])) for i in (1, 2)])
    assert all(others[i].p >= flip for i, flip in zip((1, 2), flips, strict=True))
    assert others[2].is_different
    gap = METRICS["uar"](stacks[0].sum(axis=0)) - METRICS["uar"](stacks[2].sum(axis=0))
    assert others[2].difference == pytest.approx(gap)
    assert others[2].interval.low > 0


def test_first_of_equals_is_the_best_and_cannot_be_told_apart():
    stack = stack_of(*predictions(8))
    best, others = against_best({"a": stack, "b": stack.copy()}, "war")
    assert best == "a"
    assert others["b"].p == 1.0
    assert others["b"].interval.ends == (0, 0)


def test_too_few_speakers_give_no_p():
    stacks = {i: stack_of(*predictions(4, seed=i, hit=hit)) for i, hit in enumerate((1.0, 0.0))}
    _, others = against_best(stacks, "uar")
    assert others[1].p is None
    assert not others[1].is_different


def test_equal_methods_are_rarely_called_worse():
    """A coarse look; docs/statistics.md has the figures."""
    wrong = 0
    for run in range(30):
        stacks = {i: stack_of(*predictions(10, seed=100 * run + i)) for i in range(3)}
        _, others = against_best(stacks, "uar")
        wrong += any(comparison.is_different for comparison in others.values())
    assert wrong / 30 <= ALPHA + 2.6 * np.sqrt(ALPHA * (1 - ALPHA) / 30)


def test_critical_difference_is_that_of_demsars_example():
    """Demsar (JMLR 2006), section 3.2.4: 4 classifiers on 14 data sets differ by at least 1.25 mean ranks."""
    rng = np.random.default_rng(0)
    ranking = rank_over({name: rng.random(14).tolist() for name in "abcd"})
    assert ranking.critical_difference == pytest.approx(1.25, abs=0.005)
    assert ranking.can_be_drawn


def test_ranks_share_ties_and_three_corpora_cannot_be_drawn():
    ranking = rank_over({"a": [0.9, 0.8, 0.7], "b": [0.9, 0.6, 0.5], "c": [0.1, 0.6, 0.4]})
    assert ranking.mean_ranks == pytest.approx(
        {"a": (1.5 + 1 + 1) / 3, "b": (1.5 + 2.5 + 2) / 3, "c": (3 + 2.5 + 3) / 3}
    )
    assert not ranking.can_be_drawn
    assert rank_over({"a": [1.0], "b": [0.5], "c": [0.2]}) is None
    assert rank_over({"a": [1.0, 1.0], "b": [0.5, 0.5]}) is None
    assert rank_over({name: [0.5, 0.5] for name in "abc"}).p == 1.0
