"""DepthwiseConv2D and SeparableConv2D; their depthwise kernels are small, so examples' gradients are kept."""

import tensorflow as tf

from medimg.privacy.per_example import linear
from medimg.privacy.per_example.contribution import Contribution, Kind, bias, kept
from medimg.privacy.per_example.convolution import Window
from medimg.privacy.per_example.units import BatchUnits


def contributions(layer, calls, units: BatchUnits) -> list[Contribution]:
    """Of DepthwiseConv2D: kernel (h, w, channels, multiplier) and bias (channels * multiplier,)."""
    pairs = [(x, g) for x, (g,) in calls]
    result = [kept(tf.add_n([_per_example(layer, x, g) for x, g in pairs]), units)]
    if layer.use_bias:
        result.append(bias([g for _, g in pairs], units))
    return result


def separable_contributions(layer, calls, units: BatchUnits) -> list[Contribution]:
    """Of SeparableConv2D: depthwise kernel, pointwise kernel (1, 1, channels * multiplier, n), bias (n,)."""
    between = [(x, _depthwise(layer, x), _before_pointwise(layer, g), g) for x, (g,) in calls]
    first = tf.add_n([_per_example(layer, x, inner) for x, _, inner, _ in between])
    pointwise = linear.matrix([(maps, g) for _, maps, _, g in between], units)
    result = [
        kept(first, units),
        pointwise._replace(weighted_sum=lambda weights: pointwise.weighted_sum(weights)[None, None]),
    ]
    if layer.use_bias:
        result.append(bias([g for *_, g in between], units))
    return result


def _depthwise(layer, x) -> tf.Tensor:
    """The maps between the two convolutions: (B, H', W', channels * multiplier)."""
    return tf.nn.depthwise_conv2d(
        x,
        layer.depthwise_kernel,
        strides=[1, *layer.strides, 1],
        padding=layer.padding.upper(),
        dilations=layer.dilation_rate,
    )


def _before_pointwise(layer, g) -> tf.Tensor:
    return tf.tensordot(g, layer.pointwise_kernel[0, 0], [[3], [1]])


def _per_example(layer, x, g) -> tf.Tensor:
    """Examples' gradients (B, h, w, C, multiplier) from x (B, H, W, C) and g (B, H', W', C * multiplier)."""
    # Reading every other pixel is so slow that a kernel call for each example is faster.
    if max(layer.strides) > 1 and max(layer.dilation_rate) == 1 and layer.strides[0] == layer.strides[1]:
        return _one_by_one(layer, x, g)
    window, shape = Window.of(layer, x, g), layer.depthwise_kernel.shape
    g = tf.reshape(g, [-1, *window.outputs, *shape[2:]])
    padded = tf.expand_dims(window.pad(x), -1)
    places = [tf.reduce_sum(padded[:, rows, columns] * g, axis=[1, 2]) for rows, columns in window.offsets()]
    return tf.reshape(tf.stack(places, axis=1), [-1, *shape])


def _one_by_one(layer, x, g) -> tf.Tensor:
    shape = layer.depthwise_kernel.shape

    def one(pair):
        return tf.raw_ops.DepthwiseConv2dNativeBackpropFilter(
            input=pair[0][None],
            filter_sizes=shape,
            out_backprop=pair[1][None],
            strides=[1, *layer.strides, 1],
            padding=layer.padding.upper(),
        )

    return tf.map_fn(one, (x, g), fn_output_signature=tf.TensorSpec(shape, x.dtype))


DEPTHWISE = Kind(linear.forward, contributions)
SEPARABLE = Kind(linear.forward, separable_contributions)
