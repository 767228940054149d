"""Held-out rows of all clients at the coordinator: a model's scores on them after a round, and its predictions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from federated.clients.client import Client, pooled
from federated.clients.examples import inputs
from federated.clients.plan import ClientPlan
from medimg.data.dataset import Dataset
from medimg.evaluation.prediction import probabilities
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.thresholds import Rule, choose
from medimg.pipeline.batches import batches
from medimg.pipeline.pixels import PixelCache
from medimg.training.features import forward_function
from medimg.training.losses import mean_loss
from medimg.training.scores import accuracy, auroc

# Rows predicted at once; of images as many as fit beside the cache.
_ROWS, _IMAGES = 16_384, 64


@dataclass(frozen=True)
class Scores:
    """A round's scores.

    Attributes:
        loss: mean, natural logarithm.
        accuracy: share of right rows.
        auroc: macro; NaN where no class has both outcomes.
    """

    loss: float
    accuracy: float
    auroc: float


class HeldOut:
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
        plan: ClientPlan,
        folder: Path,
        progress: Callable[[int, int], None] | None = None,
    ):
        whole_dataset = pooled(dataset, clients)
        self.rows = whole_dataset.rows(split, labelled=True)
        client_of = {row: c.name for c in clients for row in c.dataset.manifest.index}
        self.owners = np.array([client_of[row] for row in self.rows.index], dtype=object)
        self.targets = whole_dataset.targets(self.rows)
        self.task = dataset.task
        self._inputs = inputs(whole_dataset, self.rows, plan, folder / split, progress)
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

    def measure(self, logits: np.ndarray, client: str | None = None) -> Scores | None:
        """Scores of all rows, or of a client's; None where there are none."""
        selected = np.ones(len(self.rows), bool) if client is None else self.owners == client
        if not selected.any():
            return None
        logits, targets = logits[selected], self.targets[selected]
        return Scores(
            mean_loss(logits, targets, self.task), accuracy(logits, targets), auroc(logits, targets, self.task)
        )


def predictions(classes: tuple[str, ...], test: HeldOut, val: HeldOut, test_logits, val_logits) -> Predictions:
    """A model's predictions on test, at the thresholds that are best on all of val."""
    task = test.task
    on_val, on_test = probabilities(val_logits, task), probabilities(test_logits, task)
    threshold = _thresholds(task, val.targets, on_val, len(classes))
    return Predictions(task, classes, test.targets, on_test.astype(np.float64), threshold)


def predictions_of_each(
    classes: tuple[str, ...],
    test: HeldOut,
    val: HeldOut,
    test_logits: Mapping[str, np.ndarray],
    val_logits: Mapping[str, np.ndarray],
) -> Predictions:
    """Every client's rows by its own model, at the thresholds best on its own val, or on all where it has none.

    Args:
        classes: of the task.
        test: rows of the test part.
        val: rows of the validation part.
        test_logits: client -> logits (N, classes) of its model on all rows of `test`, of which its own are taken.
        val_logits: the same on `val`.
    """
    task, n = test.task, len(test.rows)
    merged = np.zeros((n, len(classes)))
    shape = (n, len(classes)) if task == "multilabel" else (n,)
    thresholds = None if task == "multiclass" else np.full(shape, 0.5)
    for name, logits in test_logits.items():
        test_rows, val_rows = test.owners == name, val.owners == name
        merged[test_rows] = probabilities(logits, task)[test_rows]
        if thresholds is not None and test_rows.any():
            val_rows = val_rows if val_rows.any() else np.ones_like(val_rows)
            on_val = probabilities(val_logits[name], task)[val_rows]
            thresholds[test_rows] = _thresholds(task, val.targets[val_rows], on_val, len(classes))
    return Predictions(task, classes, test.targets, merged, thresholds)


def _thresholds(task: str, targets: np.ndarray, probability: np.ndarray, classes: int):
    if task == "multiclass":
        return None
    rule = Rule("youden")
    if task == "binary":
        return choose(rule, targets == 1, probability[:, 1].astype(np.float64)).value
    columns = range(classes)
    return np.array([choose(rule, targets[:, i] > 0.5, probability[:, i].astype(np.float64)).value for i in columns])
