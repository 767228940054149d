"""Losses on logits, shared by every way of training."""

import numpy as np
import tensorflow as tf

from medimg.errors import InputError
from medimg.pipeline.balance import positive_weights


@tf.keras.saving.register_keras_serializable(package="medimg")
class WeightedBinaryCrossentropy(tf.keras.losses.Loss):
    """Binary cross-entropy on logits whose positives count `positive_weights` times, mean over classes.

    Args:
        positive_weights: float (classes,).
    """

    def __init__(self, positive_weights, name: str = "weighted_binary_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.positive_weights = np.asarray(positive_weights, np.float32)

    def call(self, y_true, y_pred):
        """Targets and logits (B, classes) -> losses (B,)."""
        losses = tf.nn.weighted_cross_entropy_with_logits(
            tf.cast(y_true, y_pred.dtype), y_pred, tf.constant(self.positive_weights)
        )
        return tf.reduce_mean(losses, axis=-1)

    def get_config(self):
        """For saving."""
        return {**super().get_config(), "positive_weights": self.positive_weights.tolist()}


@tf.keras.saving.register_keras_serializable(package="medimg")
class FocalCrossentropy(tf.keras.losses.Loss):
    """Cross-entropy on logits in which examples that are right already count little (Lin et al. 2017).

    Args:
        gamma: power of one minus the probability of the truth; 0: plain cross-entropy.
        multilabel: each class is a yes or no of its own, and the mean is over classes.
    """

    def __init__(self, gamma: float = 2.0, multilabel: bool = False, name: str = "focal_crossentropy", **kwargs):
        super().__init__(name=name, **kwargs)
        self.gamma, self.multilabel = gamma, multilabel

    def call(self, y_true, y_pred):
        """Targets and logits (B, classes) -> losses (B,)."""
        if self.multilabel:
            plain = tf.nn.sigmoid_cross_entropy_with_logits(tf.cast(y_true, y_pred.dtype), y_pred)
            return tf.reduce_mean(self._focused(plain), axis=-1)
        truth = tf.cast(tf.reshape(y_true, [-1]), tf.int64)
        return self._focused(tf.nn.sparse_softmax_cross_entropy_with_logits(truth, y_pred))

    def _focused(self, plain):
        # The cross-entropy is minus the logarithm of the truth's probability.
        return (1.0 - tf.exp(-plain)) ** self.gamma * plain

    def get_config(self):
        """For saving."""
        return {**super().get_config(), "gamma": self.gamma, "multilabel": self.multilabel}


@tf.keras.saving.register_keras_serializable(package="medimg")
class BalancedSoftmax(tf.keras.losses.Loss):
    """Cross-entropy of a softmax that knows how common classes were in training (Ren et al. 2020).

    The logarithm of each class's share is added to its logit here and not afterwards, so that the model's own logits
    are those of classes that come equally often.

    Args:
        shares: float (classes,), of the training examples; a class without any keeps its logit.
    """

    def __init__(self, shares, name: str = "balanced_softmax", **kwargs):
        super().__init__(name=name, **kwargs)
        self.shares = np.asarray(shares, np.float32)

    def call(self, y_true, y_pred):
        """Targets and logits (B, classes) -> losses (B,)."""
        log_shares = np.log(np.where(self.shares > 0, self.shares, 1.0))
        truth = tf.cast(tf.reshape(y_true, [-1]), tf.int64)
        return tf.nn.sparse_softmax_cross_entropy_with_logits(truth, y_pred + tf.constant(log_shares, y_pred.dtype))

    def get_config(self):
        """For saving."""
        return {**super().get_config(), "shares": self.shares.tolist()}


def loss_for(task: str) -> tf.keras.losses.Loss:
    """Cross-entropy on logits: binary per class when multilabel, categorical otherwise."""
    if task != "multilabel":
        return tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return tf.keras.losses.BinaryCrossentropy(from_logits=True)


def balanced_loss(balance: str, targets: np.ndarray, classes: int) -> tf.keras.losses.Loss:
    """The loss by which `--balance` trains.

    Args:
        balance: the option.
        targets: of the training part, int (N,) or (N, classes) of 0 and 1.
        classes: number of classes.

    Raises:
        InputError: it has no meaning for several labels an example.
    """
    multilabel = targets.ndim == 2
    if balance == "focal":
        return FocalCrossentropy(multilabel=multilabel)
    if multilabel and balance in ("balanced-softmax", "smote"):
        raise InputError(f"--balance {balance}: is for one label an example; use class-weight or focal")
    if balance == "balanced-softmax":
        return BalancedSoftmax(np.bincount(targets, minlength=classes) / len(targets))
    if balance == "class-weight" and multilabel:
        return WeightedBinaryCrossentropy(positive_weights(targets))
    return loss_for("multilabel" if multilabel else "categorical")


def mean_loss(logits: np.ndarray, targets: np.ndarray, task: str) -> float:
    """Mean unweighted loss of validation logits, in float64.

    Args:
        logits: (N, classes).
        targets: int (N,) or (N, classes) of 0 and 1.
        task: of the Dataset.
    """
    logits = logits.astype(np.float64)
    if task == "multilabel":
        return float(np.mean(np.logaddexp(0.0, logits) - logits * targets))
    normaliser = np.logaddexp.reduce(logits, axis=1)
    return float(np.mean(normaliser - logits[np.arange(len(logits)), targets]))
