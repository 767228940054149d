"""A Run's calibrator in the graph: what the served model and an ensemble make of logits."""

import tensorflow as tf


def probabilities_of(logits, task: str, calibrator: dict | None):
    """`medimg.evaluation.prediction.probabilities` in the graph: float64 (B, classes) in and out."""
    activation = tf.sigmoid if task == "multilabel" else tf.nn.softmax
    if calibrator is None:
        return activation(logits)
    maps = list(calibrator["classes"].values())
    if calibrator["method"] == "temperature":
        return activation(logits / tf.constant([one["temperature"] for one in maps], tf.float64))
    odds = tf.unstack(logits, num=len(maps), axis=1)
    if task != "multilabel":
        others = [tf.stack(odds[:k] + odds[k + 1 :], axis=1) for k in range(len(maps))]
        odds = [one - tf.reduce_logsumexp(other, axis=1) for one, other in zip(odds, others, strict=True)]
    each = tf.stack([_mapped(one, to) for one, to in zip(odds, maps, strict=True)], axis=1)
    return each if task == "multilabel" else each / tf.reduce_sum(each, axis=1, keepdims=True)


def _mapped(odds, one: dict):
    if "slope" in one:
        return tf.sigmoid(one["slope"] * odds + one["intercept"])
    x, y = (tf.constant(one[name], tf.float64) for name in ("log_odds", "probability"))
    odds = tf.clip_by_value(odds, x[0], x[-1])
    # Counted rather than searched for: ONNX has no operator that searches.
    right = tf.reduce_sum(tf.cast(odds[:, None] >= x, tf.int32), axis=1)
    right = tf.clip_by_value(right, 1, len(one["log_odds"]) - 1)
    (x0, x1), (y0, y1) = ((tf.gather(v, right - 1), tf.gather(v, right)) for v in (x, y))
    return y0 + (y1 - y0) * (odds - x0) / (x1 - x0)
