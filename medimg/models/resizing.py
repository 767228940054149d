"""Images resized in the graph as `medimg.pipeline.pixels` resizes them."""

import numpy as np
import tensorflow as tf

from medimg.data.resizing import ROUNDING

# ITU-R BT.601 luma in OpenCV's fixed point (15 bits), so that grey levels agree to the last bit.
LUMA, LUMA_SHIFT = (9798, 19235, 3735), 15


def axis_weights(length, size: int):
    """Matrix float32 (size, length) that takes an axis of any length to `size`.

    Area averages along an axis that shrinks, linear interpolation along one that grows.
    """
    n, m = tf.cast(length, tf.float64), tf.cast(size, tf.float64)
    scale = n / m
    out = tf.range(size, dtype=tf.float64)[:, None]
    source = tf.cast(tf.range(length), tf.float64)[None, :]

    def area():
        overlap = tf.minimum((out + 1.0) * scale, source + 1.0) - tf.maximum(out * scale, source)
        return tf.maximum(overlap, 0.0) / scale

    def linear():
        centre = tf.clip_by_value((out + 0.5) * scale - 0.5, 0.0, n - 1.0)
        return tf.maximum(1.0 - tf.abs(centre - source), 0.0)

    return tf.cast(tf.cond(length > size, area, linear), tf.float32)


@tf.keras.saving.register_keras_serializable(package="medimg")
class AtSize(tf.keras.layers.Layer):
    """Pixels float32 (B, P, P, C) in 0..255 at another size and number of channels: (B, S, S, `channels`).

    Of images of 8 bits it gives what the pipeline does; of 16 bits as well, but for the digits below a grey level.

    Args:
        image_size: S.
        channels: 1 or 3.
    """

    def __init__(self, image_size: int, channels: int, **kwargs):
        super().__init__(**kwargs)
        self.image_size, self.channels = image_size, channels

    def call(self, pixels):
        """Grey or colour first, then the size, as the pipeline."""
        if self.channels < pixels.shape[-1]:
            luma = tf.constant(np.array(LUMA, np.float32)[:, None] / (1 << LUMA_SHIFT))
            pixels = _floored(tf.tensordot(pixels, luma, axes=1) + 0.5)
        if pixels.shape[1] != self.image_size:
            weights = axis_weights(tf.constant(pixels.shape[1]), self.image_size)
            pixels = _floored(tf.einsum("ij,bjkc,lk->bilc", weights, pixels, weights) + ROUNDING)
        return pixels if self.channels == pixels.shape[-1] else tf.repeat(pixels, self.channels, axis=-1)

    def compute_output_shape(self, input_shape):
        """S and `channels` in the place of P and C."""
        return (input_shape[0], self.image_size, self.image_size, self.channels)

    def get_config(self):
        """For saving."""
        return {**super().get_config(), "image_size": self.image_size, "channels": self.channels}


def _floored(values):
    """Rounded down, with the gradient of what it was: explanations look through it."""
    return values + tf.stop_gradient(tf.floor(values) - values)
