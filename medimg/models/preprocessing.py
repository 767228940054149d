"""The first layer of every model: raw pixels 0..255 become what its backbone was trained on."""

import tensorflow as tf

MODES = {
    # name: (order of the channels, scale, mean in 0..255, standard deviation in 0..255), each per RGB channel
    "none": ("rgb", 1.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "unit": ("rgb", 1.0 / 255.0, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "symmetric": ("rgb", 1.0 / 127.5, (127.5, 127.5, 127.5), (1.0, 1.0, 1.0)),
    "caffe": ("bgr", 1.0, (123.68, 116.779, 103.939), (1.0, 1.0, 1.0)),
    "torch": ("rgb", 1.0 / 255.0, (123.675, 116.28, 103.53), (0.229, 0.224, 0.225)),
}


@tf.keras.saving.register_keras_serializable(package="medimg")
class Preprocessing(tf.keras.layers.Layer):
    """Pixels float32 (B, H, W, 1 or 3) in 0..255 -> float32 (B, H, W, `channels`) as the backbone expects.

    Args:
        mode: `none`, `unit` (0..1), `symmetric` (-1..1), `caffe` (BGR less the ImageNet mean) or `torch`
            (ImageNet mean and standard deviation).
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
        pixels = (pixels - tf.constant(self.mean)) * (self.scale / tf.constant(self.deviation))
        return tf.reverse(pixels, axis=[-1]) if self.order == "bgr" else pixels

    def compute_output_shape(self, input_shape):
        """Same height and width, `channels` channels."""
        return (*input_shape[:-1], self.channels)

    def get_config(self):
        """For saving."""
        return {**super().get_config(), "mode": self.mode, "channels": self.channels}
