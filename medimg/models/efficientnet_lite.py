"""EfficientNet-Lite: EfficientNet (Tan and Le 2019) without squeeze-and-excitation, with ReLU6, for small machines.

Source: the tables of TensorFlow's TPU repository (`models/official/efficientnet/lite`); the stem, the head, and how
often the first and the last block are repeated do not scale.
"""

import math
from collections.abc import Iterator

import tensorflow as tf

from medimg.models.registry import SCALES

# (repeats, side of the kernel, stride, expansion, filters)
_BLOCKS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_STEM, _HEAD, _EPSILON = 32, 1280, 1e-3


def blocks(name: str) -> Iterator[tuple[int, int, int, int, int]]:
    """Side of the kernel, stride, expansion, filters before and after, of each block of a model of SCALES."""
    width, depth, _ = SCALES[name]
    before = _STEM
    for stage, (repeats, side, stride, expansion, filters) in enumerate(_BLOCKS):
        after = _rounded(filters * width)
        times = repeats if stage in (0, len(_BLOCKS) - 1) else math.ceil(repeats * depth)
        for number in range(times):
            yield side, stride if number == 0 else 1, expansion, before, after
            before = after


def _rounded(filters: float) -> int:
    """To a multiple of 8, and not more than a tenth lower."""
    near = max(8, int(filters + 4) // 8 * 8)
    return near + 8 if near < 0.9 * filters else near


def backbone(pixels, name: str):
    """Inverted bottlenecks.

    Args:
        pixels: Keras tensor (B, S, S, 3), preprocessed: (pixels - 127) / 128.
        name: of SCALES.

    Returns:
        Keras tensor (B, S / 32, S / 32, 1280).
    """
    x = _convolution(pixels, _STEM, 3, 2, "stem")
    for number, (side, stride, expansion, before, after) in enumerate(blocks(name), 1):
        start, block = x, f"block{number}"
        if expansion != 1:
            x = _convolution(x, before * expansion, 1, 1, f"{block}_expand")
        depthwise = tf.keras.layers.DepthwiseConv2D(
            side, stride, "same", use_bias=False, name=f"{block}_depthwise_conv"
        )
        x = _normalised(depthwise(x), f"{block}_depthwise")
        x = _convolution(x, after, 1, 1, f"{block}_project", active=False)
        if stride == 1 and before == after:
            x = tf.keras.layers.Add(name=f"{block}_add")([x, start])
    return _convolution(x, _HEAD, 1, 1, "top")


def _convolution(x, filters: int, side: int, stride: int, name: str, active: bool = True):
    convolved = tf.keras.layers.Conv2D(filters, side, stride, "same", use_bias=False, name=f"{name}_conv")(x)
    return _normalised(convolved, name, active)


def _normalised(x, name: str, active: bool = True):
    x = tf.keras.layers.BatchNormalization(epsilon=_EPSILON, name=f"{name}_norm")(x)
    return tf.keras.layers.ReLU(6.0, name=f"{name}_relu")(x) if active else x
