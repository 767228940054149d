"""What the coordinator measures after a round: the model on held-out rows of all clients, pooled and per client."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from federated.clients.client import Client, pooled
from federated.clients.examples import inputs
from federated.clients.plan import Plan
from medimg.dataset import Dataset
from medimg.pipeline import PixelCache, batches
from medimg.training.features import forward_function
from medimg.training.losses import mean_loss
from medimg.training.scores import accuracy, auroc

# Rows predicted at once; of images as many as fit beside the cache.
_ROWS, _IMAGES = 16_384, 64


@dataclass(frozen=True)
class Measured:
    """A round's scores.

    Attributes:
        loss: mean, natural logarithm.
        accuracy: share of right rows.
        auroc: macro; NaN where no class has both outcomes.
    """

    loss: float
    accuracy: float
    auroc: float


class Central:
    """Held-out rows of some clients, and the plan's model, whose weights it sets, to predict them with.

    Args:
        dataset: the whole that was divided.
        clients: whose rows.
        split: `val` or `test`.
        plan: of the federation.
        folder: for pixels that do not fit in memory.
        progress: called with images done and images in all.

    Attributes:
        rows: of the manifest, in the order of the predictions.
        owners: str (N,), the client of each row.
        targets: of the rows.
    """

    def __init__(
        self,
        dataset: Dataset,
        clients: list[Client],
        split: str,
        plan: Plan,
        folder: Path,
        progress: Callable[[int, int], None] | None = None,
    ):
        whole = pooled(dataset, clients)
        self.rows = whole.rows(split, labelled=True)
        client_of = {row: c.name for c in clients for row in c.dataset.manifest.index}
        self.owners = np.array([client_of[row] for row in self.rows.index], dtype=object)
        self.targets = whole.targets(self.rows)
        self.task = dataset.task
        self._inputs = inputs(whole, self.rows, plan, folder / split, progress)
        self._model = plan.trained
        self._forward = forward_function(self._model)

    def close(self) -> None:
        """Free memory and disk."""
        if isinstance(self._inputs, PixelCache):
            self._inputs.close()

    def logits(self, weights: list[np.ndarray]) -> np.ndarray:
        """float32 (N, classes) under the weights of the trained part."""
        self._model.set_weights(weights)
        if isinstance(self._inputs, PixelCache):
            stream = batches(self._inputs, _IMAGES)
        else:
            starts = range(0, len(self._inputs), _ROWS)
            stream = (tf.constant(self._inputs[at : at + _ROWS]) for at in starts)
        return np.concatenate([self._forward(batch).numpy() for batch in stream])

    def logits_of_each(self, weights_of: Callable[[str], list[np.ndarray]]) -> np.ndarray:
        """float32 (N, classes), every row under the weights of its own client."""
        combined = None
        for name in dict.fromkeys(self.owners.tolist()):
            logits = self.logits(weights_of(name))
            combined = np.zeros_like(logits) if combined is None else combined
            combined[self.owners == name] = logits[self.owners == name]
        return combined

    def measure(self, logits: np.ndarray, client: str | None = None) -> Measured | None:
        """Scores of all rows, or of a client's; None where there are none."""
        chosen = np.ones(len(self.rows), bool) if client is None else self.owners == client
        if not chosen.any():
            return None
        logits, targets = logits[chosen], self.targets[chosen]
        return Measured(
            mean_loss(logits, targets, self.task),
            accuracy(logits, targets),
            auroc(logits, targets, self.task),
        )
