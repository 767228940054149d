"""FixMatch (Sohn et al. 2020): what a weakly augmented image is surely called, its strong augmentation must be."""

import tensorflow as tf

from medimg.learners import learner


class FixMatch(learner.Learner):
    """Of `fixmatch`; its batches are ((labelled, weak, strong), targets[, sample weights])."""

    confidence: float
    unlabelled_weight: float

    def train_step(self, data):
        """One step on L labelled and U unlabelled images, all through the network at once."""
        (labelled, weak, strong), y, weight = tf.keras.utils.unpack_x_y_sample_weight(data)
        sizes = [tf.shape(part)[0] for part in (labelled, weak, strong)]
        with tf.GradientTape() as tape:
            logits = self(tf.concat([labelled, weak, strong], 0), training=True)
            of_labelled, of_weak, of_strong = tf.split(logits, sizes)
            chances = tf.stop_gradient(tf.nn.softmax(of_weak))
            sure = tf.cast(tf.reduce_max(chances, axis=1) >= self.confidence, tf.float32)
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.argmax(chances, axis=1), of_strong)
            # The mean is over all U: few sure ones weigh little.
            loss = self.compute_loss(y=y, y_pred=of_labelled, sample_weight=weight)
            loss += self.unlabelled_weight * tf.reduce_mean(sure * losses)
        self.descend(tape, loss)
        self.compiled_metrics.update_state(y, of_labelled)
        return self.step_metrics()


def fixmatch(model: tf.keras.Model, confidence: float, unlabelled_weight: float) -> FixMatch:
    """A model with the same layers that learns from unlabelled images too.

    Args:
        model: functional, logits (B, classes) of one label an image.
        confidence: least probability of a weakly augmented image's class that makes it a target.
        unlabelled_weight: of the unlabelled images' loss.
    """
    learning = learner.of(FixMatch, model.inputs, model.outputs, model.name)
    learning.confidence, learning.unlabelled_weight = confidence, unlabelled_weight
    return learning
