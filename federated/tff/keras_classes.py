"""Keras layers built in a TensorFlow 1 graph, as TFF's are, without harm to those of the rest of the process."""

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf


@contextmanager
def kept() -> Iterator[None]:
    """Give Keras' classes back the parents they had.

    When a layer is made inside a `tf.Graph`, Keras 2 changes the parents of its class, for the whole process, to those
    of TensorFlow 1; models made before then fail until some layer of each class is made anew outside.
    """
    parents = {cls: cls.__bases__ for cls in _below(tf.keras.layers.Layer)}
    try:
        yield
    finally:
        for cls, bases in parents.items():
            if cls.__bases__ != bases:
                cls.__bases__ = bases


def _below(cls: type) -> list[type]:
    found, left = {}, [cls]
    while left:
        for child in left.pop().__subclasses__():
            if child not in found:
                found[child] = None
                left.append(child)
    return list(found)
