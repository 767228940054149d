"""Slope, intercept and the calibration error by chance: closed forms, brute force and coverage."""

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, logit
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM

from medimg.evaluation.calibration import reliability
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.recalibration import calibration_of, cox, miscalibration, update_of, updated


def drawn(n: int = 4000, seed: int = 0):
    """Probabilities and labels that agree."""
    draw = np.random.default_rng(seed)
    p = expit(draw.normal(-0.5, 1.5, n).clip(-5, 5))
    return p, draw.random(n) < p


def binary(truth, p, threshold=0.5):
    return Predictions("binary", ("no", "yes"), truth.astype(int), np.column_stack([1 - p, p]), threshold)


def test_right_probabilities_have_slope_1_and_intercept_0():
    p, truth = drawn(40_000)
    found = cox(truth, p, np.arange(len(p)))
    assert found["slope"]["value"] == pytest.approx(1, abs=0.04)
    assert found["intercept"]["value"] == pytest.approx(0, abs=0.03)
    for name, right in (("slope", 1), ("intercept", 0)):
        assert found[name]["low"] < right < found[name]["high"]


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_the_slope_is_one_over_what_log_odds_were_multiplied_by(factor):
    p, truth = drawn()
    right = cox(truth, p, np.arange(len(p)))["slope"]["value"]
    wrong = cox(truth, expit(factor * logit(p)), np.arange(len(p)))["slope"]["value"]
    assert wrong == pytest.approx(right / factor, rel=1e-6)


def test_the_intercept_is_what_log_odds_were_shifted_by():
    p, truth = drawn()
    right = cox(truth, p, np.arange(len(p)))["intercept"]["value"]
    assert cox(truth, expit(logit(p) + 0.7), np.arange(len(p)))["intercept"]["value"] == pytest.approx(right - 0.7)


def test_both_are_the_likeliest_by_brute_force():
    p, truth = drawn(300, seed=3)
    p = expit(1.7 * logit(p) + 0.3)

    def loss(a, b):
        z = a + b * logit(p)
        return np.logaddexp(0, z).sum() - z[truth].sum()

    both = minimize(lambda x: loss(*x), [0, 1], tol=1e-12).x
    alone = minimize(lambda x: loss(x[0], 1), [0], tol=1e-12).x
    found = cox(truth, p, np.arange(len(p)))
    assert found["slope"]["value"] == pytest.approx(both[1], rel=1e-4)
    assert found["intercept"]["value"] == pytest.approx(alone[0], rel=1e-4)
    assert update_of(truth, p) == pytest.approx(tuple(both), rel=1e-4)
    mended = cox(truth, updated(p, *update_of(truth, p)), np.arange(len(p)))
    assert mended["slope"]["value"] == pytest.approx(1)
    assert mended["intercept"]["value"] == pytest.approx(0, abs=1e-9)


def test_the_interval_is_statsmodels_and_defined_where_theirs_is_not():
    draw = np.random.default_rng(3)
    odds = draw.normal(0, 2, 300)
    truth = draw.random(300) < expit(0.4 + 0.7 * odds)
    groups = np.arange(300) // 2
    model = GLM(truth.astype(float), np.column_stack([np.ones(300), odds]), Binomial())
    theirs = model.fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    slope = cox(truth, expit(odds), groups)["slope"]
    assert [slope["value"], slope["low"], slope["high"]] == pytest.approx([theirs.params[1], *theirs.conf_int()[1]])
    # Another exposure: steep about another place, and rows that are certain there.
    odds = np.concatenate([draw.uniform(-8, -1, 280), [16.0] * 20])
    truth = draw.random(300) < expit(18 + 4.4 * odds)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        slope = cox(truth, expit(odds), np.arange(300))["slope"]
    assert 4 < slope["low"] < slope["value"] < slope["high"] < 10


def test_copies_of_a_patients_rows_don_t_narrow_the_interval():
    p, truth = drawn(400)
    once = cox(truth, p, np.arange(400))
    four = cox(np.repeat(truth, 4), np.repeat(p, 4), np.repeat(np.arange(400), 4))
    for name in ("slope", "intercept"):
        assert four[name]["value"] == pytest.approx(once[name]["value"])
        width = once[name]["high"] - once[name]["low"]
        assert four[name]["high"] - four[name]["low"] == pytest.approx(width, rel=0.01)


def test_undefined_where_nothing_can_be_fitted():
    none = {"value": None, "low": None, "high": None}
    assert cox(np.ones(5, bool), np.full(5, 0.7), np.arange(5)) == {"slope": none, "intercept": none}
    separated = cox(np.array([False, False, True, True]), np.array([0.1, 0.2, 0.3, 0.9]), np.arange(4))
    assert separated["slope"] == none
    assert separated["intercept"]["value"] is not None
    alone = cox(np.array([False, True, False, True]), np.array([0.1, 0.2, 0.3, 0.9]), np.zeros(4, int))
    assert alone["slope"]["value"] is not None
    assert alone["slope"]["low"] is None


def test_the_error_by_chance_is_that_of_drawn_labels():
    p, truth = drawn(300)
    ece = calibration_of(binary(truth, p), np.arange(300), 2000)["ece"]
    draw = np.random.default_rng(5)
    brute = [reliability(draw.random(300) < p, p).error for _ in range(2000)]
    assert ece["value"] == reliability(truth, p).error
    assert ece["expected"] == pytest.approx(np.mean(brute), rel=0.03)
    assert ece["limit"] == pytest.approx(np.quantile(brute, 0.95), rel=0.03)


def test_exclusive_classes_are_drawn_by_their_probabilities():
    draw = np.random.default_rng(2)
    p = draw.dirichlet([1, 2, 3], 200)
    target = (draw.random(200)[:, None] > np.cumsum(p, axis=1)).sum(axis=1)
    found = calibration_of(Predictions("multiclass", ("a", "b", "c"), target, p), np.arange(200), 2000)
    brute = []
    for _ in range(2000):
        y = (draw.random(200)[:, None] > np.cumsum(p, axis=1)).sum(axis=1)
        brute.append(np.mean([reliability(y == k, p[:, k]).error for k in range(3)]))
    assert found["ece"]["expected"] == pytest.approx(np.mean(brute), rel=0.03)
    assert set(found["per_class"]) == {"a", "b", "c"}


def test_right_probabilities_are_seldom_doubted_and_doubled_log_odds_are():
    doubted = 0
    for seed in range(60):
        p, truth = drawn(300, seed)
        doubted += bool(miscalibration(calibration_of(binary(truth, p), np.arange(300), 200, seed)))
        if seed < 10:
            wrong = calibration_of(binary(truth, expit(2 * logit(p))), np.arange(300), 200, seed)
            assert any("too extreme" in reason for reason in miscalibration(wrong))
    # Three looks at 5% each.
    assert doubted <= 14


def test_rows_of_a_patient_go_together_in_the_error_by_chance():
    p, truth = drawn(100)
    alone = calibration_of(binary(np.repeat(truth, 5), np.repeat(p, 5)), np.arange(500), 500)
    together = calibration_of(binary(np.repeat(truth, 5), np.repeat(p, 5)), np.repeat(np.arange(100), 5), 500)
    single = calibration_of(binary(truth, p), np.arange(100), 500)
    assert together["ece"]["limit"] == pytest.approx(single["ece"]["limit"], rel=0.1)
    assert alone["ece"]["limit"] < 0.7 * together["ece"]["limit"]
