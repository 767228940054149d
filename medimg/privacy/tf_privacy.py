"""TensorFlow Privacy's own clipping, for those who want the reference implementation rather than its speed."""

import tensorflow as tf

from medimg.privacy.clipping import ClippedSum, example_losses, never_empty, only
from medimg.privacy.per_example.forward import forward
from medimg.privacy.per_example.kinds import check
from medimg.privacy.per_example.units import BatchUnits


def clipped_sum(
    model: tf.keras.Model, loss, x, y, units, l2_norm_clip: float, sample_weight=None, keys=None
) -> ClippedSum:
    """As `clipping.clipped_sum`, by TensorFlow Privacy's vectorised optimizer with one example a microbatch.

    An example whose loss is not finite counts as absent. Gradients come without its noise, which `clipping.add_noise`
    adds from the generator that a checkpoint holds; the norms are not known to it and are NaN.

    Raises:
        tf.errors.InvalidArgumentError: a unit has several examples; `l2_norm_clip` must be finite.
    """
    from tensorflow_privacy.privacy.optimizers import dp_optimizer_keras_vectorized

    check(model)
    rows = tf.shape(y)[0]
    x, targets, units, sample_weight, keys = never_empty(x, y, units, sample_weight, keys)
    batch = tf.shape(targets)[0]

    def losses_of(inputs):
        outputs, _ = forward(model, inputs, lambda taps: None, {}, keys)
        return outputs, example_losses(loss, targets, outputs)

    finite = tf.math.is_finite(losses_of(x)[1])
    members = BatchUnits(units, batch, finite)
    x = tf.nest.map_structure(lambda t: only(t, members.present), x)
    alone = tf.debugging.assert_equal(
        tf.cast(members.count(), tf.float32),
        tf.reduce_sum(members.present),
        "--dp-engine tf-privacy protects single images, but a patient has several; use --dp-engine medimg",
    )
    # Legacy SGD only carries the method that clips: the user's optimizer takes the step.
    clipper = dp_optimizer_keras_vectorized.VectorizedDPKerasSGDOptimizer(l2_norm_clip, 0.0)
    with tf.control_dependencies([alone] if alone is not None else []), tf.GradientTape() as tape:
        outputs, losses = losses_of(x)
        losses *= tf.cast(members.present, losses.dtype)
        if sample_weight is not None:
            losses *= tf.cast(tf.reshape(sample_weight, [-1]), losses.dtype)
    pairs = clipper._compute_gradients(losses, model.trainable_variables, tape=tape)
    # It divides by the examples that there are.
    sums = [gradient * tf.cast(batch, gradient.dtype) for gradient, _ in pairs]
    present = tf.reduce_sum(members.present)
    return ClippedSum(
        gradients=sums,
        loss=tf.math.divide_no_nan(tf.reduce_sum(losses), present),
        norms=tf.fill([batch], float("nan")),
        units=members.count(),
        outputs=outputs[:rows],
    )
