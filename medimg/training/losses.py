"""Losses on logits, shared by every way of training."""

import numpy as np
import tensorflow as tf


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


def loss_for(task: str, positive_weights: np.ndarray | None = None) -> tf.keras.losses.Loss:
    """Cross-entropy on logits: binary per class when multilabel, categorical otherwise."""
    if task != "multilabel":
        return tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    if positive_weights is not None:
        return WeightedBinaryCrossentropy(positive_weights)
    return tf.keras.losses.BinaryCrossentropy(from_logits=True)


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
