"""Dropout that depends on (seed, epoch, layer) alone, so that a resumed epoch drops what the first try dropped."""

import zlib

import numpy as np
import tensorflow as tf


def use_generators() -> None:
    """Make layers built from now on draw from generators whose state can be set, not from op counters."""
    tf.keras.backend.experimental.enable_tf_random_generator()


def reseed(model: tf.keras.Model, seed: int, epoch: int, number: int = 0) -> None:
    """Set every random layer's generator for an epoch.

    Keras keeps the generator out of checkpoints and has no public way to it. Models of one training, whose layers may
    have the same names, draw apart by their number.
    """
    for layer in model.layers:
        random = getattr(layer, "_random_generator", None)
        generator = getattr(random, "_generator", None)
        if generator is not None:
            words = np.random.SeedSequence([seed, epoch, zlib.crc32(layer.name.encode()), *([number] * (number > 0))])
            generator.reset_from_seed(int(words.generate_state(1, np.uint64)[0] >> np.uint64(1)))
