"""Embedding: two tokens of an example add to the same row of the table only if they are equal."""

import tensorflow as tf

from medimg.privacy.per_example.contribution import Call, Contribution, Kind, scaled
from medimg.privacy.per_example.units import BatchUnits


def forward(layer, tokens, watch):
    """The rows that the tokens name are the tap."""
    rows = layer(tokens)
    watch(rows)
    return rows, Call(tokens, (rows,))


def contributions(layer, calls, units: BatchUnits) -> list[Contribution]:
    """Of the table (tokens, dimensions), without an example's copy of it."""
    batch = tf.shape(calls[0][0])[0]
    # Keras truncates as well when tokens come as floats.
    tokens = tf.concat([tf.reshape(tf.cast(t, tf.int32), [batch, -1]) for t, _ in calls], axis=1)
    flat = [tf.reshape(g, [batch, -1, layer.output_dim]) for _, (g,) in calls]
    g = tf.concat(flat, axis=1)

    def product(left, right):
        same = tf.equal(left(tokens)[:, :, None], right(tokens)[:, None, :])
        products = tf.matmul(left(g), right(g), transpose_b=True)
        return tf.reduce_sum(products * tf.cast(same, products.dtype), axis=[1, 2])

    def weighted_sum(weights):
        rows = tf.reshape(scaled(g, weights), [-1, layer.output_dim])
        return tf.math.unsorted_segment_sum(rows, tf.reshape(tokens, [-1]), layer.input_dim)

    return [Contribution(units.squared_norms_of_products(product), weighted_sum)]


KIND = Kind(forward, contributions)
