"""FedProx (Li et al. 2020): a term of the loss pulls clients back to where the round started."""

from federated.algorithms.local_round import LocalRound
from federated.algorithms.plain import Plain


class FedProx(Plain):
    """Steps along the gradients of the loss plus mu / 2 times the squared distance to the start."""

    def train(self, client: LocalRound) -> tuple:
        """The update."""
        start = client.trained()

        # TFF 0.87's own FedProx has the sign of this term the other way round.
        def pulled(gradient, variable, i):
            return gradient + client.proximal * (variable - start[i])

        measures = client.steps(pulled)
        return client.sent(), client.share.client_state, *measures
