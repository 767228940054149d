"""Keras models to and from disk."""

from pathlib import Path

import tensorflow as tf

from medimg import atomic
from medimg.errors import InputError
from medimg.models import preprocessing  # noqa: F401  registers the layer that saved models begin with


def save_model(model: tf.keras.Model, path: Path) -> None:
    """Write a `.keras` file atomically."""
    with atomic.replacing(path) as temporary:
        model.save(temporary, save_format="keras")


def load_model(path: Path) -> tf.keras.Model:
    """Read a `.keras` file without optimizer state.

    Raises:
        InputError: the file is not a Keras model.
    """
    try:
        return tf.keras.models.load_model(path, compile=False)
    except Exception as error:
        raise InputError(
            f"{path}: not readable as a Keras model ({str(error).splitlines()[0][:200]})"
        ) from error
