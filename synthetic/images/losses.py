"""The losses of the two networks: non-saturating cross-entropy (Goodfellow et al. 2014), one number an image."""

import tensorflow as tf

HALF_RANGE = 127.5  # a step of 1 in the networks' own scale, -1..1


def real_losses(logits: tf.Tensor, label_smoothing: float) -> tf.Tensor:
    """Of the discriminator on real images (B,), whose label is 1 - smoothing (one-sided: Salimans et al. 2016)."""
    labels = tf.fill(tf.shape(logits), 1.0 - label_smoothing)
    return tf.nn.sigmoid_cross_entropy_with_logits(labels, logits)


def fake_losses(logits: tf.Tensor) -> tf.Tensor:
    """Of the discriminator on made images (B,)."""
    return tf.nn.softplus(logits)


def generator_losses(logits: tf.Tensor) -> tf.Tensor:
    """Of the generator: its images should pass as real (B,)."""
    return tf.nn.softplus(-logits)


def squared_slopes(gradients: tf.Tensor) -> tf.Tensor:
    """R1 (Mescheder et al. 2018): half the squared norm of the logit's slope at each real image.

    Args:
        gradients: of the logits by pixels 0..255, (B, S, S, C).

    Returns:
        (B,), in the scale -1..1.
    """
    return 0.5 * tf.reduce_sum(tf.square(gradients * HALF_RANGE), axis=[1, 2, 3])
