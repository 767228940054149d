"""A model of pixels and columns, at one row's columns: a model of pixels, for what explains images."""

import numpy as np
import tensorflow as tf

from medimg.models.head import COLUMNS, DROPOUT, LOGITS


class AtColumns:
    """Pixels in, logits out, as `model` gives them beside a row's columns.

    The columns join behind the pooled features and before the one layer of logits, so that those of a row are a
    constant that is added to the logits of any image.

    Args:
        model: of pixels and columns.
    """

    def __init__(self, model: tf.keras.Model):
        pooled = model.get_layer(DROPOUT).output
        self._last = tf.keras.layers.Dense(model.output_shape[-1], name=LOGITS)
        self.model = tf.keras.Model(model.inputs[0], self._last(pooled))
        self._beside = tf.keras.Model(model.inputs[1], model.get_layer(f"{COLUMNS}_hidden").output)
        self._kernel, self._bias = model.get_layer(LOGITS).get_weights()
        self._width = pooled.shape[-1]

    def at(self, columns: np.ndarray) -> tf.keras.Model:
        """The model at a row's columns float32 (F,); it is the same one, set anew, at every call."""
        given = np.concatenate([columns, self._beside(columns[None])[0]])
        self._last.set_weights([self._kernel[: self._width], self._bias + given @ self._kernel[self._width :]])
        return self.model
