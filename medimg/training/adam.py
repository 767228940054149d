"""Keras' Adam and AdamW whose update of a variable is one operation of TensorFlow in place of some thirty.

The same equations and the same variables, so that a checkpoint of one goes on with the other, and less to trace before
the first step (`benchmarks/adam`).
"""

import tensorflow as tf


class _InOneOperation:
    """Before an Adam of Keras in the order of classes."""

    def update_step(self, gradient, variable):
        """Update a variable in place (Kingma and Ba 2015, with Keras' place of epsilon)."""
        if isinstance(gradient, tf.IndexedSlices) or self.amsgrad:
            super().update_step(gradient, variable)
            return
        dtype, place = variable.dtype, self._index_dict[self._var_key(variable)]
        step = tf.cast(self.iterations + 1, dtype)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[place].handle,
            v=self._velocities[place].handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, dtype), step),
            beta2_power=tf.pow(tf.cast(self.beta_2, dtype), step),
            lr=tf.cast(self.learning_rate, dtype),
            beta1=tf.constant(self.beta_1, dtype),
            beta2=tf.constant(self.beta_2, dtype),
            epsilon=tf.constant(self.epsilon, dtype),
            grad=gradient,
        )


# A saved model names its optimizer by `__module__`: Keras' own, so that a table's opens where there is no medimg.
class Adam(_InOneOperation, tf.keras.optimizers.Adam):
    """`tf.keras.optimizers.Adam`, with its arguments."""

    __module__ = "keras.optimizers"


class AdamW(_InOneOperation, tf.keras.optimizers.AdamW):
    """`tf.keras.optimizers.AdamW`, with its arguments."""

    __module__ = "keras.optimizers"
