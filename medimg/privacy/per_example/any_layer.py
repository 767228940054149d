"""Any other trainable layer: its examples' gradients by running the layer again, vectorised over examples."""

import inspect

import tensorflow as tf

from medimg.privacy.per_example.contribution import Call, Contribution, Kind, kept
from medimg.privacy.per_example.units import BatchUnits


def forward(layer, inputs, watch):
    """The layer's own call on one tensor (B, ...); the output is the tap."""
    output = in_training(layer, inputs)
    watch(output)
    return output, Call(inputs, (output,))


def in_training(layer, *arguments, **named):
    """Call a layer as `fit` does; what the graph itself says of training goes first."""
    if "training" in inspect.signature(layer.call).parameters:
        named.setdefault("training", True)
    return layer(*arguments, **named)


def contributions(layer, calls, units: BatchUnits) -> list[Contribution]:
    """Of all its trainable weights; their examples' gradients are kept."""
    gradients = [_per_example(layer, x, g) for x, (g,) in calls]
    return [kept(tf.add_n(list(of_calls)), units) for of_calls in zip(*gradients, strict=True)]


def _per_example(layer, x, g) -> list[tf.Tensor]:
    variables = layer.trainable_weights

    def one(pair):
        with tf.GradientTape() as tape:
            output = in_training(layer, pair[0][None])
        return tape.gradient(
            output, variables, output_gradients=pair[1][None], unconnected_gradients=tf.UnconnectedGradients.ZERO
        )

    # A lookup's gradient is IndexedSlices, which neither the vectorised map nor clipping takes.
    gradients = tf.vectorized_map(lambda pair: [tf.convert_to_tensor(v) for v in one(pair)], (x, g))
    return [tf.ensure_shape(d, [None, *v.shape]) for d, v in zip(gradients, variables, strict=True)]


KIND = Kind(forward, contributions)
