"""Statistics against plain loops, other libraries' results and published examples."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare, permutation_test, ttest_1samp, ttest_ind
from sklearn.metrics import recall_score

from serbench.errors import ScoreError
from serbench.scores.metrics import METRICS, uar_shares, war_shares
from serbench.scores.statistics import (
    ALPHA,
    EXACT_UP_TO,
    against_best,
    flip_p,
    gap_interval,
    gap_p,
    jackknife_interval,
    rank_over,
    shares_of,
    smallest_p,
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
    interval = jackknife_interval(stack_of(speaker, truth, predicted), METRICS["uar"], bounds=(0, 1))
    whole = recall_score(truth, predicted, average="macro")
    pseudo = []
    for one in np.unique(speaker):
        rest = speaker != one
        pseudo.append(6 * whole - 5 * recall_score(truth[rest], predicted[rest], average="macro"))
    expected = ttest_1samp(pseudo, 0).confidence_interval(0.95)
    reach = (expected.high - expected.low) / 2
    assert interval.low == pytest.approx(whole - reach)
    assert interval.high == pytest.approx(whole + reach)


def test_interval_of_a_mean_is_students():
    values = np.array([3.0, 5.0, 4.0, 8.0])
    stack = np.stack([values, np.ones(4)], axis=1)
    interval = jackknife_interval(stack, lambda totals: totals[:, 0] / totals[:, 1], bounds=(-100, 100))
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert interval == pytest.approx((expected.low, expected.high))


def test_interval_stays_within_what_a_metric_can_be_and_three_speakers_have_none():
    stack = np.array([[[9, 1], [0, 10]], [[10, 0], [3, 7]], [[10, 0], [0, 10]], [[10, 0], [0, 10]]])
    interval = jackknife_interval(stack, METRICS["uar"], bounds=(0, 1))
    assert interval.high == 1.0
    assert interval.low > 0.5
    assert jackknife_interval(stack[:3], METRICS["uar"], bounds=(0, 1)) is None


@given(st.lists(st.lists(st.integers(0, 4), min_size=9, max_size=9), min_size=1, max_size=5))
def test_statistics_of_many_pools_are_the_metrics_of_each(pools):
    stack = np.array(pools).reshape(-1, 3, 3)
    for name, statistic in METRICS.items():
        filled = stack[stack.sum(axis=(1, 2)) > 0]
        expected = [statistic(confusion) for confusion in filled]
        assert statistic(filled) == pytest.approx(np.array(expected, dtype=float)), name


def test_gap_of_means_has_the_interval_and_the_p_of_welch():
    one, other = np.array([3.0, 5.0, 4.0, 8.0, 6.0]), np.array([2.0, 2.5, 4.0, 3.0])
    stacks = [np.stack([values, np.ones(len(values))], axis=1) for values in (one, other)]
    expected = ttest_ind(one, other, equal_var=False)

    def mean(totals):
        return totals[:, 0] / totals[:, 1]

    interval = gap_interval(*stacks, mean, bounds=(-100, 100))
    assert interval == pytest.approx((expected.confidence_interval(0.95).low, expected.confidence_interval(0.95).high))
    assert gap_p(*stacks, mean, 0.0) == pytest.approx(expected.pvalue)
    assert gap_interval(stacks[0], stacks[1][:3], mean, bounds=(-100, 100)) is None


@given(st.integers(0, 50), st.integers(2, 8))
def test_shares_of_speakers_sum_to_the_metric(seed, n_speakers):
    stack = stack_of(*predictions(n_speakers, seed=seed))
    assert uar_shares(stack).sum() == pytest.approx(METRICS["uar"](stack.sum(axis=0)))
    assert war_shares(stack).sum() == pytest.approx(METRICS["war"](stack.sum(axis=0)))
    with pytest.raises(ScoreError, match="no utterance of label 1"):
        uar_shares(np.array([[[1, 0], [0, 0]]]))


def test_units_that_are_all_alike_have_no_interval():
    always = np.tile([[4, 0], [4, 0]], (5, 1, 1))
    assert jackknife_interval(always, METRICS["uar"], bounds=(0, 1)) is None
    assert gap_interval(always, always, METRICS["uar"], bounds=(-1, 1)) is None


contrasts_of_units = st.integers(2, 7).flatmap(
    lambda n: st.lists(st.lists(st.integers(-5, 5), min_size=n, max_size=n), min_size=1, max_size=4)
)


@given(contrasts_of_units)
def test_p_is_that_of_a_plain_loop_over_flips_and_steps(contrasts):
    """Westfall and Young's step-down, written out: clearest first, each against the largest of what is left."""
    left = sorted(range(len(contrasts)), key=lambda i: -abs(sum(contrasts[i])))
    expected, lowest = {}, 0.0
    while left:
        observed = abs(sum(contrasts[left[0]]))
        largest = [
            max(abs(sum(s * d for s, d in zip(signs, contrasts[i], strict=True))) for i in left)
            for signs in itertools.product((1, -1), repeat=len(contrasts[0]))
        ]
        lowest = max(lowest, np.mean([value >= observed for value in largest]))
        expected[left.pop(0)] = lowest
    assert flip_p(np.array(contrasts, dtype=float).T) == pytest.approx([expected[i] for i in range(len(contrasts))])


@given(st.integers(0, 50))
def test_p_of_a_single_contrast_is_scipys(seed):
    contrast = np.random.default_rng(seed).normal(0.5, 1, size=7)
    scipys = permutation_test((contrast,), np.sum, permutation_type="samples", vectorized=True, rng=0)
    assert flip_p(contrast[:, np.newaxis]) == pytest.approx(scipys.pvalue)


def test_many_units_are_flipped_at_random_and_give_the_same_again():
    contrast = np.random.default_rng(0).normal(0.3, 1, size=(EXACT_UP_TO + 11, 1))
    assert flip_p(contrast) == flip_p(contrast)
    assert flip_p(contrast) == pytest.approx(ttest_1samp(contrast[:, 0], 0).pvalue, abs=0.05)
    assert flip_p(np.ones((24, 1))) == smallest_p(24)


@pytest.mark.parametrize("n_units", [2, 4, 6, 10, 13])
def test_smallest_p_is_reached_when_every_unit_agrees_however_many_tests_there_are(n_units):
    clear = np.linspace(1, 2, n_units)
    doubtful = np.random.default_rng(0).normal(0, 0.1, size=(n_units, 40))
    assert flip_p(np.column_stack([clear, doubtful]))[0] == pytest.approx(smallest_p(n_units))


def ten_speakers(*hits):
    return {i: stack_of(*predictions(10, seed=i, hit=hit)) for i, hit in enumerate(hits)}


def test_dummies_change_no_p_of_others():
    stacks = ten_speakers(0.9, 0.7, 0.65)
    dummy = np.zeros_like(stacks[0])
    dummy[:, :, 0] = stacks[0].sum(axis=2)
    best, alone = against_best(stacks, "uar")
    _, beside = against_best({**stacks, "d1": dummy, "d2": dummy}, "uar", references=["d1", "d2"])
    assert {name: beside[name].p for name in (1, 2)} == {name: alone[name].p for name in (1, 2)}
    assert best == 0
    assert beside["d1"] == beside["d2"]
    assert beside["d1"].is_different


def test_rows_that_nobody_doubts_do_not_hide_others():
    """By the largest of all differences alone, one bad row would hide the others; steps leave it out."""
    stacks = ten_speakers(0.95, 0.5)
    _, alone = against_best(stacks, "uar")
    _, beside = against_best({**stacks, "bad": ten_speakers(0.95, 0.5, 0.0)[2]}, "uar")
    assert alone[1].p == smallest_p(10)
    assert beside[1].p <= 0.01
    copies = {f"copy {i}": stacks[1] for i in range(5)}
    _, many = against_best({**stacks, **copies}, "uar")
    assert many[1].p == alone[1].p


def test_the_family_is_all_pairs_as_the_best_was_picked_on_the_same_data():
    stacks = ten_speakers(0.62, 0.6, 0.6, 0.6)
    shares = {name: uar_shares(stack) for name, stack in stacks.items()}
    best, others = against_best(stacks, "uar")
    pairs = list(itertools.combinations(stacks, 2))
    p = dict(zip(pairs, flip_p(np.stack([shares[a] - shares[b] for a, b in pairs], axis=1)), strict=True))
    for name, comparison in others.items():
        assert comparison.p == p[tuple(sorted((best, name)))]


def test_a_difference_has_the_value_and_the_interval_of_a_plain_loop_over_left_out_speakers():
    made = [predictions(10, seed=i, hit=hit) for i, hit in enumerate((0.95, 0.75, 0.3))]
    best, others = against_best({i: stack_of(*of) for i, of in enumerate(made)}, "uar")
    assert best == 0
    speaker = made[0][0]
    for name, comparison in others.items():
        gaps = []
        for kept in (speaker >= 0, *(speaker != one for one in range(10))):
            uars = [recall_score(of[1][kept], of[2][kept], average="macro") for of in (made[0], made[name])]
            gaps.append(uars[0] - uars[1])
        reach = np.ptp(ttest_1samp(10 * gaps[0] - 9 * np.array(gaps[1:]), 0).confidence_interval(0.95)) / 2
        assert comparison.difference == pytest.approx(gaps[0])
        assert comparison.interval == pytest.approx((gaps[0] - reach, gaps[0] + reach))


def test_equal_methods_are_rarely_called_worse():
    """The only look at false positives; docs/statistics.md has the figures."""
    wrong, runs = 0, 500
    for run in range(runs):
        stacks = {i: stack_of(*predictions(10, seed=100 * run + i)) for i in range(3)}
        _, others = against_best(stacks, "uar")
        wrong += any(comparison.is_different for comparison in others.values())
    assert wrong / runs <= ALPHA + 2.6 * np.sqrt(ALPHA * (1 - ALPHA) / runs)


@pytest.mark.parametrize("metric", METRICS)
def test_shares_against_the_value_itself_add_up_to_nothing(metric):
    stack = stack_of(*predictions(12, seed=3, takes=20))
    shares, weights = shares_of(stack, METRICS[metric])
    assert weights.sum() == pytest.approx(1)
    assert shares.sum() == pytest.approx(METRICS[metric](stack.sum(axis=0)), abs=0.01)  # pseudo-values: nearly


def test_too_few_speakers_give_no_p_and_the_first_of_equals_is_the_best():
    stacks = {i: stack_of(*predictions(4, seed=i, hit=hit)) for i, hit in enumerate((1.0, 0.0))}
    _, others = against_best(stacks, "uar")
    assert (others[1].p, others[1].is_different) == (None, False)
    stack = stack_of(*predictions(8))
    best, others = against_best({"a": stack, "b": stack.copy()}, "war")
    assert (best, others["b"].p, others["b"].interval) == ("a", 1.0, None)


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


def test_p_of_ranks_is_exact_with_few_corpora_and_friedmans_with_many():
    """Three methods ranked alike in two corpora: one of six orders of the second, whatever chi-squared says."""
    few = {"a": [0.9, 0.8], "b": [0.7, 0.6], "c": [0.5, 0.4]}
    assert rank_over(few).p == pytest.approx(1 / 6, abs=0.012)
    rng = np.random.default_rng(0)
    many = {name: (rng.random(40) + shift).tolist() for name, shift in (("a", 0.1), ("b", 0), ("c", 0))}
    assert rank_over(many).p == pytest.approx(friedmanchisquare(*many.values()).pvalue, abs=0.03)
