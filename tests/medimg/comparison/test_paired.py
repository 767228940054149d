"""Paired tests against closed forms."""

from math import comb

import numpy as np
import pytest
from scipy.stats import binomtest

from medimg.comparison.delong import delong
from medimg.comparison.paired import difference, mcnemar
from medimg.evaluation.intervals import cluster_bootstrap
from medimg.evaluation.metrics import METRICS
from medimg.evaluation.predictions import Predictions


def predictions(right):
    """A binary model that is right where `right` says."""
    targets = np.arange(len(right)) % 2
    called = np.where(right, targets, 1 - targets)
    return Predictions("binary", ("a", "b"), targets, np.stack([1 - called, called], 1) * 1.0, 0.5)


def test_mcnemar_is_the_binomial_of_discordant_rows():
    first = np.array([1] * 8 + [0] * 2 + [1] * 5 + [0] * 3, bool)
    second = np.array([0] * 8 + [1] * 2 + [1] * 5 + [0] * 3, bool)
    result = mcnemar(predictions(first), predictions(second))
    assert (result.first_only, result.second_only) == (8, 2)
    assert result.p == pytest.approx(2 * sum(comb(10, k) for k in range(3)) / 2**10)


def test_mcnemar_without_discordant_rows_tells_nothing():
    one = predictions(np.arange(9) > 2)
    assert mcnemar(one, one).p == 1.0


def test_mcnemar_of_several_classes_counts_right_rows():
    targets = np.array([0, 1, 2, 0])
    wrong = np.eye(3)[[1, 1, 2, 0]]
    perfect, other = (Predictions("multiclass", ("a", "b", "c"), targets, p) for p in (np.eye(3)[targets], wrong))
    result = mcnemar(perfect, other)
    assert (result.first_only, result.second_only, result.p) == (1, 0, 1.0)


def test_difference_takes_the_same_resample_of_both():
    draw = np.random.default_rng(0)
    one, patients = predictions(draw.random(80) < 0.7), np.arange(80) // 2
    accuracy = METRICS.index("accuracy")
    replicates = cluster_bootstrap(one.measure, patients, 200, seed=3)[:, 0, accuracy]
    assert replicates.std() > 0.02
    same = difference(0.7, 0.7, replicates, replicates, 40)
    # Of 40 patients none differs: a share of those who do would have to be small not to show.
    reach = binomtest(0, 40).proportion_ci(method="exact").high
    assert (same.value, same.low, same.high, same.p) == (0.0, pytest.approx(-reach), pytest.approx(reach), 1.0)


@pytest.mark.parametrize("n", [1, 3, 6, 30])
def test_p_of_one_right_and_one_wrong_on_every_patient_is_mcnemars(n):
    right, wrong = predictions(np.full(n, True)), predictions(np.full(n, False))
    accuracy = METRICS.index("accuracy")
    draws = [cluster_bootstrap(one.measure, np.arange(n), 200)[:, 0, accuracy] for one in (right, wrong)]
    gap = difference(1.0, 0.0, *draws, n)
    assert gap.p == pytest.approx(mcnemar(right, wrong).p)
    # Who would show the contrary counts twice.
    others = binomtest(0, n).proportion_ci(method="exact").high
    assert (gap.low, gap.high) == (pytest.approx(1 - 2 * others), 1.0)
    assert (gap.low > 0) == (gap.p < 0.05)
    mirrored = difference(0.0, 1.0, *draws[::-1], n)
    assert (mirrored.low, mirrored.high, mirrored.p) == (-1.0, pytest.approx(-gap.low), gap.p)


@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_where_patients_agree_the_true_difference_is_seldom_left_out(value):
    n, share = 12, np.linspace(0.0, 0.9, 10)
    gap = difference(value, 0.0, np.full(50, value), np.zeros(50), n)
    for other in (-1.0, 1.0):
        # A share of patients differs so: how often does a sample of n show none of them.
        true, unseen = (1 - share) * value + share * other, (1 - share) ** n
        is_left_out = (true < gap.low - 1e-12) | (true > gap.high + 1e-12)
        assert unseen[is_left_out].max(initial=0.0) <= 0.025


def test_p_is_twice_the_smaller_tail_and_never_zero():
    replicates = np.concatenate([np.full(3, -0.1), np.full(96, 0.2)])
    result = difference(0.9, 0.8, replicates, np.zeros(99), 50)
    assert result.p == pytest.approx(2 * 4 / 100)
    assert difference(0.9, 0.8, replicates + 0.2, np.zeros(99), 50).p == pytest.approx(2 / 100)
    mirrored = difference(0.8, 0.9, np.zeros(99), replicates, 50)
    assert (mirrored.p, mirrored.low) == (result.p, -result.high)


def test_undefined_resamples_are_left_out_in_pairs():
    first = np.array([0.5, np.nan, 0.7, 0.9])
    second = np.array([0.4, 0.4, np.nan, 0.6])
    result = difference(0.5, 0.4, first, second, 9)
    assert result.left_out == 2
    assert result.low == pytest.approx(0.105)
    assert difference(0.5, 0.4, first[:2], second[:2], 9).p is None


def test_bootstrap_p_holds_its_level_and_finds_a_difference():
    draw = np.random.default_rng(1)
    found = {0.0: 0, 0.25: 0}
    trials, n = 150, 120
    for gain in found:
        for trial in range(trials):
            common = draw.random(n) < 0.4
            first = common | (draw.random(n) < 0.4 + gain)
            second = common | (draw.random(n) < 0.4)
            both = np.stack([first, second], axis=1)
            resampled = cluster_bootstrap(lambda w, x=both: w @ x / n, np.arange(n), 300, trial)
            p = difference(first.mean(), second.mean(), *resampled.T, n).p
            found[gain] += p < 0.05
    assert found[0.0] / trials < 0.11
    assert found[0.25] / trials > 0.5


def ranked(first_positives, second_positives, negatives: int):
    """Two models' scores of a few positives among negatives that both rank alike."""
    truth = np.repeat([1, 0], [len(first_positives), negatives])
    below = np.linspace(0.0, 0.5, negatives)
    return [
        Predictions("binary", ("a", "b"), truth, np.stack([1 - p, p], axis=1), 0.5)
        for p in (np.r_[first_positives, below], np.r_[second_positives, below])
    ]


@pytest.mark.parametrize("positives", [2, 3, 5, 9])
def test_few_patients_who_all_say_so_are_little_evidence(positives):
    """Each positive is ranked higher by the first, by different amounts, so that no two resamples are the same."""
    first, second = ranked(np.full(positives, 0.9), np.linspace(0.45, 0.3, positives), 60)
    patients, auroc = np.arange(positives + 60), METRICS.index("auroc")
    draws = [cluster_bootstrap(one.measure, patients, 400)[:, 0, auroc] for one in (first, second)]
    values = [one.measure(np.ones((1, len(patients))))[0, 0, auroc] for one in (first, second)]
    gap = difference(*values, *draws, positives)
    assert np.nanstd(draws[0] - draws[1]) > 0.001
    # All signs alike, of so many.
    assert gap.p == pytest.approx(max(2 / 2**positives, 2 / (1 + (~np.isnan(draws[1])).sum())))
    assert (gap.low > 0) == (gap.p < 0.05)
    tested = delong(first.truth[:, 1], first.probabilities[:, 1], second.probabilities[:, 1])
    assert tested.p >= 2 / 2**positives
    assert (tested.low > 0) == (tested.p < 0.05)


@pytest.mark.parametrize("differ", [1, 2, 4, 5])
def test_of_few_who_differ_no_more_is_said_than_by_mcnemars_test(differ):
    """Of 100 patients one model alone is right on a few: the bootstrap of 4 of these leaves out 0."""
    accuracy, patients = METRICS.index("accuracy"), np.arange(100)
    pair = predictions(patients < 90), predictions(patients < 90 - differ)
    draws = [cluster_bootstrap(one.measure, patients, 1000)[:, 0, accuracy] for one in pair]
    gap = difference(0.9, 0.9 - differ / 100, *draws, 100)
    exact = mcnemar(*pair).p
    assert gap.p > 0.05
    assert gap.p == pytest.approx(exact, rel=0.4, abs=0.02) or gap.p > exact
    assert gap.low <= 0 < gap.high
    mirrored = difference(0.9 - differ / 100, 0.9, *draws[::-1], 100)
    assert (mirrored.p, mirrored.low, mirrored.high) == pytest.approx((gap.p, -gap.high, -gap.low))


def test_delong_of_equal_ranks_is_no_point():
    first, second = ranked(np.full(4, 0.9), np.full(4, 0.8), 30)
    tested = delong(first.truth[:, 1], first.probabilities[:, 1], second.probabilities[:, 1])
    reach = binomtest(0, 4).proportion_ci(method="exact").high
    assert (tested.low, tested.high, tested.p) == (pytest.approx(-reach), pytest.approx(reach), 1.0)
