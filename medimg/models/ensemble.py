"""An ensemble as one model: its members side by side on one input, and the vote of their probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from medimg.models.calibration import probabilities_of
from medimg.models.resizing import AtSize

# Layers: all members' logits side by side, and what they agree on.
MEMBERS, VOTE = "members", "vote"
# Below float64's smallest probability; the logarithm stays finite.
_LEAST = 1e-300


@dataclass(frozen=True, eq=False)
class Member:
    """A model that votes.

    Attributes:
        model: its input in, logits out.
        calibrator: `calibrator` of its description, or None.
    """

    model: tf.keras.Model
    calibrator: dict | None = None


@tf.keras.saving.register_keras_serializable(package="medimg")
class SoftVote(tf.keras.layers.Layer):
    """Logits of M members float32 (B, M * classes) -> logits of the weighted mean of their probabilities (B, classes).

    The softmax of what it gives, of a multilabel task the sigmoid, is that mean.

    Args:
        task: `binary`, `multiclass` or `multilabel`.
        weights: (M,), of sum 1.
        calibrators: of each member None, or [method, [numbers of each class]].
    """

    def __init__(self, task: str, weights, calibrators, **kwargs):
        super().__init__(**kwargs)
        self.task, self.calibrators = task, list(calibrators)
        self.weights_of_members = [float(weight) for weight in weights]

    def call(self, logits):
        """In double precision: small probabilities and those near 1 keep their digits."""
        each = tf.split(tf.cast(logits, tf.float64), len(self.calibrators), axis=1)
        calibrators = [c and {"method": c[0], "classes": dict(enumerate(c[1]))} for c in self.calibrators]
        votes = [probabilities_of(one, self.task, c) for one, c in zip(each, calibrators, strict=True)]
        mean = tf.add_n([weight * vote for weight, vote in zip(self.weights_of_members, votes, strict=True)])
        logits_of_vote = tf.math.log(tf.maximum(mean, _LEAST))
        if self.task == "multilabel":
            logits_of_vote -= tf.math.log(tf.maximum(1.0 - mean, np.finfo(np.float64).eps))
        return tf.cast(logits_of_vote, tf.float32)

    def get_config(self):
        """For saving."""
        arguments = {"task": self.task, "weights": self.weights_of_members, "calibrators": self.calibrators}
        return {**super().get_config(), **arguments}


def combine(members: Sequence[Member], task: str, weights: Sequence[float], shape: Sequence[int]) -> tf.keras.Model:
    """One model, without models in it.

    Args:
        members: M of them, 2 or more.
        task: of all.
        weights: (M,), of sum 1.
        shape: of one input: (S, S, C), or (F,) of a table; images are brought to the size and channels of each member.
    """
    inputs = tf.keras.Input(tuple(shape), name="pixels" if len(shape) == 3 else "columns")
    answers = []
    for number, member in enumerate(members, 1):
        wanted, resized = member.model.input_shape[1:], inputs
        if tuple(wanted) != tuple(shape):
            resized = AtSize(wanted[0], wanted[-1], name=f"member{number}.size")(inputs)
        answers.append(_renamed(member.model, f"member{number}").call(resized))
    together = tf.keras.layers.Concatenate(name=MEMBERS)(answers)
    maps = [m.calibrator and [m.calibrator["method"], list(m.calibrator["classes"].values())] for m in members]
    return tf.keras.Model(inputs, SoftVote(task, weights, maps, name=VOTE)(together), name="ensemble")


def _renamed(model: tf.keras.Model, prefix: str) -> tf.keras.Model:
    def copy(layer):
        return type(layer).from_config({**layer.get_config(), "name": f"{prefix}.{layer.name}"})

    copied = tf.keras.models.clone_model(model, clone_function=copy)
    copied.set_weights(model.get_weights())
    return copied


def members_of(model: tf.keras.Model) -> list[tf.keras.Model]:
    """The members of an ensemble, each from the ensemble's input to its own logits; none of another model."""
    if not isinstance(model.layers[-1], SoftVote):
        return []
    return [tf.keras.Model(model.input, logits) for logits in model.get_layer(MEMBERS).input]


def features_of(model: tf.keras.Model):
    """What the last layer is given (B, F); of an ensemble, what all its members' last layers are."""
    members = members_of(model)
    if not members:
        return model.layers[-1].input
    return tf.keras.layers.Concatenate()([member.layers[-1].input for member in members])


def fitted_weights(right: np.ndarray) -> np.ndarray:
    """Weights of the mean of probabilities with the least log loss: float64 (M,), 0 or more, of sum 1.

    The loss is convex in the weights, so there is no other minimum.

    Args:
        right: float64 (M, N), each member's probability of what is true.
    """
    from scipy.optimize import minimize

    count = len(right)
    optimum = minimize(
        lambda w: (-np.log(w @ right).mean(), -(right / (w @ right)).mean(axis=1)),
        np.full(count, 1 / count),
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * count,
        constraints={"type": "eq", "fun": lambda w: w.sum() - 1.0, "jac": lambda w: np.ones(count)},
        options={"ftol": 1e-12, "maxiter": 1000},
    )
    weights = np.clip(optimum.x, 0.0, None)
    return weights / weights.sum()
