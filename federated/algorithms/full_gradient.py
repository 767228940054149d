"""FedSGD (McMahan et al. 2017): clients make no step; they send the gradient of all their examples."""

from federated.algorithms.local_round import LocalRound
from federated.algorithms.plain import Plain


class FullGradient(Plain):
    """One gradient, of the mean loss over all examples."""

    trains = False
    full_gradient = True

    def train(self, client: LocalRound) -> tuple:
        """The gradient."""
        gradient, *measures = client.full_gradient()
        return gradient, client.share.client_state, *measures
