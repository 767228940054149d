"""Secret random numbers inside a graph: a function of the site's key and of what they are for.

TensorFlow's counter-based generator (Philox, Salmon et al. 2011) serves as the function that derives keys from keys. It
is not a cryptographic one, which the ledger's assumptions say.
"""

import tensorflow as tf

from federated.engine.local_training import Share
from federated.private.site_key import BYTES, FILE

_HASH_RANGE = 2**63 - 1


def derive(key: tf.Tensor, number) -> tf.Tensor:
    """The key of one use.

    Args:
        key: int64 (2,).
        number: int64 scalar, of the use.

    Returns:
        int64 (2,); each half from a half of the key, so that no bit of it is lost. TensorFlow's own `fold_in` keeps 32.
    """
    number = tf.cast(number, tf.int64)
    halves = [
        tf.random.stateless_uniform([], tf.stack([half, number]), None, None, tf.int64, alg="philox")
        for half in (key[0], key[1])
    ]
    return tf.stack(halves)


def round_key(share: Share, training: int) -> tf.Tensor:
    """The key of a site for one round, int64 (2,).

    It depends on everything that the round starts from: the same noise under other weights or other options would let
    the difference of two answers show the patients' gradients bare. A round that is repeated starts from the same.

    Args:
        share: of the site.
        training: names the options of the training, below 2^63.
    """
    raw = tf.io.read_file(tf.strings.join([share.folder, "/", FILE]))
    key = tf.ensure_shape(tf.io.decode_raw(raw, tf.int64), [BYTES // 8])
    key = derive(key, training)
    key = derive(key, tf.bitcast(share.seed, tf.int64))
    return derive(key, _digest([*share.weights, *share.shared, *share.client_state]))


class Normal:
    """Gaussian noise of one key, with the `normal` of tf.random.Generator; every call has a key of its own.

    Args:
        key: int64 (2,).
    """

    def __init__(self, key: tf.Tensor):
        self._key, self._calls = key, 0

    def normal(self, shape, stddev, dtype) -> tf.Tensor:
        """N(0, stddev^2)."""
        key = derive(self._key, self._calls)
        self._calls += 1
        return stddev * tf.random.stateless_normal(shape, key, dtype=dtype, alg="philox")


def _digest(tensors: list) -> tf.Tensor:
    def one(tensor):
        return tf.strings.to_hash_bucket_fast(tf.io.serialize_tensor(tensor), _HASH_RANGE)

    return one(tf.stack([one(tensor) for tensor in tensors]))
