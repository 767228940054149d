"""Tests over folds and over seeds against their formulas."""

import numpy as np
import pytest
from scipy import stats

from medimg.comparison.folds import corrected_t, fold_tests
from medimg.comparison.seeds import seed_tests

FIRST = np.array([0.91, 0.88, 0.93, 0.90, 0.87])
SECOND = np.array([0.89, 0.85, 0.92, 0.86, 0.87])


def test_corrected_t_is_nadeau_and_bengio():
    gap = FIRST - SECOND
    variance = (1 / 5 + 0.25) * gap.var(ddof=1)
    result = corrected_t(FIRST, SECOND, ratio=0.25)
    assert result.t == pytest.approx(gap.mean() / np.sqrt(variance))
    assert result.p == pytest.approx(2 * stats.t.sf(result.t, 4))
    reach = stats.t.ppf(0.975, 4) * np.sqrt(variance)
    assert (result.low, result.high) == pytest.approx((gap.mean() - reach, gap.mean() + reach))


def test_without_the_correction_it_is_the_paired_t_test():
    expected = stats.ttest_rel(FIRST, SECOND)
    result = corrected_t(FIRST, SECOND, ratio=0.0)
    assert (result.t, result.p) == pytest.approx((expected.statistic, expected.pvalue))


def test_folds_that_all_differ_alike_have_no_t():
    assert corrected_t(FIRST, FIRST, 0.25).p == 1.0
    assert corrected_t(FIRST, FIRST - 0.125, 0.25).p is None
    # A point would look like certainty, and two folds that agree are none.
    for second in (FIRST, FIRST - 0.125):
        result = corrected_t(FIRST[:2], second[:2], 0.25)
        assert (result.low, result.high) == (None, None)
    with pytest.raises(ValueError, match="1 and 1 folds"):
        corrected_t(FIRST[:1], FIRST[:1], 0.25)


def test_anova_of_two_models_is_the_squared_paired_t():
    result = fold_tests(np.stack([FIRST, SECOND]))
    expected = stats.ttest_rel(FIRST, SECOND)
    assert result.f == pytest.approx(expected.statistic**2)
    assert result.p == pytest.approx(expected.pvalue)
    assert (result.df, result.chi2) == ((1, 4), None)


def test_anova_with_blocks_by_sums_of_squares():
    values = np.stack([FIRST, SECOND, np.array([0.8, 0.84, 0.86, 0.8, 0.81])])
    models, folds = values.shape
    grand = values.mean()
    between = folds * ((values.mean(axis=1) - grand) ** 2).sum()
    blocks = models * ((values.mean(axis=0) - grand) ** 2).sum()
    rest = ((values - grand) ** 2).sum() - between - blocks
    result = fold_tests(values)
    assert result.f == pytest.approx((between / 2) / (rest / 8))
    assert result.p == pytest.approx(stats.f.sf(result.f, 2, 8))
    # Ranks: the third is last in every fold; the first and second tie in the fifth.
    ranks = np.array([[3, 3, 3, 3, 2.5], [2, 2, 2, 2, 2.5], [1, 1, 1, 1, 1]])
    assert result.chi2 == pytest.approx(stats.friedmanchisquare(*ranks).statistic)


def test_models_without_any_variation_are_not_tested():
    same = np.stack([FIRST, FIRST, FIRST])
    result = fold_tests(same)
    assert (result.f, result.p, result.chi2) == (None, None, None)


def test_seeds_by_sums_of_squares():
    groups = [np.array([0.80, 0.82, 0.81]), np.array([0.85, 0.84]), np.array([0.79, 0.83, 0.80])]
    everything = np.concatenate(groups)
    within = sum(((g - g.mean()) ** 2).sum() for g in groups)
    between = sum(len(g) * (g.mean() - everything.mean()) ** 2 for g in groups)
    result = seed_tests(groups)
    assert result.eta_squared == pytest.approx(between / (between + within))
    assert result.f == pytest.approx((between / 2) / (within / 5))
    assert result.p == pytest.approx(stats.f.sf(result.f, 2, 5))
    assert set(result.tukey) == {(0, 1), (0, 2), (1, 2)}
    pair = result.tukey[0, 1]
    # Tukey and Kramer: the studentised range of 3 means, with the pair's own standard error.
    error = np.sqrt(within / 5 / 2 * (1 / 3 + 1 / 2))
    assert pair["difference"] == pytest.approx(groups[0].mean() - groups[1].mean())
    assert pair["p"] == pytest.approx(stats.studentized_range.sf(abs(pair["difference"]) / error, 3, 5), abs=1e-6)


def test_seeds_that_change_nothing_leave_nothing_to_test():
    constant = seed_tests([np.array([0.8, 0.8]), np.array([0.9, 0.9])])
    assert (constant.f, constant.p) == (None, None)
    assert constant.eta_squared == pytest.approx(1.0)
    assert seed_tests([np.array([0.8, 0.8])] * 2).eta_squared is None
    with pytest.raises(ValueError, match="two seeds"):
        seed_tests([np.array([0.8]), np.array([0.9, 0.8])])
