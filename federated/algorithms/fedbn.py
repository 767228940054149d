"""FedBN (Li et al. 2021): each client has normalisation layers of its own, which it trains and never sends."""

import numpy as np

from federated.algorithms.local_round import LocalRound
from federated.algorithms.plain import Plain
from federated.engine.local_training import Share


class FedBN(Plain):
    """Local training from the global model with the client's own normalisation."""

    keeps = local_norm = True

    def client_state(self, weights: list, federated: tuple, local: tuple) -> list[np.ndarray]:
        """The global model's normalisation."""
        return [weights[i] for i in local]

    def initial(self, share: Share, local: tuple) -> list:
        """The global model's, but for the client's normalisation."""
        weights = list(share.weights)
        for position, value in zip(local, share.client_state, strict=True):
            weights[position] = value
        return weights

    def train(self, client: LocalRound) -> tuple:
        """The update without normalisation, which stays."""
        measures = client.steps()
        return client.sent(), client.local(), *measures
