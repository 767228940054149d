"""Spectral normalisation (Miyato et al. 2018) as a projection after each step: largest singular values of at most 1.

It looks at weights alone, so it costs a private training nothing.
"""

import tensorflow as tf


class SpectralLimit(tf.Module):
    """Keeps a network's matrices and kernels, the latter as (H * W * in, out), at norm 1 by one power iteration a step.

    Args:
        model: whose kernels are limited; the vectors of the iteration are variables, for the checkpoints.
    """

    def __init__(self, model: tf.keras.Model):
        super().__init__()
        self.kernels = [v for v in model.trainable_variables if v.shape.rank > 1]
        self.vectors = [tf.Variable(tf.ones([v.shape[-1]]) / v.shape[-1] ** 0.5, trainable=False) for v in self.kernels]

    def apply(self) -> None:
        """One power iteration, then scale down what is above 1; for use in tf.function."""
        for kernel, vector in zip(self.kernels, self.vectors, strict=True):
            matrix = tf.reshape(kernel, [-1, kernel.shape[-1]])
            left_vector = tf.math.l2_normalize(tf.linalg.matvec(matrix, vector))
            right_vector = tf.linalg.matvec(matrix, left_vector, transpose_a=True)
            vector.assign(tf.math.l2_normalize(right_vector))
            kernel.assign(kernel / tf.maximum(tf.norm(right_vector), 1.0))
