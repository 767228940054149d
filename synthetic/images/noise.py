"""Random numbers from (seed, purpose, step) alone, so that a resumed training draws what it would have drawn."""

import zlib

import numpy as np
import tensorflow as tf

from synthetic.images.networks import Gan


def seed_of(seed: int, purpose: str, number: int = 0) -> np.ndarray:
    """A seed for TensorFlow's stateless random numbers: int32 (2,)."""
    words = np.random.SeedSequence([seed, zlib.crc32(purpose.encode()), number])
    return words.generate_state(2, np.uint32).view(np.int32)


def order(seed: int, epoch: int, rows: int) -> np.ndarray:
    """The order of the images in an epoch: int64 (rows,)."""
    return np.random.default_rng([seed, zlib.crc32(b"order"), epoch]).permutation(rows)


def generator_inputs(gan: Gan, condition: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Normal noise beside the condition (B, classes): (B, latent + classes)."""
    shape = [tf.shape(condition)[0], gan.latent_size]
    return tf.concat([tf.random.stateless_normal(shape, seed), condition], axis=1)
