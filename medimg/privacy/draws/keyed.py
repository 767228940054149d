"""Random numbers that belong to a patient: what one patient draws does not depend on who else is there.

The sensitivity of a private step is the change of its sum when one patient is left out. Numbers drawn by place in a
batch would then shift for everybody behind, and the sum would move by many times the clip. So each row has a key of
64 bits, made of a secret, its patient and its place among that patient's rows, and all that it draws is a function of
that key and of what is drawn.

SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014) makes numbers of
keys, alike in NumPy and in a TensorFlow graph. It is not cryptographic; the keys are made by one that is
(`medimg.privacy.draws.noise_seed`).
"""

import hashlib
from collections.abc import Sequence

import numpy as np

_GAMMA = 0x9E3779B97F4A7C15
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
# Of 64 bits those that a float64 or a float32 holds.
_DROPPED_64, _DROPPED_32 = 11, 40


def row_keys(secret: bytes, patients: Sequence[str]) -> np.ndarray:
    """A key for each row: uint64 (N,), of its patient and its place among that patient's rows.

    Args:
        secret: at most 64 bytes.
        patients: (N,), whose each row is; a patient's rows must keep their order, the others may change theirs.
    """
    keys, places = np.empty(len(patients), np.uint64), {}
    of_patient: dict[str, int] = {}
    for row, patient in enumerate(map(str, patients)):
        place = places[patient] = places.get(patient, -1) + 1
        if patient not in of_patient:
            of_patient[patient] = _digest(secret, patient)
        keys[row] = of_patient[patient]
        if place:
            keys[row] = fold(keys[row : row + 1], place)[0]
    return keys


def unit_keys(secret: bytes, names: Sequence[str]) -> np.ndarray:
    """A key for each patient, whatever the rows: uint64 (U,).

    Args:
        secret: at most 64 bytes.
        names: (U,), all different.
    """
    return np.array([_digest(secret, str(name)) for name in names], np.uint64)


def fold(keys: np.ndarray, *numbers: int) -> np.ndarray:
    """The keys of one use: uint64 (N,); other numbers give unrelated keys.

    Args:
        keys: uint64 (N,).
        numbers: what the use is, e.g. step and layer, each from 0 up.
    """
    for number in numbers:
        keys = _mixed(keys + np.uint64(((int(number) + 1) * _GAMMA) % 2**64))
    return keys


def uniform(keys: np.ndarray, columns: int) -> np.ndarray:
    """float64 (N, columns) in [0, 1)."""
    places = (np.arange(1, columns + 1, dtype=np.uint64) * np.uint64(_GAMMA))[None]
    return (_mixed(keys[:, None] + places) >> np.uint64(_DROPPED_64)) * 2.0**-53


def normal(keys: np.ndarray, columns: int) -> np.ndarray:
    """float64 (N, columns) of N(0, 1), by Box and Muller."""
    pairs = uniform(keys, 2 * columns)
    radius = np.sqrt(-2.0 * np.log1p(-pairs[:, :columns]))
    return radius * np.cos(2.0 * np.pi * pairs[:, columns:])


def fold_tensor(keys, *numbers):
    """TensorFlow twin of `fold`.

    Args:
        keys: uint64 (N,).
        numbers: integers, or integer scalar tensors.
    """
    import tensorflow as tf

    for number in numbers:
        # Bits as they are: a cast of a negative number is not defined.
        bits = tf.bitcast(tf.cast(number, tf.int64), tf.uint64)
        keys = _mixed_tensor(keys + (bits + _constant(1)) * _constant(_GAMMA))
    return keys


def uniform_tensor(keys, shape, dtype: str = "float32"):
    """TensorFlow twin of `uniform`: float (N, *shape) in [0, 1), with as many bits as the type holds.

    Args:
        keys: uint64 (N,).
        shape: of one row's numbers, integers or an int vector.
        dtype: float32 or float64.
    """
    import tensorflow as tf

    dropped_bits, unit = (_DROPPED_64, 2.0**-53) if dtype == "float64" else (_DROPPED_32, 2.0**-24)

    shape = tf.convert_to_tensor(shape, tf.int32)
    count = tf.reduce_prod(shape)
    places = tf.cast(tf.range(1, count + 1), tf.uint64) * _constant(_GAMMA)
    bits = _mixed_tensor(keys[:, None] + places[None])
    bits = tf.bitwise.right_shift(bits, _constant(dropped_bits))
    # By way of int64: TensorFlow has no fast cast from unsigned numbers.
    numbers = tf.cast(tf.bitcast(bits, tf.int64), dtype) * tf.constant(unit, dtype)
    return tf.reshape(numbers, tf.concat([tf.shape(keys), shape], 0))


def dropped(values, keys, rate: float, noise_shape=None):
    """Inverted dropout by key: each entry is 0 with probability `rate`, else divided by 1 - rate.

    Args:
        values: float (B, ...).
        keys: uint64 (B,).
        rate: in [0, 1).
        noise_shape: as of tf.keras.layers.Dropout: entries that share a draw have 1 there; None: none do.
    """
    import tensorflow as tf

    if not rate:
        return values
    shape = tf.shape(values)[1:]
    if noise_shape is not None:
        sizes = [shape[i] if n is None else n for i, n in enumerate(noise_shape[1:])]
        shape = tf.stack(sizes)
    kept = uniform_tensor(keys, shape) >= rate
    return tf.where(kept, values / (1.0 - rate), tf.zeros_like(values))


def _digest(secret: bytes, text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8, key=secret).digest(), "big")


def _mixed(bits: np.ndarray) -> np.ndarray:
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(_FIRST)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(_SECOND)
    return bits ^ (bits >> np.uint64(31))


def _mixed_tensor(bits):
    import tensorflow as tf

    def shifted(number):
        return tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, _constant(number)))

    bits = shifted(30) * _constant(_FIRST)
    bits = shifted(27) * _constant(_SECOND)
    return shifted(31)


def _constant(number: int):
    import tensorflow as tf

    return tf.constant(number, tf.uint64)
