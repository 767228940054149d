"""DeLong's covariance against its definition, row by row."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from medimg.comparison.delong import auroc_covariance, delong


def scores(seed=0, n=60, models=3):
    """Scores with many ties, and one model that is another's noisy copy."""
    draw = np.random.default_rng(seed)
    truth = np.arange(n) % 3 == 0
    base = draw.normal(truth, 1, n)
    values = np.stack([base, base + draw.normal(0, 0.7, n), draw.normal(0, 1, n)])
    return truth, np.round(values[:models], 1)


def brute_force(truth, values):
    """Structural components as DeLong, DeLong and Clarke-Pearson write them: psi over all pairs."""
    positive, negative = values[:, truth], values[:, ~truth]
    above = positive[:, :, None] > negative[:, None, :]
    equal = positive[:, :, None] == negative[:, None, :]
    psi = above + 0.5 * equal
    v10, v01 = psi.mean(axis=2), psi.mean(axis=1)
    theta = psi.mean(axis=(1, 2))
    m, n = positive.shape[1], negative.shape[1]
    s10 = sum(np.outer(v10[:, i] - theta, v10[:, i] - theta) for i in range(m)) / (m - 1)
    s01 = sum(np.outer(v01[:, j] - theta, v01[:, j] - theta) for j in range(n)) / (n - 1)
    return theta, s10 / m + s01 / n


@pytest.mark.parametrize("seed", range(4))
def test_midranks_equal_all_pairs(seed):
    truth, values = scores(seed)
    aurocs, covariance = auroc_covariance(truth, values)
    expected, expected_covariance = brute_force(truth, values)
    assert aurocs == pytest.approx(expected, abs=1e-12)
    assert covariance == pytest.approx(expected_covariance, abs=1e-12)
    assert aurocs == pytest.approx([roc_auc_score(truth, v) for v in values], abs=1e-12)


def test_statistic_interval_and_p_follow_from_the_covariance():
    truth, values = scores(5)
    theta, covariance = brute_force(truth, values)
    sd = np.sqrt(covariance[0, 0] + covariance[2, 2] - 2 * covariance[0, 2])
    result = delong(truth, values[0], values[2])
    assert result.difference == pytest.approx(theta[0] - theta[2])
    assert result.z == pytest.approx((theta[0] - theta[2]) / sd)
    assert result.p == pytest.approx(2 * norm.cdf(-abs(result.z)))
    assert result.low == pytest.approx(result.difference + norm.ppf(0.025) * sd)
    assert result.high == pytest.approx(result.difference + norm.ppf(0.975) * sd)


def test_the_same_ranking_differs_by_nothing():
    truth, values = scores()
    result = delong(truth, values[0], 3 * values[0] - 1)
    assert (result.difference, result.z, result.p) == (0.0, None, 1.0)


def test_one_positive_has_no_variance():
    truth = np.array([True, False, False, False])
    assert delong(truth, np.arange(4.0), np.arange(4.0)[::-1]) is None
    with pytest.raises(ValueError, match="1 positives"):
        auroc_covariance(truth, np.arange(4.0))


def test_p_is_uniform_where_there_is_no_difference():
    draw = np.random.default_rng(8)
    truth = np.arange(100) < 40
    p = []
    for _ in range(400):
        signal = draw.normal(truth, 1)
        p.append(delong(truth, signal + draw.normal(0, 1, 100), signal + draw.normal(0, 1, 100)).p)
    # A share of 400 that is 0.05 has a standard error of 0.011.
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.035)
    assert np.mean(np.array(p) < 0.5) == pytest.approx(0.5, abs=0.09)
