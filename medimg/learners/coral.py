"""Deep CORAL (Sun and Saenko 2016): features of two sources are taught to vary together in one way."""

import tensorflow as tf

from medimg.learners import learner


class Both(learner.LearnerState):
    """The model with its features as a second output.

    Attributes:
        both: inputs -> features (B, F) and logits (B, classes).
    """

    def __init__(self, both: tf.keras.Model):
        super().__init__()
        self.both = both


class Coral(learner.Learner):
    """Of `coral`; its batches are ((images, images of the other source), targets[, sample weights])."""

    state: Both
    weight: float

    def train_step(self, data):
        """One step on labelled images and unlabelled ones of the other source, all through the network at once."""
        (labelled, unlabelled), y, weight = tf.keras.utils.unpack_x_y_sample_weight(data)
        sizes = [tf.shape(part)[0] for part in (labelled, unlabelled)]
        with tf.GradientTape() as tape:
            features, logits = self.state.both(tf.concat([labelled, unlabelled], 0), training=True)
            of_labelled, of_unlabelled = tf.split(features, sizes)
            logits = logits[: sizes[0]]
            loss = self.compute_loss(y=y, y_pred=logits, sample_weight=weight)
            loss += self.weight * distance(of_labelled, of_unlabelled)
        self.descend(tape, loss)
        self.compiled_metrics.update_state(y, logits)
        return self.step_metrics()


def distance(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """Squared Frobenius distance of the covariances of features (B, F) and (C, F), over 4 F^2."""
    gap = _covariance(first) - _covariance(second)
    return tf.reduce_sum(gap**2) / (4.0 * tf.cast(tf.shape(first)[1], tf.float32) ** 2)


def _covariance(features: tf.Tensor) -> tf.Tensor:
    centred = features - tf.reduce_mean(features, axis=0)
    return tf.matmul(centred, centred, transpose_a=True) / tf.cast(tf.maximum(tf.shape(features)[0] - 1, 1), tf.float32)


def coral(model: tf.keras.Model, features: str, weight: float) -> Coral:
    """A model with the same layers that keeps two sources' features alike.

    Args:
        model: functional, logits (B, classes).
        features: name of the layer whose output (B, F) is compared.
        weight: of the distance.
    """
    both = tf.keras.Model(model.inputs, [model.get_layer(features).output, model.output])
    learning = learner.of(Coral, model.inputs, model.outputs, model.name, Both(both))
    learning.weight = weight
    return learning
