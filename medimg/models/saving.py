"""Keras models to and from disk."""

from pathlib import Path

import tensorflow as tf

from medimg import atomic
from medimg.errors import InputError
from medimg.models import (
    amounts,
    attention,  # noqa: F401  these register the layers of our own that saved models have
    ensemble,  # noqa: F401
    preprocessing,  # noqa: F401
    resizing,  # noqa: F401
)
from medimg.models.allowed import check_file
from medimg.untrusted.printable import printable


def save_model(model: tf.keras.Model, path: Path) -> None:
    """Write a `.keras` file atomically."""
    with atomic.replacing(path) as temporary:
        # Not "keras": that is HDF5 in every thread but the one that imported Keras.
        model.save(temporary, save_format="keras_v3")


def load_model(path: Path) -> tf.keras.Model:
    """Read a `.keras` file without optimizer state.

    The one way in which medimg opens a model: see `medimg.models.allowed` for what is refused, and why.

    Raises:
        InputError: the file is not a Keras model, or holds what may run code.
    """
    numbers = check_file(Path(path))
    try:
        with amounts.numbers_at_most(numbers):
            model = tf.keras.models.load_model(path, compile=False, safe_mode=True)
        amounts.check_answers(model)
        return model
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise InputError(f"{path}: not readable as a Keras model ({printable(lines[0])})") from error
