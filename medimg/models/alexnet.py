"""AlexNet's convolutions (Krizhevsky 2014, one tower); its three dense layers make way for the head of every model."""

import tensorflow as tf

# (filters, side of the kernel, stride, pooled afterwards)
_CONVOLUTIONS = ((64, 11, 4, True), (192, 5, 1, True), (384, 3, 1, False), (256, 3, 1, False), (256, 3, 1, True))


def backbone(pixels):
    """Five convolutions with ReLU, the first one of stride 4, three of them pooled.

    Args:
        pixels: Keras tensor (B, S, S, C), preprocessed.

    Returns:
        Keras tensor (B, S / 32, S / 32, 256).
    """
    layers, x = tf.keras.layers, pixels
    for number, (filters, side, stride, pooled) in enumerate(_CONVOLUTIONS, 1):
        name = f"stage{number}_conv"
        x = layers.Conv2D(filters, side, stride, "same", activation="relu", name=name)(x)
        if pooled:
            x = layers.MaxPooling2D(3, 2, "same", name=f"stage{number}_pool")(x)
    return x
