"""GroupNormalization and LayerNormalization: every example gets a copy of the scale and offset to differentiate."""

import tensorflow as tf

from medimg.privacy.per_example.contribution import Call, Contribution, Kind, kept
from medimg.privacy.per_example.units import BatchUnits


def group_forward(layer, x, watch):
    """GroupNormalization over the last axis of (B, ..., C)."""
    x = tf.cast(x, layer.compute_dtype)
    scale, offset = _copies(layer, x, layer.axis, watch)
    groups = layer.groups if layer.groups != -1 else x.shape[-1]
    positions = x.shape[1:-1].num_elements()
    flat = tf.reshape(x, [tf.shape(x)[0], positions, x.shape[-1]])
    output = group_normalize(flat, scale, offset, groups, layer.epsilon)
    return tf.reshape(output, tf.shape(x)), Call((), _taps(layer, scale, offset))


def layer_forward(layer, x, watch):
    """LayerNormalization over the last axis or axes."""
    x = tf.cast(x, layer.compute_dtype)
    axes = _axes(layer)
    scale, offset = _copies(layer, x, axes, watch)
    mean, variance = tf.nn.moments(x, axes, keepdims=True)
    ones = [1] * (x.shape.rank - 1 - len(axes))
    shape = [-1, *ones, *(x.shape[axis] for axis in axes)]
    output = (x - mean) * tf.math.rsqrt(variance + layer.epsilon)
    output = output * tf.reshape(scale, shape) + tf.reshape(offset, shape)
    return output, Call((), _taps(layer, scale, offset))


def contributions(layer, calls, units: BatchUnits) -> list[Contribution]:
    """Of scale and offset, where the layer has them."""
    return [
        kept(tf.add_n(list(gradients)), units) for gradients in zip(*(gradients for _, gradients in calls), strict=True)
    ]


def _axes(layer) -> list[int]:
    return list(layer.axis) if isinstance(layer.axis, (list, tuple)) else [layer.axis]


def _copies(layer, x, axes, watch) -> tuple:
    axes = axes if isinstance(axes, list) else [axes]
    batch, shape = tf.shape(x)[0], [x.shape[axis] for axis in axes]
    scale = tf.ones(shape, x.dtype) if layer.gamma is None else layer.gamma
    offset = tf.zeros(shape, x.dtype) if layer.beta is None else layer.beta
    copies = tuple(tf.broadcast_to(v, [batch, *shape]) for v in (scale, offset))
    for copy in copies:
        watch(copy)
    return copies


def _taps(layer, scale, offset) -> tuple:
    has = ((layer.gamma, scale), (layer.beta, offset))
    return tuple(copy for variable, copy in has if variable is not None)


def group_normalize(x, scale, offset, groups: int, epsilon: float) -> tf.Tensor:
    """Normalise each group of channels of each example (Wu and He 2018), with its gradient in closed form.

    Keras' layer gives the same; this reads the maps half as often, and sums the gradients over positions only, which
    is just what the examples' gradients of scale and offset are.

    Args:
        x: (B, T, C).
        scale: (B, C).
        offset: (B, C).
        groups: number that divides C.
        epsilon: added to the variance.

    Returns:
        (B, T, C).
    """
    size = x.shape[1] * x.shape[2] // groups
    width = x.shape[2] // groups

    def over_group(per_channel):
        """(B, C) -> the sum of its group, at every channel."""
        sums = tf.reduce_sum(tf.reshape(per_channel, [-1, groups, width]), axis=2)
        return tf.repeat(sums, width, axis=1)

    @tf.custom_gradient
    def normalized(x, scale, offset):
        mean = over_group(tf.reduce_sum(x, axis=1)) / size
        variance = over_group(tf.reduce_sum(tf.square(x - mean[:, None]), axis=1)) / size
        inverse = tf.math.rsqrt(variance + epsilon)

        factor = inverse * scale

        def gradient(upstream):
            # In terms of x, not of x - mean: those differences would be kept from the forward pass until now.
            total = tf.reduce_sum(upstream, axis=1)
            along = tf.reduce_sum(upstream * x, axis=1) - mean * total
            slope = -over_group(along * scale) * inverse**3 / size
            shift = -over_group(total * scale) * inverse / size - mean * slope
            down = upstream * factor[:, None] + (x * slope[:, None] + shift[:, None])
            return down, along * inverse, total

        return x * factor[:, None] + (offset - mean * factor)[:, None], gradient

    # The decorator returns the result alone, which TensorFlow's types do not say.
    return normalized(x, scale, offset)  # pyright: ignore[reportReturnType]


GROUP = Kind(group_forward, contributions)
LAYER = Kind(layer_forward, contributions)
