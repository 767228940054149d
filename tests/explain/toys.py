"""Models whose evidence is known, and images for them."""

import numpy as np
import tensorflow as tf

from explain.methods import catalogue
from explain.methods.evidence import Evidence

SIZE = 32


def heat_maps(model, pixels: np.ndarray, chosen, method: str, task: str = "binary", **effort) -> np.ndarray:
    """Maps of pixels alone."""
    return catalogue.heat_maps(Evidence(model, task), [pixels], chosen, method, catalogue.Effort(**effort))


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
