"""Which examples of a batch belong to one privacy unit (a patient)."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

# Rounding errors, in units of the type's precision, that a sum over examples may hide.
ROUNDINGS = 32.0


class BatchUnits:
    """The units of a batch of B examples, numbered 0 .. B-1; those that no example has are empty.

    Args:
        identity: integer (B,), the same for examples of one unit and negative for padding; None: every example is
            a unit of its own.
        batch: B, a number or scalar tensor.
        present: bool (B,), false for examples that are left out beside the padding; None: none are.
    """

    def __init__(self, identity, batch, present=None):
        self.batch = batch
        self.index = None
        if identity is None:
            alone = tf.ones([batch], tf.float32)
            self.present = alone if present is None else tf.cast(present, tf.float32)
            return
        identity = tf.convert_to_tensor(identity)
        real = identity >= 0 if present is None else (identity >= 0) & present
        self.present = tf.cast(real, tf.float32)
        self.index = tf.where(real, tf.unique(identity).idx, -1)
        # Not ==: in the graphs that TFF makes, that asks whether two tensors are one object.
        same = tf.equal(self.index[:, None], self.index[None, :]) & real[:, None]
        above = tf.linalg.band_part(tf.ones([batch, batch], tf.bool), 0, -1)
        diagonal = tf.eye(batch, dtype=tf.bool)
        # Each unordered pair of different examples of a unit once: int64 (pairs, 2).
        self.pairs = tf.where(same & above & tf.logical_not(diagonal))

    def squared_norms(self, per_example) -> tf.Tensor:
        """Squared norm of each unit's sum.

        Args:
            per_example: float (B, ...).

        Returns:
            float (B,), 0 for empty units.
        """
        flat = tf.reshape(per_example, [tf.shape(per_example)[0], -1])
        squared = tf.reduce_sum(tf.square(self._total(flat)), axis=1)
        if self.index is None:
            return squared
        return self._guarded(squared, tf.reduce_sum(tf.square(flat), axis=1))

    def squared_norms_of_products(self, product: Callable, lost: tf.Tensor | None = None) -> tf.Tensor:
        """As `squared_norms`, from inner products of pairs of examples instead of their vectors.

        Args:
            product: (left, right) -> (n,), the inner products of n pairs of examples; `left` and `right` map a tensor
                (B, ...) to the rows (n, ...) of the pairs' first and second examples.
            lost: float (B,), the norm that products too small for float32 may leave out (`lost_norms`); None: none.

        Returns:
            float (B,).
        """
        squares = tf.maximum(product(_all, _all), 0.0)
        more = 0.0 if lost is None else tf.square(self._total(lost))
        if self.index is None:
            return squares + more
        first, second = self.pairs[:, 0], self.pairs[:, 1]
        # Empty, and so free, as long as no unit has two examples.
        cross = product(lambda t: tf.gather(t, first), lambda t: tf.gather(t, second))
        crossed = tf.math.unsorted_segment_sum(cross, tf.gather(self.index, first), self.batch)
        return self._guarded(self._total(squares) + 2.0 * crossed, squares) + more

    def to_examples(self, values) -> tf.Tensor:
        """A value of each unit (B,) -> that of each example's unit (B,), 0 for padding."""
        present = tf.cast(self.present, values.dtype)
        if self.index is None:
            return values * present
        return tf.gather(values, tf.maximum(self.index, 0)) * present

    def count(self) -> tf.Tensor:
        """BatchUnits that have an example: int32 scalar."""
        if self.index is None:
            return tf.math.count_nonzero(self.present, dtype=tf.int32)
        ones = tf.ones_like(self.index)
        sizes = tf.math.unsorted_segment_sum(ones, self.index, self.batch)
        return tf.math.count_nonzero(sizes, dtype=tf.int32)

    def _guarded(self, squared, of_examples):
        """Squared norms of units that no cancelling makes too small.

        Where a unit's examples nearly cancel, what is left is rounding, and the sum that is released rounds otherwise:
        divided by too small a norm it would be many times the clip. So the norm is raised by what rounding can hide;
        a unit of one example has nothing to cancel, and one whose examples agree is raised by some 1e-5 of its norm.

        Args:
            squared: float (B,), as computed.
            of_examples: float (B,), squared norm of each example.
        """
        lengths = self._total(tf.sqrt(of_examples))
        hidden = tf.square(lengths) - self._total(of_examples)
        slack = ROUNDINGS * np.finfo(squared.dtype.as_numpy_dtype).eps * tf.maximum(hidden, 0.0)
        return tf.maximum(squared, 0.0) + slack

    def _total(self, per_example) -> tf.Tensor:
        if self.index is None:
            return per_example
        # Negative indices, the padding, are dropped.
        return tf.math.unsorted_segment_sum(per_example, self.index, self.batch)


def _all(tensor):
    return tensor
