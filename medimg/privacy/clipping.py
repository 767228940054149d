"""The clipped sum of the patients' gradients, and the noise that makes it private: DP-SGD (Abadi et al. 2016).

The norms of all examples' gradients are computed layer by layer from the layers' inputs and output gradients of
one forward and one backward pass (Goodfellow 2015; Rochette et al. 2019; Lee and Kifer 2021). A second backward pass
over the re-weighted losses is not needed: an example's weight multiplies its output gradients, so each layer's clipped
sum follows from those of the first pass (Bu et al. 2023, "book-keeping"). What is released is that of TensorFlow
Privacy's `GaussianSumQuery`: the sum over units of g * min(1, C / ||g||), plus N(0, (noise_multiplier * C)^2).
"""

from typing import NamedTuple

import tensorflow as tf

from medimg.errors import InputError
from medimg.privacy.per_example.forward import forward, kinds
from medimg.privacy.per_example.kinds import check
from medimg.privacy.per_example.units import BatchUnits

# TensorFlow takes float32's smallest numbers for 0, squares of 1e-19 too: of a billion parameters each below that the
# norm is 3e-15 and counts as none. Such a clip would not be one.
LEAST_CLIP = 1e-12


class ClippedSum(NamedTuple):
    """What one pass over a batch gives; nothing of it is private yet.

    Attributes:
        gradients: the clipped sums, in the order of `model.trainable_variables`.
        loss: float scalar, mean over the examples present.
        norms: float (B,), of the units' gradients before clipping; of empty places 0.
        units: int32 scalar, units present.
        outputs: of the model (B, ...).
    """

    gradients: list
    loss: tf.Tensor
    norms: tf.Tensor
    units: tf.Tensor
    outputs: tf.Tensor


def clipped_sum(
    model: tf.keras.Model, loss, x, y, units, l2_norm_clip: float, sample_weight=None, keys=None
) -> ClippedSum:
    """The sum of the units' gradients, each scaled to a norm of at most `l2_norm_clip` (inf: not scaled).

    A logical batch larger than memory is the sum of its parts, as long as each unit is wholly in one part; noise is
    added once, to the total. A unit whose gradient is not finite counts as absent: its NaN would be everybody's, and
    tell that it was there. For use in tf.function.

    Args:
        model: functional, with one output; its trainable layers are clipped together.
        loss: Keras loss or function (y, outputs) -> (B,); an example's loss must not depend on other examples.
        x: inputs (B, ...).
        y: targets (B, ...).
        units: integer (B,), the patient of each example, negative for padding; None: each example on its own,
            and B is not 0.
        l2_norm_clip: C, largest norm of a unit's gradient, which is that of the sum of its examples' losses.
        sample_weight: float (B,), multiplies the losses.
        keys: uint64 (B,), what each example's dropout is drawn by (`privacy.draws.keyed`); needed where there is any.

    Raises:
        InputError: a layer or option that can't be private.
    """
    check(model)
    chosen = kinds(model)
    rows = tf.shape(y)[0]
    x, targets, units, sample_weight, keys = never_empty(x, y, units, sample_weight, keys)
    batch = tf.shape(targets)[0]

    def once(present):
        members = BatchUnits(units, batch, present)
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            inputs = tf.nest.map_structure(lambda t: only(t, members.present), x)
            outputs, calls = forward(model, inputs, tape.watch, chosen, keys)
            losses = example_losses(loss, targets, outputs)
            losses *= tf.cast(members.present, losses.dtype)
            if sample_weight is not None:
                losses *= tf.cast(tf.reshape(sample_weight, [-1]), losses.dtype)
            total = tf.reduce_sum(losses)
        taps = {name: [call.taps for call in of_layer] for name, of_layer in calls.items()}
        at_taps = tape.gradient(total, taps, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        # The gradients have the structure of the taps, which TensorFlow's types do not say.
        contributions = _contributions(model, chosen, calls, at_taps, members)  # pyright: ignore[reportArgumentType]
        norms = tf.sqrt(tf.add_n([c.squared_norms for c in contributions]))
        weights = members.to_examples(1.0 / tf.maximum(norms / l2_norm_clip, 1.0))
        left_out = members.to_examples(tf.cast(tf.logical_not(tf.math.is_finite(norms)), tf.float32)) > 0
        count = tf.cast(tf.reduce_sum(members.present), total.dtype)
        mean = tf.math.divide_no_nan(total, count)
        gradients = [c.weighted_sum(weights) for c in contributions]
        result = ClippedSum(gradients, mean, norms, members.count(), outputs)
        return tf.reduce_any(left_out), present & tf.logical_not(left_out), result

    everyone = tf.ones([batch], tf.bool)
    # A loop, not a second copy of the model in the graph: it runs again only if somebody was left out.
    result = tf.while_loop(
        lambda again, present, result: again,
        lambda again, present, result: once(present),
        (tf.constant(True), everyone, _nothing(model, batch)),
        shape_invariants=(tf.TensorShape([]), everyone.shape, _shapes(model)),
        maximum_iterations=2,
    )[2]
    return result._replace(outputs=result.outputs[:rows])


def add_noise(
    sums: list, l2_norm_clip: float, noise_multiplier: float, expected_units: float, generator: tf.random.Generator
) -> list:
    """(sums + N(0, (noise_multiplier * l2_norm_clip)^2)) / expected_units.

    Args:
        sums: of `clipped_sum`.
        l2_norm_clip: C, as there.
        noise_multiplier: standard deviation of the noise over C.
        expected_units: units in a batch on average. The sum is divided by this fixed number: the number that
            Poisson sampling did draw is not public, and may be 0.
        generator: of the noise; saved in a tf.train.Checkpoint, a resumed run draws the same. TensorFlow has no
            cryptographically secure generator: whoever learns the seed can subtract the noise.

    Raises:
        InputError: noise without a finite clip, or numbers out of range.
    """
    check_mechanism(l2_norm_clip, noise_multiplier, expected_units)
    if noise_multiplier == 0:
        return [total / expected_units for total in sums]
    return noisy_mean(sums, noise_multiplier * l2_norm_clip, expected_units, generator)


def noisy_mean(sums: list, deviation, expected_units, generator) -> list:
    """(sums + N(0, deviation^2)) / expected_units, of any numbers; for use where they are known to make a mechanism.

    Args:
        sums: clipped.
        deviation: standard deviation of the noise, a number or scalar tensor.
        expected_units: likewise.
        generator: has the `normal` of tf.random.Generator.
    """
    return [
        (total + generator.normal(total.shape, stddev=deviation, dtype=total.dtype)) / expected_units for total in sums
    ]


def check_mechanism(l2_norm_clip: float, noise_multiplier: float, expected_units: float) -> None:
    """Refuse numbers that make no mechanism.

    Raises:
        InputError: names the option.
    """
    if not l2_norm_clip > 0:
        raise InputError(f"--dp-clip {l2_norm_clip}: must be above 0")
    if l2_norm_clip < LEAST_CLIP:
        raise InputError(f"--dp-clip {l2_norm_clip}: must be {LEAST_CLIP:g} or more, or its noise is lost in rounding")
    if not 0 <= noise_multiplier < float("inf"):
        raise InputError(f"noise multiplier {noise_multiplier}: must be a number from 0 up")
    if noise_multiplier > 0 and l2_norm_clip == float("inf"):
        raise InputError("--dp-clip inf: noise needs a finite clip")
    if not expected_units > 0:
        raise InputError(f"expected units {expected_units}: must be above 0")


def never_empty(x, y, units, sample_weight, keys) -> tuple:
    """The batch, with a row of padding if it may have none: TensorFlow's kernels abort on empty maps.

    A batch without `units` can't mark padding and must not be empty.
    """
    y = tf.convert_to_tensor(y)
    # The size of a batch, when it is known, is known when the step is traced.
    if units is None or y.shape[0]:
        return x, y, units, sample_weight, keys
    missing = tf.cast(tf.equal(tf.shape(y)[0], 0), tf.int32)

    def padded(tensor, value=0):
        tensor = tf.convert_to_tensor(tensor)
        margins = [[0, missing], *([[0, 0]] * (tensor.shape.rank - 1))]
        return tf.pad(tensor, margins, constant_values=tf.cast(value, tensor.dtype))

    weights = None if sample_weight is None else padded(sample_weight)
    keys = None if keys is None else tf.bitcast(padded(tf.bitcast(keys, tf.int64)), tf.uint64)
    return tf.nest.map_structure(padded, x), padded(y), padded(units, -1), weights, keys


def only(values, present) -> tf.Tensor:
    """Examples (B, ...) where present (B,) is not 0, else zeros: whatever an absent one holds reaches nothing."""
    values = tf.convert_to_tensor(values)
    mask = tf.reshape(present > 0, [-1] + [1] * (values.shape.rank - 1))
    return tf.where(mask, values, tf.zeros_like(values))


def example_losses(loss, y, outputs) -> tf.Tensor:
    """(B,): mean over what else an example's loss has."""
    # A Keras loss' `call` is before its reduction over the batch.
    compute = loss.call if isinstance(loss, tf.keras.losses.Loss) else loss
    losses = tf.convert_to_tensor(compute(y, outputs))
    if losses.shape.rank == 0:
        raise InputError("loss: must be one number for each example, not one for the batch")
    return tf.reduce_mean(losses, axis=list(range(1, losses.shape.rank)))


def _nothing(model, batch) -> ClippedSum:
    """What the loop over a batch starts with; of `_shapes`."""
    outputs = model.outputs[0]
    shape = tf.stack([batch, *[1 if size is None else size for size in outputs.shape[1:]]])
    zero = tf.zeros([], outputs.dtype)
    gradients = [tf.zeros(v.shape, v.dtype) for v in model.trainable_variables]
    return ClippedSum(gradients, zero, tf.zeros([batch], outputs.dtype), tf.constant(0), tf.zeros(shape, zero.dtype))


def _shapes(model) -> ClippedSum:
    scalar = tf.TensorShape([])
    gradients = [v.shape for v in model.trainable_variables]
    outputs = tf.TensorShape([None, *model.outputs[0].shape[1:]])
    # Shapes in the places of tensors, as a loop asks for them.
    return ClippedSum._make([gradients, scalar, tf.TensorShape([None]), scalar, outputs])


def _contributions(model, chosen: dict, calls: dict, at_taps: dict, members: BatchUnits) -> list:
    """In the order of the model's trainable variables."""
    of_variable = {}
    layers = {layer.name: layer for layer in model.layers}
    for name, kind in chosen.items():
        pairs = [(call.inputs, gradients) for call, gradients in zip(calls[name], at_taps[name], strict=True)]
        of_layer = kind.contributions(layers[name], pairs, members)
        for variable, contribution in zip(layers[name].trainable_weights, of_layer, strict=True):
            if variable.ref() in of_variable:
                raise InputError(
                    f"layer {name}: shares the variable {variable.name} with another layer; give each its own"
                )
            of_variable[variable.ref()] = contribution
    return [of_variable[variable.ref()] for variable in model.trainable_variables]
