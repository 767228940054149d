"""What a training computes in, and what is left of it in the model: float32 weights, and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

FULL = "float32"


@contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Layers made meanwhile compute in Keras' policy of this name; their weights are float32.

    Source: Micikevicius et al., "Mixed Precision Training", ICLR 2018. Of float16 Keras scales the loss.
    """
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(precision)
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
