"""A plain convolutional network, small enough for two cores."""

import tensorflow as tf

from medimg.models.attention import attend


def backbone(pixels, width: int = 32, stages: int = 4, attention: str = ""):
    """Stages of two 3x3 convolutions with BatchNorm and ReLU, halving the image between stages.

    Args:
        pixels: Keras tensor (B, S, S, C), preprocessed.
        width: filters of the first stage; every stage doubles them.
        stages: number of stages; the last map has S / 2^(stages-1) pixels a side.
        attention: at the end of each stage (`medimg.models.attention`); '': none.

    Returns:
        Keras tensor (B, h, w, width * 2^(stages-1)).
    """
    layers = tf.keras.layers
    x = pixels
    for stage in range(1, stages + 1):
        if stage > 1:
            x = layers.MaxPooling2D(2, name=f"stage{stage}_pool")(x)
        for i in (1, 2):
            name = f"stage{stage}_conv{i}"
            filters = width * 2 ** (stage - 1)
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=name)(x)
            x = layers.BatchNormalization(name=f"{name}_norm")(x)
            x = layers.ReLU(name=f"{name}_relu")(x)
        if attention:
            x = attend(x, attention, f"stage{stage}_attention")
    return x
