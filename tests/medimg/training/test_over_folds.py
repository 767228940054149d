"""Mean over folds and its interval against closed forms."""

import math

import pytest
from scipy.stats import t

from medimg.training.cross_validation import over_folds


def test_nadeau_and_bengio_by_hand():
    result = over_folds([0.8, 0.9, 0.85], [20, 20, 20], [80, 80, 80])
    assert result["mean"] == pytest.approx(0.85)
    assert result["sd"] == pytest.approx(0.05)
    half = t.ppf(0.975, 2) * 0.05 * math.sqrt(1 / 3 + 0.25)
    assert result["low"] == pytest.approx(0.85 - half)
    assert result["high"] == pytest.approx(min(1.0, 0.85 + half))


def test_folds_without_the_metric_are_left_out_and_shown():
    result = over_folds([0.8, None, 0.9], [10, 10, 10], [40, 40, 40])
    assert result["values"] == [0.8, None, 0.9]
    assert result["mean"] == pytest.approx(0.85)


def test_one_fold_has_no_spread_and_none_has_no_mean():
    assert over_folds([0.7, None], [1, 1], [1, 1])["sd"] is None
    assert over_folds([None, None], [1, 1], [1, 1])["mean"] is None


def test_bounds_stay_in_range():
    result = over_folds([0.2, 1.0], [10, 10], [10, 10])
    assert (result["low"], result["high"]) == (0.0, 1.0)


def test_folds_that_agree_are_no_certainty():
    """Two folds of two patients each, all of them right."""
    for values in ([1.0, 1.0], [0.3, 0.1 + 0.2]):
        result = over_folds(values, [2, 2], [2, 2])
        assert (result["mean"], result["low"], result["high"]) == (pytest.approx(values[0]), None, None)
