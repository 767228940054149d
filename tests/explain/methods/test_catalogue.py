"""Every method on models of each kind, and what they are made of on every model of the registry."""

import cv2
import numpy as np
import pytest
import tensorflow as tf

from explain.methods.catalogue import METHODS, Effort, heat_maps
from explain.methods.evidence import Evidence, blurred
from explain.methods.score import last_map
from medimg.models.build import build
from medimg.models.registry import FAMILIES

# B1 to B7 are B0 with more layers: built in test_models, too large for every test.
NAMES = [name for name in FAMILIES if name not in {f"efficientnet_b{i}" for i in range(1, 8)}]
ADDITIVE = {"shap", "integrated-gradients", "shap-gradient"}


def model_of(name: str) -> tf.keras.Model:
    size = FAMILIES[name].minimum_size
    arguments = {"width": "4", "stages": "3"} if name in ("baseline_cnn", "attention_cnn") else {}
    arguments |= {"alpha": "0.25"} if name == "mobilenet" else {}
    arguments |= {"alpha": "0.35"} if name == "mobilenet_v2" else {}
    return build(name, max(size, 32), (FAMILIES[name].application and 3) or 1, 3, model_arg=arguments)


def images(model: tf.keras.Model, n: int, seed: int = 0) -> np.ndarray:
    """Blocks of grey, so that something is left of them where a network halves them five times."""
    size, channels = model.input_shape[1], model.input_shape[-1]
    blocks = np.random.default_rng(seed).uniform(0, 255, (n, 4, 4, channels)).astype(np.float32)
    return np.stack([cv2.resize(block, (size, size)).reshape(size, size, channels) for block in blocks])


def by_tape(model: tf.keras.Model, x: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Grad-CAM as its paper has it."""
    inner = tf.keras.Model(model.input, [model.get_layer(last_map(model)).output, model.output])
    with tf.GradientTape() as tape:
        maps, logits = inner(x, training=False)
        score = tf.gather(logits, chosen, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(score, maps), axis=(1, 2), keepdims=True)
    cam = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1)).numpy()
    stretched = np.stack([cv2.resize(m, x.shape[2:0:-1]) for m in cam])
    highest = stretched.max(axis=(1, 2), keepdims=True)
    return stretched / np.where(highest > 0, highest, 1.0)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_model_has_its_layer_and_takes_every_method(name):
    model = model_of(name)
    x, chosen, evidence = images(model, 2), np.array([2, 0]), Evidence(model, "multiclass")
    np.testing.assert_allclose(heat_maps(evidence, [x], chosen, "gradcam"), by_tape(model, x, chosen), atol=1e-4)
    scores = evidence.scores([x], chosen)
    np.testing.assert_allclose(scores, model(x).numpy()[[0, 1], chosen], rtol=1e-4, atol=1e-5)
    maps, gradients = evidence.last_maps([x], chosen)
    assert maps.shape == gradients.shape
    assert evidence.cell == x.shape[1] / maps.shape[1]
    assert np.isfinite(evidence.gradients([x], chosen)).all()
    for method in METHODS:
        made = heat_maps(evidence, [x], chosen, method, Effort(samples=8, background=x))
        assert made.shape == x.shape[:3], method
        assert np.isfinite(made).all(), method
    tf.keras.backend.clear_session()


@pytest.fixture(scope="module")
def kinds() -> dict:
    """Name -> model and its Evidence: plain, with attention, with depthwise convolutions and sums."""
    names = ("baseline_cnn", "attention_cnn", "mobilenet_v2")
    return {name: Evidence(model_of(name), "multiclass") for name in names}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "name",
    ["baseline_cnn", *(pytest.param(name, marks=pytest.mark.slow) for name in ("attention_cnn", "mobilenet_v2"))],
)
def test_every_method_gives_maps_of_the_images_size_alike_in_a_batch_and_alone(kinds, name, method):
    evidence = kinds[name]
    x, chosen = images(evidence.model, 3), np.array([0, 1, 2])
    effort = Effort(samples=20, background=images(evidence.model, 2, seed=1))
    maps = heat_maps(evidence, [x], chosen, method, effort)
    assert maps.shape == x.shape[:3]
    assert maps.dtype == np.float32
    assert np.isfinite(maps).all()
    alone = heat_maps(evidence, [x[:1]], chosen[:1], method, effort)
    np.testing.assert_allclose(alone[0], maps[0], atol=1e-4 * max(1.0, np.abs(maps[0]).max()))
    if method in ADDITIVE:
        start = evidence.scores([effort.background], np.zeros(2)).mean() if method == "shap-gradient" else None
        start = evidence.scores([blurred(x)], chosen)[0] if start is None else start
        whole = evidence.scores([x], chosen)[0] - start
        # The tolerance of the sum that stands for the integral, and of float32 where a difference is tiny.
        assert maps[0].sum() == pytest.approx(whole, rel=0.011, abs=1e-5)


def test_hirescam_shares_out_the_logit_of_a_model_that_averages(kinds):
    evidence = kinds["baseline_cnn"]
    x, chosen = images(evidence.model, 3), np.array([0, 1, 2])
    maps, gradients = evidence.last_maps([x], chosen)
    bias = evidence.model.get_layer("logits").get_weights()[1]
    np.testing.assert_allclose(
        (maps * gradients).sum(axis=(1, 2, 3)) + bias[chosen], evidence.scores([x], chosen), rtol=1e-3, atol=1e-6
    )
