"""Brightness, texture and shape: each feature blind to the other groups, shares where they were drawn, refusals."""

import json

import cv2
import numpy as np
import pytest

from explain.appearance.surrogate import LEAST, attribute, log_odds, shap_values
from explain.commands import appearance as printed
from explain.config import ExplainConfig
from explain.explain import explain
from medimg.evaluation.intervals import Measured
from medimg.inspection.appearance import FEATURES, GROUPS, NAMES, measure

S = 48


def drawn(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Ellipses in noise (N, S, S, 1): how bright, how coarse the noise, how long the ellipse, each in -1..1 (N, 3)."""
    draw = np.random.default_rng(seed)
    causes = draw.uniform(-1, 1, (n, 3))
    y, x = np.mgrid[:S, :S] - (S - 1) / 2
    images = []
    for brightness, coarseness, length in causes:
        noise = cv2.GaussianBlur(draw.normal(size=(S, S)), (0, 0), 1.2 * 2**coarseness)
        inside = x**2 * 2**length + y**2 / 2**length <= (0.22 * S) ** 2
        images.append(110 + 40 * brightness + 30 * inside + 8 * noise / noise.std())
    return np.stack(images)[..., None], causes


@pytest.fixture(scope="module")
def measured():
    images, causes = drawn(300)
    return measure(images), causes


@pytest.mark.parametrize("cause", FEATURES)
@pytest.mark.parametrize("confident", [False, True])
def test_the_share_is_the_group_that_decides(measured, cause, confident):
    features, causes = measured
    scores = causes[:, list(FEATURES).index(cause)]
    scores = 4 * np.sign(scores) if confident else scores
    told = attribute(features[:200], scores[:200], features[200:], scores[200:], np.arange(100), 0)
    assert told["r2"]["low"] > 0.6
    assert told["shares"][cause]["low"] > 0.8
    assert sum(one["value"] for one in told["shares"].values()) == pytest.approx(1)
    assert next(iter(told["strongest"])).startswith(cause)


def test_two_groups_that_decide_alike_share(measured):
    features, causes = measured
    scores = causes[:, 0] + causes[:, 1]
    shares = attribute(features[:200], scores[:200], features[200:], scores[200:], np.arange(100), 0)["shares"]
    assert shares["brightness"]["value"] == pytest.approx(0.5, abs=0.12)
    assert shares["texture"]["value"] == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize("scores", [np.random.default_rng(3).normal(size=300), np.full(300, 7.0)])
def test_a_surrogate_that_foretells_little_shares_nothing_out(measured, scores):
    features, _ = measured
    told = attribute(features[:200], scores[:200], features[200:], scores[200:], np.arange(100), 0)
    assert told["r2"]["value"] is None or told["r2"]["value"] < LEAST
    assert "shares" not in told
    assert "foretell too little" in told["not_available"]


def test_values_are_additive_and_r2_is_sklearns(measured):
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.metrics import r2_score

    features, causes = measured
    model = GradientBoostingRegressor(n_estimators=20, random_state=0).fit(features[:200], causes[:200, 1])
    added = shap_values(model, features[200:])
    base = model.predict(features[:200]).mean()
    np.testing.assert_allclose(base + added.sum(axis=1), model.predict(features[200:]), atol=1e-6)
    from explain.appearance.surrogate import _r2

    foretold = model.predict(features[200:])
    ours = _r2(causes[200:, 1], foretold, np.arange(100))
    assert ours["value"] == pytest.approx(r2_score(causes[200:, 1], foretold))
    assert ours["low"] < ours["value"] < ours["high"]


def test_the_evidence_for_a_class_is_its_log_odds_without_what_all_share():
    logits = np.random.default_rng(0).normal(size=(5, 4))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    shared = np.linspace(-9, 9, 5)[:, None]
    np.testing.assert_allclose(log_odds(logits + shared, "multiclass"), np.log(chances / (1 - chances)))
    np.testing.assert_allclose(log_odds(logits[:, :2], "binary")[:, 1], logits[:, 1] - logits[:, 0])
    np.testing.assert_array_equal(log_odds(logits, "multilabel"), logits)


def test_a_group_is_blind_to_what_the_others_are_about():
    images, _ = drawn(4)
    before, brighter = measure(images), measure(images + 30)
    change = np.abs(brighter - before) / (np.abs(before) + 0.1)
    # Grey values are rounded.
    assert change[:, GROUPS != "brightness"].max() < 0.02
    np.testing.assert_allclose(brighter[:, 0], before[:, 0] + 30)
    # Of a flatter copy more neighbours are rounded alike, which local patterns see.
    others = [i for i, name in enumerate(NAMES) if GROUPS[i] == "texture" and "local pattern" not in name]
    np.testing.assert_allclose(measure(images * 0.6)[:, others], before[:, others], rtol=0.1, atol=0.01)
    # The same pixels elsewhere: no outline, no texture, but the same brightness.
    shuffled = np.random.default_rng(0).permutation(images.reshape(4, -1), axis=1).reshape(images.shape)
    moved = measure(shuffled)
    np.testing.assert_allclose(moved[:, GROUPS == "brightness"], before[:, GROUPS == "brightness"], rtol=1e-4)
    assert (moved[:, NAMES.index("texture: co-occurrence correlation")] < 0.2).all()


def test_images_without_anything_and_large_or_coloured_ones_have_numbers():
    for image in (np.zeros((2, S, S, 1)), np.full((2, S, S, 3), 255), np.ones((1, 300, 300, 3)) * [200, 90, 90]):
        assert np.isfinite(measure(image)).all()
    assert measure(np.ones((1, 300, 300, 3)) * [200, 90, 90])[0, NAMES.index("brightness: saturation")] == 110


@pytest.mark.slow
def test_a_run_says_what_its_answers_go_with_or_why_not(phantom_run, capsys):
    asked = ExplainConfig(count=1, score_count=0, localisation_count=0, appearance_count=60, seed=1)
    result = explain(phantom_run, asked)
    told = json.loads((result["folder"] / "appearance.json").read_text())
    assert told == result["appearance"]
    assert (told["split"], told["fitted_on"]) == ("test", "train")
    (one,) = told["of"].values()
    assert list(told["of"]) == ["opacity"]
    assert one["r2"]["low"] < one["r2"]["value"] < one["r2"]["high"]
    assert ("shares" in one) == (one["r2"]["value"] >= LEAST)
    printed(told)
    said = capsys.readouterr().out
    assert "What foretells" in said if "shares" in one else "too little" in said


def test_of_too_few_images_there_is_a_reason_alone(phantom_run):
    asked = ExplainConfig(count=1, score_count=0, localisation_count=0, appearance_count=3, seed=2)
    why = "train has 6 images of the 20 that it takes"
    assert explain(phantom_run, asked)["appearance"]["of"] == {
        "opacity": {"r2": Measured()._asdict(), "not_available": why}
    }
