"""Mean teacher (Tarvainen and Valpola 2017): a model agrees with the running mean of itself on other views."""

import tensorflow as tf

from medimg.learners import learner


class Teacher(learner.LearnerState):
    """The running mean of a model's trained weights.

    Attributes:
        model: that has them; it is what is evaluated and kept.
        steps: int64 scalar, that it has followed.
    """

    def __init__(self, student: tf.keras.Model):
        super().__init__()
        self.model = tf.keras.models.clone_model(student)
        self.model.set_weights(student.get_weights())
        self.steps = tf.Variable(0, trainable=False, dtype=tf.int64)

    def follow(self, weights: list[tf.Variable], decay: float) -> None:
        """Take in a step's weights: at first as their plain mean, later by `decay`."""
        self.steps.assign_add(1)
        share = tf.minimum(1.0 - 1.0 / (tf.cast(self.steps, tf.float32) + 1.0), decay)
        for mean, value in zip(self.model.trainable_variables, weights, strict=True):
            mean.assign(share * mean + (1.0 - share) * value)


class MeanTeacher(learner.Learner):
    """Of `mean_teacher`; its batches are ((labelled, weak, strong), targets[, sample weights])."""

    state: Teacher
    unlabelled_weight: float
    decay: float
    ramp_steps: int
    multilabel: bool

    def train_step(self, data):
        """One step: the student sees the strong views of the unlabelled images, the teacher the weak ones."""
        (labelled, weak, strong), y, weight = tf.keras.utils.unpack_x_y_sample_weight(data)
        sizes = [tf.shape(part)[0] for part in (labelled, strong)]
        chances = tf.nn.sigmoid if self.multilabel else tf.nn.softmax
        # As in training, so that its BatchNorm has statistics of its own: the student's are not those of mean weights.
        goal = tf.stop_gradient(chances(self.state.model(weak, training=True)))
        with tf.GradientTape() as tape:
            of_labelled, of_strong = tf.split(self(tf.concat([labelled, strong], 0), training=True), sizes)
            loss = self.compute_loss(y=y, y_pred=of_labelled, sample_weight=weight)
            loss += self._weight() * tf.reduce_mean((chances(of_strong) - goal) ** 2)
        self.descend(tape, loss)
        self.state.follow(self.trainable_variables, self.decay)
        self.compiled_metrics.update_state(y, of_labelled)
        return self.step_metrics()

    def _weight(self) -> tf.Tensor:
        # A teacher that knows nothing yet must not be followed: raised by exp(-5 (1 - t)^2), as the authors do.
        t = tf.minimum(tf.cast(self.state.steps, tf.float32) / float(max(1, self.ramp_steps)), 1.0)
        return self.unlabelled_weight * tf.exp(-5.0 * (1.0 - t) ** 2)


def mean_teacher(
    model: tf.keras.Model, unlabelled_weight: float, decay: float, ramp_steps: int, multilabel: bool
) -> MeanTeacher:
    """A model with the same layers that learns from unlabelled images too.

    Args:
        model: functional, logits (B, classes).
        unlabelled_weight: of the squared distance between probabilities, once it is wholly there.
        decay: of the running mean, once there are steps enough.
        ramp_steps: until the weight is wholly there.
        multilabel: probabilities are by class.
    """
    learning = learner.of(MeanTeacher, model.inputs, model.outputs, model.name, Teacher(model))
    learning.unlabelled_weight, learning.decay = unlabelled_weight, decay
    learning.ramp_steps, learning.multilabel = ramp_steps, multilabel
    return learning
