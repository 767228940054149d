"""Local training and nothing else (FedAvg: McMahan et al. 2017), and what other algorithms have alike with it."""

import numpy as np

from federated.algorithms.local_round import LocalRound
from federated.engine.local_training import LocalTraining, Share

# No engine has a place for a state of nothing: algorithms without one carry this.
NOTHING = [np.zeros(0, np.float32)]


class Plain:
    """Steps along the gradients; an `Algorithm`."""

    trains = True
    full_gradient = second_vector = alike = keeps = local_norm = False

    def check(self, local: LocalTraining) -> None:
        """Any options fit."""

    def client_state(self, weights: list, federated: tuple, local: tuple) -> list[np.ndarray]:
        """Nothing."""
        return list(NOTHING)

    def shared(self, shapes: list[tuple], optimizer) -> list[np.ndarray]:
        """Nothing."""
        return list(NOTHING)

    def initial(self, share: Share, local: tuple) -> list:
        """The global model's."""
        return list(share.weights)

    def train(self, client: LocalRound) -> tuple:
        """The update."""
        measures = client.steps()
        return client.sent(), client.share.client_state, *measures

    def shared_after(self, shared: list, change: list, part: float, optimizer) -> list[np.ndarray]:
        """As it was."""
        return shared
