"""Saliency maps where they are easily wrong: the layer, the registration, the score, the sign, large logits."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from explain.methods import gradcam
from explain.methods.score import last_map
from medimg.evaluation.prediction import probabilities
from medimg.models.build import build
from tests.explain.toys import heat_maps

SIZE = 32


def coarse_model(scale: float = 1.0) -> tf.keras.Model:
    """The mean brightness above 128 of each 8 x 8 cell, times `scale`, is the score of class 1."""
    layers = tf.keras.layers
    pixels = tf.keras.Input((SIZE, SIZE, 1))
    x = layers.AveragePooling2D(8)(layers.Rescaling(1 / 128.0, offset=-1.0)(pixels))
    x = layers.ReLU(name="maps")(layers.Conv2D(1, 1, use_bias=False, name="conv")(x))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    model = tf.keras.Model(pixels, layers.Dense(2, use_bias=False, name="logits")(x))
    model.get_layer("conv").set_weights([np.ones((1, 1, 1, 1), np.float32)])
    model.get_layer("logits").set_weights([np.array([[0.0, scale]], np.float32)])
    return model


def cells(*bright: tuple[int, int]) -> np.ndarray:
    """float32 (1, 32, 32, 1) with 8 x 8 cells of 255 on black."""
    x = np.zeros((1, SIZE, SIZE, 1), np.float32)
    for row, column in bright:
        x[0, 8 * row : 8 * row + 8, 8 * column : 8 * column + 8] = 255.0
    return x


@pytest.fixture(scope="module")
def backbones() -> list[tf.keras.Model]:
    """Last maps behind BatchNorm and ReLU, behind a sum of branches, and behind a concatenation."""
    models = [build("baseline_cnn", SIZE, 1, 3, model_arg={"width": "4", "stages": "2"})]
    for name in ("resnet50", "densenet121"):
        models.append(build(name, SIZE, 3, 3))
    return models


@pytest.mark.slow
def test_gradcam_looks_at_the_maps_that_are_pooled(backbones):
    draw = np.random.default_rng(0)
    for model in backbones:
        x = draw.uniform(0, 255, (2, *model.input_shape[1:])).astype(np.float32)
        chosen = np.array([2, 1])
        layer = model.get_layer(last_map(model))
        assert layer.output is model.get_layer("pool").input
        inner = tf.keras.Model(model.input, [layer.output, model.output])
        with tf.GradientTape() as tape:
            maps, logits = inner(x)
            score = tf.gather(logits, chosen, batch_dims=1)
        weights = tf.reduce_mean(tape.gradient(score, maps), axis=(1, 2), keepdims=True)
        cam = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1)).numpy()
        expected = np.stack([cv2.resize(m, (SIZE, SIZE)) for m in cam])
        highest = expected.max(axis=(1, 2), keepdims=True)
        expected /= np.where(highest > 0, highest, 1.0)
        ours = heat_maps(model, x, chosen, "gradcam", "multiclass")
        np.testing.assert_allclose(ours, expected, atol=1e-4, err_msg=model.name)


@pytest.mark.parametrize("method", ["gradcam", "gradcam++", "scorecam"])
@pytest.mark.parametrize("cell", [(0, 0), (0, 3), (2, 1), (3, 3)])
def test_a_cell_lies_over_its_pixels(method, cell):
    x = cells(cell)
    heat = heat_maps(coarse_model(), x, np.array([1]), method, "binary")[0]
    inside = x[0, ..., 0] > 0
    assert heat[inside].min() > heat[~inside].max() - 0.5
    weight = heat / heat.sum()
    centre = [float((weight.sum(axis=1 - axis) * np.arange(SIZE)).sum()) for axis in (0, 1)]
    # Beyond an outer cell the map has nothing to fall off to, so its centre moves outwards by a pixel or so.
    np.testing.assert_allclose(centre, [8 * c + 3.5 for c in cell], atol=1.5)


@pytest.mark.parametrize("method", ["gradcam", "gradcam++"])
def test_maps_are_the_same_whatever_is_computed_at_once(method, monkeypatch):
    x = np.concatenate([cells((0, 0)), cells((2, 1), (3, 3)), cells((1, 2))])
    chosen = np.array([1, 1, 1])
    at_once = heat_maps(coarse_model(), x, chosen, method, "binary")
    for pixels in (1, 2 * SIZE**2):
        monkeypatch.setattr(gradcam, "_PIXELS", pixels)
        np.testing.assert_allclose(heat_maps(coarse_model(), x, chosen, method, "binary"), at_once, atol=1e-6)


def test_gradcam_plus_plus_survives_large_scores():
    x = cells((1, 2))
    modest = heat_maps(coarse_model(), x, np.array([1]), "gradcam++", "binary")
    huge = heat_maps(coarse_model(1e4), x, np.array([1]), "gradcam++", "binary")
    assert modest.max() == pytest.approx(1.0)
    np.testing.assert_allclose(huge, modest, atol=1e-4)


def test_smoothgrad_sees_evidence_that_lowers_brightness():
    x = np.full((1, SIZE, SIZE, 1), 200.0, np.float32)
    heat = heat_maps(coarse_model(), x, np.array([0]), "smoothgrad", "binary")
    assert heat.max() == pytest.approx(1.0)
    assert (heat > 0).all()


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_scorecam_is_its_definition(task, capfd):
    """Its weights are the class's own probabilities of the masked image; in a multilabel model that is a sigmoid."""
    layers = tf.keras.layers
    pixels = tf.keras.Input((SIZE, SIZE, 1))
    x = layers.AveragePooling2D(8)(layers.Rescaling(1 / 255.0)(pixels))
    maps = layers.Conv2D(3, 1, activation="relu", name="maps")(x)
    pooled = layers.GlobalAveragePooling2D(name="pool")(maps)
    model = tf.keras.Model(pixels, layers.Dense(2, name="logits")(pooled))
    draw = np.random.default_rng(2)
    model.set_weights([draw.normal(0, 3, w.shape) for w in model.get_weights()])
    image = draw.uniform(0, 255, (1, SIZE, SIZE, 1)).astype(np.float32)

    found = tf.keras.Model(pixels, maps)(image).numpy()
    masks = cv2.resize(found[0], (SIZE, SIZE))[None]
    low, high = masks.min(axis=(1, 2), keepdims=True), masks.max(axis=(1, 2), keepdims=True)
    masks = (masks - low) / (high - low + 1e-7)
    masked = np.concatenate([image * masks[..., k : k + 1] for k in range(3)])
    chances = probabilities(model(masked).numpy(), task)
    for wanted in (0, 1):
        cam = np.maximum((found[0] * chances[:, wanted]).sum(axis=-1), 0)
        expected = cv2.resize(cam, (SIZE, SIZE))
        ours = heat_maps(model, image, np.array([wanted]), "scorecam", task)[0]
        np.testing.assert_allclose(ours, expected / expected.max(), atol=1e-4)
    assert capfd.readouterr().out == ""
