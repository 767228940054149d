"""SCAFFOLD (Karimireddy et al. 2020): control variates take out of the clients' steps how their data differ."""

import numpy as np
import tensorflow as tf

from federated.algorithms.local_round import LocalRound
from federated.algorithms.plain import Plain
from federated.engine.local_training import LocalTraining
from medimg.errors import InputError


class Scaffold(Plain):
    """Option II of the paper: a client's control variate is the average gradient of its steps."""

    second_vector = alike = keeps = True

    def check(self, local: LocalTraining) -> None:
        """Raises InputError: the clients' optimizer is not plain sgd."""
        if local.optimizer != "sgd":
            raise InputError(
                f"--client-optimizer {local.optimizer}: scaffold's control variates are those of plain sgd"
            )

    def client_state(self, weights: list, federated: tuple, local: tuple) -> list[np.ndarray]:
        """c_i, 0."""
        return [np.zeros(np.shape(weights[i]), np.float32) for i in federated]

    def shared(self, shapes: list[tuple], optimizer) -> list[np.ndarray]:
        """c, 0."""
        return [np.zeros(shape, np.float32) for shape in shapes]

    def train(self, client: LocalRound) -> tuple:
        """The update, and the change of c_i."""
        share = client.share
        measures = client.steps(lambda gradient, variable, i: gradient - share.client_state[i] + share.shared[i])
        update = client.sent()
        steps = tf.cast(tf.shape(share.steps)[0], tf.float32)
        scale = 1.0 / (steps * client.learning_rate)
        control = [
            variate - server_variate + delta * scale
            for variate, server_variate, delta in zip(share.client_state, share.shared, update, strict=True)
        ]
        change = [after - before for after, before in zip(control, share.client_state, strict=True)]
        return [*update, *change], control, *measures

    def shared_after(self, shared: list, change: list, part: float, optimizer) -> list[np.ndarray]:
        """c moves by the sum of the changes over all clients, those that sat out included."""
        return [c + np.float32(part) * moved for c, moved in zip(shared, change, strict=True)]
