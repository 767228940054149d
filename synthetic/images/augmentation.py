"""DiffAugment (Zhao et al. 2020): real and made images alike are shifted.

The discriminator of a small set learns its images by heart; it can't when it never sees one twice alike. What it sees
of made images is shifted in the same ways, so the shifts do not leak into them. Brightness and contrast, which Zhao et
al. change too, tell classes of radiographs apart, and are left alone.
"""

import tensorflow as tf

from medimg.privacy.draws.keyed import uniform_tensor

SHIFT = 0.125  # of the size


def augment(pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Shift each image by itself; differentiable.

    Args:
        pixels: float32 (B, S, S, C) in 0..255.
        seed: int32 (2,), decides all.

    Returns:
        Likewise; pixels that come in from outside are 0.
    """
    most = _most(pixels)
    batch = tf.shape(pixels)[0]
    return _shifted(pixels, tf.random.stateless_uniform([batch, 2], seed, -most, most + 1, tf.int32))


def augment_apart(pixels: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
    """The same by the images' own keys: a patient's absence changes no other's shifts.

    Args:
        pixels: float32 (B, S, S, C) in 0..255.
        keys: uint64 (B,) (`medimg.privacy.draws.keyed`).
    """
    most = _most(pixels)
    shifts = tf.floor(uniform_tensor(keys, [2]) * (2 * most + 1))
    return _shifted(pixels, tf.cast(shifts, tf.int32) - most)


def _most(pixels: tf.Tensor) -> int:
    return max(1, round(pixels.shape[1] * SHIFT))


def _shifted(pixels: tf.Tensor, shifts: tf.Tensor) -> tf.Tensor:
    size, most = pixels.shape[1], _most(pixels)
    padded = tf.pad(pixels, [[0, 0], [most, most], [most, most], [0, 0]])
    places = tf.range(size)[None] + most
    rows = tf.gather(padded, places + shifts[:, :1], axis=1, batch_dims=1)
    columns = tf.transpose(rows, [0, 2, 1, 3])
    moved = tf.gather(columns, places + shifts[:, 1:], axis=1, batch_dims=1)
    return tf.transpose(moved, [0, 2, 1, 3])
