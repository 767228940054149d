"""What a map explains: the log-odds of a class in a binary model, its logit otherwise."""

import tensorflow as tf

from medimg.models.head import POOL


def class_score(logits, targets, task: str):
    """Evidence for one class per image.

    With two logits only their difference reaches the softmax; a logit alone would show what both share too.

    Args:
        logits: float (B, classes).
        targets: int (B,), the class to explain.
        task: `binary`, `multiclass` or `multilabel`.

    Returns:
        float (B,).
    """
    score = tf.gather(logits, targets, batch_dims=1)
    return 2.0 * score - tf.reduce_sum(logits, axis=1) if task == "binary" else score


def last_map(model: tf.keras.Model) -> str:
    """Name of the layer whose maps are pooled: what class activation maps look at."""
    # A member of an ensemble has its own name before those of its layers.
    tensor = next(layer for layer in model.layers if layer.name.split(".")[-1] == POOL).input
    return next(layer.name for layer in model.layers if layer.output is tensor)
