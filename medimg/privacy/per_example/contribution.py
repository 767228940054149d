"""What each example adds to the gradient of one variable."""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from medimg.privacy.per_example.units import BatchUnits


class Call(NamedTuple):
    """One use of a trainable layer in the forward pass.

    Attributes:
        inputs: what the layer was given.
        taps: tensors whose gradients of the summed loss tell the examples' gradients of the layer's variables.
    """

    inputs: object
    taps: tuple


class Contribution(NamedTuple):
    """The examples' gradients of a variable, as far as clipping needs them.

    Attributes:
        squared_norms: float (B,), of each unit's summed gradient.
        weighted_sum: weights (B,) -> the sum of the examples' gradients times their weights, in the variable's shape.
    """

    squared_norms: tf.Tensor
    weighted_sum: Callable[[tf.Tensor], tf.Tensor]


class Kind(NamedTuple):
    """How a type of layer is differentiated per example.

    Attributes:
        forward: (layer, inputs, watch) -> (output, Call): computes what the layer does in training and calls `watch`
            on each tap before it is used.
        contributions: (layer, [(inputs, gradients of the taps)] of all calls, units) -> one Contribution for each of
            `layer.trainable_weights`, in their order.
    """

    forward: Callable
    contributions: Callable


def kept(per_example, units: BatchUnits) -> Contribution:
    """From the examples' gradients (B, *shape of the variable), which stay in memory until they are summed."""
    shape = per_example.shape[1:]

    def weighted_sum(weights):
        flat = tf.reshape(per_example, [tf.shape(per_example)[0], shape.num_elements()])
        return tf.reshape(tf.linalg.matvec(flat, weights, transpose_a=True), shape)

    return Contribution(units.squared_norms(per_example), weighted_sum)


def bias(gradients: list, units: BatchUnits) -> Contribution:
    """Of a bias added at every position: gradients (B, ..., C) at the outputs of each call."""
    sums = [tf.reduce_sum(g, axis=list(range(1, g.shape.rank - 1))) for g in gradients]
    return kept(tf.add_n(sums), units)


def scaled(gradient, weights):
    """A gradient (B, ...) times a weight for each example (B,)."""
    return gradient * tf.reshape(weights, [-1] + [1] * (gradient.shape.rank - 1))


def lost_norms(inputs, gradients, terms: int) -> tf.Tensor:
    """What may be missing in the norms of examples' gradients, by products of inputs and of output gradients: (B,).

    TensorFlow takes products below float32's smallest number for 0. Weights that make inputs of 1e19 and output
    gradients of 1e-19 would have gradients of 1 whose norm is 0, which nothing clips.

    Args:
        inputs: (B, ...).
        gradients: (B, ...), of the outputs.
        terms: of the sum that a squared norm is: products of four numbers.
    """
    least = float(np.finfo(inputs.dtype.as_numpy_dtype).tiny)
    largest = [tf.reduce_max(tf.abs(t), axis=list(range(1, t.shape.rank))) for t in (inputs, gradients)]
    return tf.add_n(largest) * math.sqrt(least * terms)
