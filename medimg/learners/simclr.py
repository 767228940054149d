"""SimCLR (Chen et al. 2020): features by which two augmentations of an image are known among those of others."""

import tensorflow as tf

from medimg.learners import learner

# Widths of the projection that is thrown away afterwards.
_HIDDEN, _PROJECTED = 128, 64


class Contrastive(learner.Learner):
    """Of `contrastive`; its batches are ((first views, second views), anything)."""

    temperature: float

    def train_step(self, data):
        """One step on two views of B images; no label is looked at."""
        (first, second), _, _ = tf.keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            loss = contrastive_loss(self(tf.concat([first, second], 0), training=True), self.temperature)
        self.descend(tape, loss)
        return {"loss": self.state.mean_loss.result(), "accuracy": tf.constant(float("nan"))}


def contrastive_loss(projected: tf.Tensor, temperature: float) -> tf.Tensor:
    """NT-Xent, mean over 2B views.

    Args:
        projected: float32 (2B, D); views i and B + i are of one image.
        temperature: of the cosines.
    """
    unit = tf.math.l2_normalize(projected, axis=1)
    n = tf.shape(unit)[0]
    cosines = tf.matmul(unit, unit, transpose_b=True) / temperature
    # A view is no candidate for itself.
    cosines = tf.linalg.set_diag(cosines, tf.fill([n], cosines.dtype.min))
    partner = (tf.range(n) + n // 2) % n
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(partner, cosines))


def contrastive(extractor: tf.keras.Model, temperature: float) -> Contrastive:
    """A model that trains an extractor's layers below a projection of its own.

    Args:
        extractor: functional, pixels -> features (B, F).
        temperature: of the cosines.
    """
    layers = tf.keras.layers
    x = layers.Dense(_HIDDEN, activation="relu", name="projection_hidden")(extractor.output)
    x = layers.Dense(_PROJECTED, name="projection")(x)
    learning = learner.of(Contrastive, extractor.inputs, x, extractor.name)
    learning.temperature = temperature
    return learning
