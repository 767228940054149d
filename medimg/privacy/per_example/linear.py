"""Dense, and what else applies one matrix at every position; the forward pass of all layers with an activation.

With inputs x (T, m) and output gradients g (T, n) at its T positions, an example's gradient is x'g. Its squared norm is
also the sum of (xx') * (gg'), which is cheaper when T is small (Goodfellow 2015; Rochette et al. 2019).
"""

import contextlib

import tensorflow as tf

from medimg.privacy.per_example.contribution import Call, Contribution, Kind, bias, kept, lost_norms, scaled
from medimg.privacy.per_example.units import BatchUnits

# Time of reading or writing a number, in multiply-adds of a matrix product; measured on x86.
MEMORY = 8


@contextlib.contextmanager
def _without_activation(layer):
    activation = layer.activation
    layer.activation = tf.keras.activations.linear
    try:
        yield activation
    finally:
        layer.activation = activation


def forward(layer, inputs, watch):
    """The layer's own call, its activation apart: the tap is what the activation gets."""
    inputs = tf.cast(inputs, layer.compute_dtype)
    with _without_activation(layer) as activation:
        linear = layer(inputs)
    watch(linear)
    return activation(linear), Call(inputs, (linear,))


def contributions(layer, calls, units: BatchUnits) -> list[Contribution]:
    """Of Dense: kernel (m, n), bias (n,)."""
    result = [matrix([(x, g) for x, (g,) in calls], units)]
    if layer.use_bias:
        result.append(bias([g for _, (g,) in calls], units))
    return result


def matrix(calls: list, units: BatchUnits) -> Contribution:
    """Of a matrix (m, n) applied at every position of every call.

    Args:
        calls: inputs (B, ..., m) and output gradients (B, ..., n).
        units: of the B examples.
    """
    x = tf.concat([_positions(x) for x, _ in calls], axis=1)
    g = tf.concat([_positions(g) for _, g in calls], axis=1)
    m: int = x.shape[2]  # pyright: ignore[reportAssignmentType] - of the matrix, so never None
    n: int = g.shape[2]  # pyright: ignore[reportAssignmentType]
    positions: int | None = x.shape[1]
    if positions is None or not _by_products(positions, m, n):
        return kept(tf.matmul(x, g, transpose_a=True), units)

    def product(left, right):
        if positions == 1:
            return _dot(left(x), right(x)) * _dot(left(g), right(g))
        inputs = tf.matmul(left(x), right(x), transpose_b=True)
        return tf.reduce_sum(inputs * tf.matmul(left(g), right(g), transpose_b=True), axis=[1, 2])

    def weighted_sum(weights):
        flat = tf.reshape(x, [-1, m])
        return tf.matmul(flat, tf.reshape(scaled(g, weights), [-1, n]), transpose_a=True)

    lost = lost_norms(x, g, positions**2 * m * n)
    return Contribution(units.squared_norms_of_products(product, lost), weighted_sum)


def _dot(left, right):
    return tf.reduce_sum(left * right, axis=[1, 2])


def _positions(tensor):
    """(B, ..., C) -> (B, T, C)."""
    positions = tensor.shape[1:-1].num_elements()
    return tf.reshape(tensor, [tf.shape(tensor)[0], -1 if positions is None else positions, tensor.shape[-1]])


def _by_products(positions: int, m: int, n: int) -> bool:
    direct = positions * m * n + 3 * MEMORY * m * n
    # The product form multiplies once more, for the weighted sum.
    products = positions * m * n + positions**2 * (m + n) + 3 * MEMORY * positions**2
    return products < direct


DENSE = Kind(forward, contributions)
