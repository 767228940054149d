"""Intervals against closed forms and statsmodels."""

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from medimg.evaluation import intervals
from medimg.evaluation.intervals import cluster_bootstrap, cluster_weights, percentile_interval, wilson_interval


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize(("hits", "n"), [(0, 5), (1, 3), (7, 20), (20, 20), (480, 1000)])
def test_wilson_equals_statsmodels(hits, n, level):
    expected = proportion_confint(hits, n, alpha=1 - level, method="wilson")
    assert wilson_interval(hits, n, level) == pytest.approx(expected, abs=1e-9)


def test_wilson_without_trials_knows_nothing_and_refuses_impossible_counts():
    assert wilson_interval(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="hits 3"):
        wilson_interval(3, 2)


def test_a_resample_draws_as_many_patients_and_all_rows_of_each():
    patients = np.array(["b", "a", "a", "c", "b", "b"])
    weights = np.concatenate(list(cluster_weights(patients, 200, seed=1)))
    assert weights.shape == (200, 6)
    assert (weights[:, 1] == weights[:, 2]).all()
    assert (weights[:, 0] == weights[:, 4]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()
    # A patient is drawn once on average, with the multinomial's variance n (1/n) (1 - 1/n).
    many = np.concatenate(list(cluster_weights(patients, 20_000, seed=2)))
    assert many.mean(axis=0) == pytest.approx(np.ones(6), abs=0.02)
    assert many.var(axis=0) == pytest.approx(np.full(6, 2 / 3), abs=0.03)


def test_the_seed_alone_decides_not_the_block(monkeypatch):
    patients = np.arange(50) // 2
    whole = np.concatenate(list(cluster_weights(patients, 30, seed=3)))
    monkeypatch.setattr(intervals, "BLOCK_WEIGHTS", 200)
    pieces = list(cluster_weights(patients, 30, seed=3))
    assert len(pieces) > 1
    assert (np.concatenate(pieces) == whole).all()
    assert (np.concatenate(list(cluster_weights(patients, 30, seed=4))) != whole).any()


def test_spread_is_that_of_patients_not_of_images():
    # Ten copies of each patient's outcome carry no more than one: sd = sqrt(p (1 - p) / patients).
    outcome = np.repeat(np.arange(100) < 30, 10)
    patients = np.repeat(np.arange(100), 10)
    means = cluster_bootstrap(lambda w: w @ outcome / w.sum(axis=1), patients, 4000, seed=0)
    assert means.std() == pytest.approx(np.sqrt(0.3 * 0.7 / 100), rel=0.05)


def test_coverage_of_an_accuracy_is_nominal():
    draw = np.random.default_rng(5)
    n, truth, trials = 200, 0.8, 400
    covered = 0
    for trial in range(trials):
        right = draw.random(n) < truth
        means = cluster_bootstrap(lambda w, r=right: w @ r / n, np.arange(n), 400, seed=trial)
        interval = percentile_interval(means)
        covered += interval.low <= truth <= interval.high
    # The binomial spread of 400 trials is 1.1 points; the percentile interval is slightly short.
    assert 0.91 <= covered / trials <= 0.98


def test_undefined_resamples_are_left_out_and_counted():
    interval = percentile_interval(np.array([np.nan, 0.1, 0.2, np.nan, 0.3]))
    assert interval.left_out == 2
    assert 0.1 <= interval.low < interval.high <= 0.3
    assert percentile_interval(np.array([np.nan, 0.5])).low is None
