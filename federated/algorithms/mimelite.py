"""MimeLite (Karimireddy et al. 2021): clients step with the server's optimizer state, which full gradients move on."""

import numpy as np
import tensorflow as tf

from federated.algorithms.local_round import LocalRound
from federated.algorithms.plain import Plain


class MimeLite(Plain):
    """Steps with the optimizer's state as it is; the full gradient, sent beside, moves that state on."""

    full_gradient = second_vector = True

    def shared(self, shapes: list[tuple], optimizer) -> list[np.ndarray]:
        """The state of the clients' optimizer."""
        return _flat(optimizer.initialize(_specs(shapes)))

    def train(self, client: LocalRound) -> tuple:
        """The update, and the full gradient where it started."""
        full, *_ = client.full_gradient()
        measures = client.steps(fixed_state=list(client.share.shared))
        return [*client.sent(), *full], client.share.client_state, *measures

    def shared_after(self, shared: list, change: list, part: float, optimizer) -> list[np.ndarray]:
        """The state after a step along the mean of the full gradients."""
        specs = _specs([array.shape for array in change])
        state = tf.nest.pack_sequence_as(optimizer.initialize(specs), [tf.constant(array) for array in shared])
        zeros = tuple(tf.zeros(spec.shape, spec.dtype) for spec in specs)
        moved, _ = optimizer.next(state, zeros, tuple(tf.constant(array) for array in change))
        return _flat(moved)


def _specs(shapes: list[tuple]) -> tuple[tf.TensorSpec, ...]:
    return tuple(tf.TensorSpec(shape, tf.float32) for shape in shapes)


def _flat(state) -> list[np.ndarray]:
    return [tf.convert_to_tensor(leaf).numpy() for leaf in tf.nest.flatten(state)]
