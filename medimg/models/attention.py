"""Attention over channels and places: squeeze-and-excitation (SE) and CBAM, as blocks on any maps.

Sources: Hu, Shen and Sun, "Squeeze-and-excitation networks", CVPR 2018; Woo et al., "CBAM: convolutional block
attention module", ECCV 2018.
"""

import tensorflow as tf

# Channels of the bottleneck are a 16th, as in both papers, and these at least.
_REDUCTION, _FEWEST = 16, 4
_KERNEL = 7


@tf.keras.saving.register_keras_serializable(package="medimg")
class ChannelPool(tf.keras.layers.Layer):
    """Maps (B, H, W, C) -> their mean and their maximum over channels, (B, H, W, 2)."""

    def call(self, maps):
        """Of each place."""
        pooled = tf.reduce_mean(maps, axis=-1, keepdims=True), tf.reduce_max(maps, axis=-1, keepdims=True)
        return tf.concat(pooled, axis=-1)

    def compute_output_shape(self, input_shape):
        """Two channels."""
        return (*input_shape[:-1], 2)


def attend(maps, kind: str, name: str):
    """Maps weighed by attention.

    Args:
        maps: Keras tensor (B, H, W, C).
        kind: `se` weighs channels by what they hold on average; `cbam` by average and maximum, then places.
        name: what the layers' names begin with.

    Returns:
        Keras tensor (B, H, W, C).
    """
    layers, channels = tf.keras.layers, maps.shape[-1]
    squeeze = layers.Dense(max(_FEWEST, channels // _REDUCTION), "relu", name=f"{name}_squeeze")
    excite = layers.Dense(channels, name=f"{name}_excite")
    averages = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_average")(maps)
    weights = excite(squeeze(averages))
    if kind == "cbam":
        maxima = layers.GlobalMaxPooling2D(keepdims=True, name=f"{name}_maximum")(maps)
        weights = layers.Add(name=f"{name}_sum")([weights, excite(squeeze(maxima))])
    weights = layers.Activation("sigmoid", name=f"{name}_channels")(weights)
    maps = layers.Multiply(name=f"{name}_what")([maps, weights])
    if kind == "se":
        return maps
    places = ChannelPool(name=f"{name}_places")(maps)
    places = layers.Conv2D(1, _KERNEL, padding="same", activation="sigmoid", name=f"{name}_where_weights")(places)
    return layers.Multiply(name=f"{name}_where")([maps, places])
