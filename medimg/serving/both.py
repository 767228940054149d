"""The served model of an image and its columns: both in one request, to probabilities by TensorFlow alone."""

import tensorflow as tf

from medimg.serving.images import decoded
from medimg.serving.tables import ServedTable


class ServedBoth(ServedTable):
    """A classifier with signatures `serving_default` (image bytes and raw columns) and `pixels` (with `features`).

    Args:
        model: [raw pixels, preprocessed columns] in, logits out.
        description: the Run's description, with `metadata`.
        thresholds: per class.
    """

    def __init__(self, model: tf.keras.Model, description: dict, thresholds: list[float]):
        self.form = tuple(description.get(name) for name in ("image_size", "channels", "white", "prepared_size"))
        super().__init__(model, {**description, "preprocessing": description["metadata"]}, thresholds)
        size, channels = self.form[:2]
        pixels = tf.TensorSpec((None, size, size, channels), tf.float32, name="pixels")
        features = tf.TensorSpec((None, model.inputs[1].shape[-1]), tf.float32, name="features")
        self.from_features = tf.function(
            lambda pixels, features: self.answer([pixels, features]), input_signature=[pixels, features]
        )

    def signatures(self) -> dict:
        """For tf.saved_model.save."""
        return {"serving_default": self.from_raw, "pixels": self.from_features}

    def _specs(self) -> dict[str, tf.TensorSpec]:
        return {"image_bytes": tf.TensorSpec((None,), tf.string, name="image_bytes"), **super()._specs()}

    def _from_raw(self, image_bytes, **inputs):
        pixels, error = decoded(image_bytes, *self.form)
        features, wrong = self.features(inputs)
        if wrong is not None:
            error = tf.where(tf.equal(error, ""), wrong, error)
        return self.answer([pixels, features], error)
