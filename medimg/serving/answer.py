"""What every served model answers: probabilities, class names and a label, from logits.

An input that can't be read, an image or a row, fails alone: its `error` says why, its label is empty and its
probabilities are `UNREAD`, which no reader of JSON chokes on, as many do on NaN.
"""

import numpy as np
import tensorflow as tf

from medimg.models.calibration import probabilities_of
from medimg.serving.frozen import frozen

UNREAD = -1.0


class ServedAnswer(tf.Module):
    """Base of a served classifier.

    Args:
        model: preprocessed input in, logits out.
        description: the Run's description.
        thresholds: per class; a binary label takes the positive class's, a multilabel one each class's own.
    """

    def __init__(self, model: tf.keras.Model, description: dict, thresholds: list[float]):
        super().__init__()
        self._forward = frozen(model)
        self.task = description["task"]
        self.classes = tf.constant(description["classes"])
        self.thresholds = np.asarray(thresholds, np.float32)
        self.calibrator = description.get("calibrator")

    def answer(self, model_input, error=None):
        """What is served of a batch.

        Args:
            model_input: of B examples; anything finite where there is an error.
            error: string (B,), '' for what could be read; None: all could.

        Returns:
            `probabilities` float32 (B, classes), `classes` (their names, B, classes), `label` (B,) and `error` (B,);
            unless the task is multiclass, `threshold`: binary float32 (B,), of the positive class, multilabel
            (B, classes); of a binary task `positive_class` (B,) and `positive_probability` float32 (B,).
        """
        probabilities = self.probabilities(model_input)
        # One row of names per example: TF Serving's row format wants a batch dimension on every output.
        classes = tf.tile(self.classes[None, :], [tf.shape(probabilities)[0], 1])
        label = self._label(probabilities)
        error = tf.fill(tf.shape(label), "") if error is None else error
        read = tf.equal(error, "")
        probabilities = tf.where(read[:, None], probabilities, UNREAD)
        answer = {
            "probabilities": probabilities,
            "classes": classes,
            "label": tf.where(read, label, ""),
            "error": error,
        }
        if self.task != "multiclass":
            answer["threshold"] = tf.zeros_like(probabilities) + self.thresholds
        if self.task == "binary":
            answer["threshold"] = answer["threshold"][:, 1]
            answer |= {"positive_class": classes[:, 1], "positive_probability": probabilities[:, 1]}
        return answer

    def probabilities(self, model_input):
        """float32 (B, classes), calibrated as the Run's are."""
        inputs = model_input if isinstance(model_input, list) else [model_input]
        logits = tf.cast(tf.nest.flatten(self._forward(*inputs))[0], tf.float64)
        return tf.cast(probabilities_of(logits, self.task, self.calibrator), tf.float32)

    def _label(self, probabilities):
        if self.task == "binary":
            positive = probabilities[:, 1] >= self.thresholds[1]
            return tf.gather(self.classes, tf.cast(positive, tf.int32))
        if self.task == "multiclass":
            return tf.gather(self.classes, tf.argmax(probabilities, axis=1))

        def names(row):
            return tf.strings.reduce_join(tf.boolean_mask(self.classes, row >= self.thresholds), separator="|")

        return tf.map_fn(names, probabilities, fn_output_signature=tf.string)
