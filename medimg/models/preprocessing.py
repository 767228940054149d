"""The first layer of every model: raw pixels 0..255 become what its backbone was trained on."""

import numpy as np
import tensorflow as tf

MODES = {
    # name: (order of the channels, scale, mean in 0..255, standard deviation in 0..255), each per RGB channel
    "none": ("rgb", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "unit": ("rgb", 1.0 / 255.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "lite": ("rgb", 1.0 / 128.0, (127.0, 127.0, 127.0), (1.0, 1.0, 1.0)),
    "symmetric": ("rgb", 1.0 / 127.5, (127.5, 127.5, 127.5), (1.0, 1.0, 1.0)),
    "caffe": ("bgr", 1.0, (123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
    "torch": ("rgb", 1.0 / 255.0, (123.675, 116.28, 103.53), (0.229, 0.224, 0.225)),
}
# Of ImageNet's pixels in 0..255, per RGB channel.
IMAGENET_MEAN, IMAGENET_DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


def usual_input(mode: str) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (3,) of what a backbone was fed when it learnt from ImageNet in this mode."""
    _, scale, mean, deviation = MODES[mode]
    factor = scale / np.asarray(deviation)
    return (np.asarray(IMAGENET_MEAN) - mean) * factor, np.asarray(IMAGENET_DEVIATION) * factor


@tf.keras.saving.register_keras_serializable(package="medimg")
class Preprocessing(tf.keras.layers.Layer):
    """Pixels float32 (B, H, W, 1 or 3) in 0..255 -> float32 (B, H, W, `channels`) as the backbone expects.

    Args:
        mode: `none`, `unit` (0..1), `symmetric` (-1..1), `lite` ((x - 127) / 128), `caffe` (BGR less the ImageNet
            mean) or `torch` (ImageNet mean and standard deviation).
        channels: 3 repeats grey images; 1 keeps them.
    """

    def __init__(self, mode: str, channels: int, **kwargs):
        super().__init__(**kwargs)
        self.mode, self.channels = mode, channels
        self.order, self.scale, self.mean, self.deviation = MODES[mode]

    def call(self, pixels):
        """Scale, centre and order the channels."""
        if pixels.shape[-1] == 1 and self.channels == 3:
            pixels = tf.repeat(pixels, 3, axis=-1)
        if self.channels == 1:
            return (pixels - sum(self.mean) / 3.0) * self.scale
        # One number for all channels is taken as such: the same values, several times faster.
        mean, deviation = (each if len(set(each)) > 1 else each[0] for each in (self.mean, self.deviation))
        pixels = (pixels - tf.constant(mean)) * (self.scale / tf.constant(deviation))
        return tf.reverse(pixels, axis=[-1]) if self.order == "bgr" else pixels

    def compute_output_shape(self, input_shape):
        """Same height and width, `channels` channels."""
        return (*input_shape[:-1], self.channels)

    def get_config(self):
        """For saving."""
        return {**super().get_config(), "mode": self.mode, "channels": self.channels}


@tf.keras.saving.register_keras_serializable(package="medimg")
class ColourWhitening(tf.keras.layers.Layer):
    """Pixels float32 (B, H, W, C) in 0..255 -> principal components of their colours, float32 (B, H, W, `channels`).

    Over the images that the whitening was learnt from, the components have mean 0, variance 1 and no correlation. A
    backbone (`mode`) gets them with the mean and spread that it is used to. What its ImageNet weights know of colour is
    lost all the same: they learnt from red, green and blue, and get brightness in the place of red and two contrasts of
    colours, faint in most images and now as strong as brightness.

    Args:
        mean: (C,), of `medimg.pipeline.whitening.Whitening`.
        matrix: (C, C), likewise.
        channels: 3 repeats grey images; else C.
        mode: of the backbone (MODES); None: components as they are.
    """

    def __init__(self, mean, matrix, channels: int, mode: str | None = None, **kwargs):
        super().__init__(**kwargs)
        # Arrays: Keras would wrap lists, and single precision must not round what is saved.
        self.mean, self.matrix = np.asarray(mean, np.float64), np.asarray(matrix, np.float64)
        self.channels, self.mode = channels, mode

    def call(self, pixels):
        """Centre, rotate and scale each pixel's channels."""
        centred = pixels - tf.constant(self.mean, pixels.dtype)
        white = tf.tensordot(centred, tf.constant(self.matrix.T, pixels.dtype), axes=1)
        if pixels.shape[-1] != self.channels:
            white = tf.repeat(white, self.channels, axis=-1)
        if self.mode is None:
            return white
        mean, deviation = usual_input(self.mode)
        return white * tf.constant(deviation, pixels.dtype) + tf.constant(mean, pixels.dtype)

    def compute_output_shape(self, input_shape):
        """Same height and width, `channels` channels."""
        return (*input_shape[:-1], self.channels)

    def get_config(self):
        """For saving."""
        return {
            **super().get_config(),
            "mean": self.mean.tolist(),
            "matrix": self.matrix.tolist(),
            "channels": self.channels,
            "mode": self.mode,
        }
