"""Heat maps against closed forms and planted truth; the pointing game against brute force."""

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from explain.config import ExplainConfig
from explain.explain import METHODS, explain
from explain.methods import saliency
from explain.methods.score import class_score, last_map
from explain.methods.shapley import shap_maps
from explain.scores import findings, pointing_game
from medimg.data.dataset import Dataset
from medimg.errors import InputError

SIZE = 32


def bright_spot_model(relu6: bool = False) -> tf.keras.Model:
    """Its second logit grows with bright pixels above 128; the first one's weight is 0."""
    layers = tf.keras.layers
    pixels = tf.keras.Input((SIZE, SIZE, 1))
    x = layers.Rescaling(1 / 128.0, offset=-1.0)(pixels)
    x = layers.Conv2D(2, 3, padding="same", name="conv")(x)
    x = layers.ReLU(6.0 if relu6 else None, name="maps")(x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(0.2, name="dropout")(x)
    model = tf.keras.Model(pixels, layers.Dense(2, name="logits")(x))
    kernel = np.zeros((3, 3, 1, 2), np.float32)
    kernel[..., 0, 0] = 1 / 9
    kernel[..., 0, 1] = -1 / 9
    model.get_layer("conv").set_weights([kernel, np.zeros(2, np.float32)])
    model.get_layer("logits").set_weights([np.array([[0, 50.0], [0, 0]], np.float32), np.zeros(2, np.float32)])
    return model


def spots(seed: int = 0, n: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Dark noise with one bright 5 x 5 square; where it is."""
    draw = np.random.default_rng(seed)
    x = draw.uniform(0, 100, (n, SIZE, SIZE, 1)).astype(np.float32)
    region = np.zeros((n, SIZE, SIZE), bool)
    for i in range(n):
        top, left = draw.integers(3, SIZE - 8, 2)
        region[i, top : top + 5, left : left + 5] = True
    x[region] = 250.0
    return x, region


def test_gradcam_is_its_definition():
    model, (x, _) = bright_spot_model(), spots()
    inner = tf.keras.Model(model.input, [model.get_layer("maps").output, model.output])
    with tf.GradientTape() as tape:
        maps, logits = inner(x)
        score = logits[:, 1] - logits[:, 0]
    weights = tf.reduce_mean(tape.gradient(score, maps), axis=(1, 2), keepdims=True)
    expected = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1)).numpy()
    expected /= expected.max(axis=(1, 2), keepdims=True)
    ours = saliency.heat_maps(model, x, np.ones(len(x), int), "gradcam", "binary")
    np.testing.assert_allclose(ours, expected, atol=1e-4)


@pytest.mark.parametrize("method", saliency.METHODS)
def test_every_saliency_method_finds_the_planted_spot(method):
    x, region = spots()
    maps = saliency.heat_maps(bright_spot_model(), x, np.ones(len(x), int), method, "binary")
    assert maps.shape == x.shape[:3]
    assert maps.min() >= 0
    np.testing.assert_allclose(maps.max(axis=(1, 2)), 1.0, atol=1e-6)
    assert np.mean([pointing_game.hit(m, r) for m, r in zip(maps, region, strict=True)]) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("relu6", [False, True])
def test_shap_finds_the_spot_and_adds_up(relu6):
    model, (x, region) = bright_spot_model(relu6), spots(n=3)
    maps, base, score = shap_maps(model, x, np.ones(3, int), "binary", 300)
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), score - base, rtol=1e-3, atol=1e-3)
    assert all(pointing_game.hit(m, r) > 0 for m, r in zip(maps, region, strict=True))


def test_a_dead_map_is_flat_and_finite():
    x, _ = spots()
    maps = saliency.heat_maps(bright_spot_model(), x * 0, np.ones(len(x), int), "gradcam", "binary")
    assert np.all(maps == 0)
    assert pointing_game.hit(maps[0], np.eye(SIZE, dtype=bool)) == pytest.approx(1 / SIZE)


def test_the_score_of_a_binary_model_is_its_log_odds():
    logits = tf.constant([[1.0, 3.0], [2.0, -1.0]])
    np.testing.assert_allclose(class_score(logits, tf.constant([1, 0]), "binary"), [2.0, 3.0])
    np.testing.assert_allclose(class_score(logits, tf.constant([1, 0]), "multiclass"), [3.0, 2.0])
    assert last_map(bright_spot_model()) == "maps"


def test_pointing_game_and_its_controls_against_brute_force():
    draw = np.random.default_rng(0)
    heat = draw.uniform(0, 1, (40, 9, 9))
    region = draw.uniform(0, 1, (40, 9, 9)) < 0.3
    judged = pointing_game.judge(heat, region, np.arange(40) // 2)
    hits = [region[i][np.unravel_index(heat[i].argmax(), (9, 9))] for i in range(40)]
    assert judged["hit_rate"]["value"] == pytest.approx(np.mean(hits))
    assert judged["centre"] == pytest.approx(region[:, 4, 4].mean())
    trials = [region[draw.integers(40), draw.integers(9), draw.integers(9)] for _ in range(20000)]
    assert judged["random"] == pytest.approx(np.mean(trials), abs=0.02)
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(np.mean(hits) * 20, 20, method="wilson")
    assert (judged["hit_rate"]["low"], judged["hit_rate"]["high"]) == pytest.approx((low, high))
    assert judged["patients"] == 20


def boxed(tmp_path, **columns) -> tuple[Dataset, pd.Series]:
    cv2.imwrite(str(tmp_path / "image.png"), np.zeros((100, 200), np.uint8))
    row = {"image": "image.png", "label": "a|b", "patient": "p", "split": "test", **columns}
    manifest = pd.DataFrame([row])
    return Dataset(tmp_path, "boxed", "multilabel", ("a", "b"), manifest), manifest.iloc[0]


def test_boxes_are_scaled_and_kept_apart_by_class(tmp_path):
    dataset, row = boxed(tmp_path, x="0|100|190", y="0|50|90", width="100|20|10", height="50|10|10", finding="a|b|b")
    found = findings.regions(dataset, row, 50)
    expected_a = np.zeros((50, 50), bool)
    expected_a[:25, :25] = True
    np.testing.assert_array_equal(found["a"], expected_a)
    expected_b = np.zeros((50, 50), bool)
    expected_b[25:30, 25:30] = True
    expected_b[45:, 47:] = True
    np.testing.assert_array_equal(found["b"], expected_b)


def test_a_small_mask_never_vanishes(tmp_path):
    mask = np.zeros((100, 200), np.uint8)
    mask[40, 80] = 3
    cv2.imwrite(str(tmp_path / "mask.png"), mask)
    dataset, row = boxed(tmp_path, mask="mask.png")
    assert findings.regions(dataset, row, 10)["a|b"].sum() >= 1


def test_broken_boxes_are_named(tmp_path):
    dataset, row = boxed(tmp_path, x="1|2", y="1", width="3", height="4", finding="a")
    with pytest.raises(InputError, match=r"manifest\.csv: boxes of image\.png"):
        findings.regions(dataset, row, 10)


@pytest.mark.slow
def test_a_run_is_explained_by_every_method_and_judged(phantom_run):
    config = ExplainConfig(method=METHODS, count=4, samples=50, localisation_count=20)
    result = explain(phantom_run, config)
    for method in METHODS:
        folder = phantom_run.root / "explanations" / method.replace("+", "p")
        assert (folder / "contact_sheet.png").stat().st_size > 10_000
        assert len(result["images"][method]) == 4
        entry = result["images"][method][0]
        raw = np.load(folder.parent / entry["heatmap"])
        assert raw["heatmap"].shape == (64, 64)
        assert float(raw["probability"]) == pytest.approx(entry["probability"])
        assert cv2.imread(str(folder.parent / entry["overlay"])) is not None
    judged = result["localisation"]["gradcam"]
    assert judged["hit_rate"]["value"] > max(judged["random"], judged["centre"]) + 0.2


def test_files_are_explained_without_a_dataset(phantom_run, tmp_path):
    cv2.imwrite(str(tmp_path / "mine.jpg"), np.full((90, 50, 3), 99, np.uint8))
    result = explain(phantom_run, ExplainConfig(image=(str(tmp_path / "mine.jpg"),)))
    assert [e["file"] for e in result["images"]["gradcam"]] == [str(tmp_path / "mine.jpg")]
    assert result["localisation"] == {}
    with pytest.raises(InputError, match=r"absent\.png"):
        explain(phantom_run, ExplainConfig(image=("absent.png",)))
    with pytest.raises(InputError, match="--method lime"):
        explain(phantom_run, ExplainConfig(method=("lime",)))
