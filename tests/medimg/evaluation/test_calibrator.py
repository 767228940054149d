"""Calibrators recover what made the logits wrong, and the served graph computes them alike."""

import numpy as np
import pytest
from scipy.special import expit, logit, softmax
from sklearn.isotonic import IsotonicRegression

from medimg.evaluation.calibrator import calibrated, fit, log_odds
from medimg.evaluation.prediction import probabilities

METHODS = ("temperature", "platt", "isotonic")


def drawn(task: str, n: int = 20_000, seed: int = 0):
    """Logits that are right, and labels drawn from them."""
    draw = np.random.default_rng(seed)
    classes = 2 if task == "binary" else 3
    logits = draw.normal(0, 1.5, (n, classes))
    if task == "multilabel":
        return logits, draw.random((n, classes)) < expit(logits)
    p = softmax(logits, axis=1)
    target = (draw.random(n)[:, None] > np.cumsum(p, axis=1)).sum(axis=1).clip(0, classes - 1)
    return logits, target[:, None] == np.arange(classes)


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_temperature_finds_the_factor_that_logits_were_multiplied_by(task, factor):
    logits, truth = drawn(task)
    found = fit("temperature", factor * logits, truth, task, tuple("abc")[: truth.shape[1]])
    for one in found["classes"].values():
        assert one["temperature"] == pytest.approx(factor, rel=0.05)
    assert found["notes"] == []
    right = probabilities(logits, task)
    np.testing.assert_allclose(calibrated(factor * logits, task, found), right, atol=0.02)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_all_methods_mend_logits_that_are_too_large(method, task):
    logits, truth = drawn(task)
    p = calibrated(3 * logits, task, fit(method, 3 * logits, truth, task, tuple("abc")[: truth.shape[1]]))
    # One-against-the-rest maps of a softmax are no exact answer, but most of the way.
    assert np.abs(p - probabilities(logits, task)).mean() < 0.03 < np.abs(probabilities(3 * logits, task) - p).mean()
    if task != "multilabel":
        np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)


def test_platt_finds_slope_and_intercept_of_the_log_odds():
    logits, truth = drawn("binary")
    wrong = 2 * logits + np.array([1.0, 0.0])
    found = fit("platt", wrong, truth, "binary", ("a", "b"))["classes"]["b"]
    assert found["slope"] == pytest.approx(0.5, rel=0.05)
    assert found["intercept"] == pytest.approx(0.5, abs=0.05)


def test_isotonic_is_that_of_scikit_learn_and_never_sure():
    logits, truth = drawn("binary", 300)
    p = calibrated(logits, "binary", fit("isotonic", logits, truth, "binary", ("a", "b")))[:, 1]
    margin = logits[:, 1] - logits[:, 0]
    expected = IsotonicRegression(y_min=1 / 302, y_max=1 - 1 / 302).fit(margin, truth[:, 1]).predict(margin)
    np.testing.assert_allclose(p, expected, atol=1e-12)
    assert p.min() >= 1 / 302
    assert p.max() <= 1 - 1 / 302


@pytest.mark.parametrize("method", METHODS)
def test_binary_order_is_kept(method):
    logits, truth = drawn("binary", 500)
    p = calibrated(logits, "binary", fit(method, logits, truth, "binary", ("a", "b")))[:, 1]
    rising = np.diff(p[np.argsort(logits[:, 1] - logits[:, 0])])
    assert (rising >= -1e-12).all()
    assert method == "isotonic" or (rising > 0).all()


def test_what_can_not_be_fitted_stays_and_is_named():
    logits, truth = drawn("multilabel", 200)
    truth[:, 1] = False
    for method in METHODS:
        found = fit(method, logits, truth, "multilabel", ("a", "b", "c"))
        np.testing.assert_allclose(calibrated(logits, "multilabel", found)[:, 1], expit(logits[:, 1]), rtol=1e-12)
        assert any("of b" in note for note in found["notes"])
    separated = np.array([[0.0, -1.0], [0.0, -2.0], [0.0, 1.0], [0.0, 2.0]])
    right = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], bool)
    assert "separated" in fit("temperature", separated, right, "binary", ("a", "b"))["notes"][0]
    # Platt's smoothed targets have an answer even then.
    assert fit("platt", separated, right, "binary", ("a", "b"))["notes"] == []
    # Worse than chance: nothing turns the order round.
    assert fit("platt", -separated, right, "binary", ("a", "b"))["classes"]["b"] == {"slope": 1.0, "intercept": 0.0}


def test_log_odds_are_those_of_the_probabilities():
    logits, _ = drawn("multiclass", 50)
    np.testing.assert_allclose(log_odds(logits, "multiclass"), logit(softmax(logits, axis=1)), rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_the_served_graph_computes_the_same(method, task):
    import tensorflow as tf

    from medimg.models.calibration import probabilities_of

    logits, truth = drawn(task, 400)
    found = fit(method, logits, truth, task, tuple("abc")[: truth.shape[1]])
    # Beyond both ends of what the calibrator was fitted on too.
    asked = np.concatenate([logits, 20 * logits[:50], -20 * logits[:50]])
    served = tf.function(lambda x: probabilities_of(x, task, found))(tf.constant(asked, tf.float64)).numpy()
    np.testing.assert_allclose(served, calibrated(asked, task, found), atol=1e-12)
