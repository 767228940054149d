"""What the federation is worth: the same model trained by every site alone, and on all data pooled.

Both are trained as the federation is, by the same rounds of the same local work: alone each site is a federation of
one, pooled all rows are one client. What differs is the data that a model has seen, and nothing else.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from federated.algorithms.strategy import Strategy
from federated.clients.plan import ClientPlan
from federated.engine import records
from federated.engine.records import ClientData
from federated.job import Job
from federated.rounds.held_out import HeldOut, predictions, predictions_of_each
from federated.rounds.outcome import NothingLearntError, Outcome
from federated.rounds.pool import LocalPool
from federated.rounds.rounds import Watch
from federated.rounds.training import train_by_rounds
from federated.tff.engine import Engine
from federated.tff.execution import Execution
from federated.tff.local_model import LocalModel
from medimg.evaluation.predictions import Predictions
from medimg.pipeline.balance import class_weights

CENTRALISED = "centralised"
# Of a round of the comparison; all take part, and nothing is summed but the one update.
_PLAIN = {"client_fraction": 1.0, "client_dropout": 0.0, "stragglers": 0.0, "aggregation": "mean", "secure": "none"}


@dataclass
class Comparison:
    """The models that the federation is measured against.

    Attributes:
        predictions: `local` and `centralised`, on the test rows.
        histories: model -> rows of round, val_loss, val_auroc; of `local` client -> rows.
        notes: sentences on clients that lack rows to be compared by, and on trainings that learnt nothing.
    """

    predictions: dict[str, Predictions] = field(default_factory=dict)
    histories: dict = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Comparing:
    """Trains what a federation is compared with; resumable like the federation itself.

    Args:
        job: of the federation.
        plan: of the federation.
        execution: where TFF runs.
        clients: their records.
        folder: for checkpoints and the pooled records.
        initial: weights before the first round, the same for all.
        progress: called with what is trained and the rounds done.
    """

    def __init__(
        self,
        job: Job,
        plan: ClientPlan,
        execution: Execution,
        clients: list[ClientData],
        folder: Path,
        initial: list[np.ndarray],
        progress: Callable[[str, int], None],
    ):
        self.job, self.plan, self.clients = job, plan, clients
        self.folder, self.initial, self.progress = folder, initial, progress
        # One client: every server's rule is that of averaging, but for normalisation that stays with its data.
        name = "fedbn" if job.config.strategy == "fedbn" else "fedavg"
        self.engine = Engine(
            execution,
            LocalModel(plan.trained, job.dataset.task),
            plan.layout,
            Strategy(name, clients=1),
            job.local,
            job.config.seed,
        )

    def run(self, val: HeldOut, test: HeldOut) -> Comparison:
        """Train all of them, but for clients without a row to predict.

        Args:
            val: rows of all clients; a site alone is judged by its own, or by all where it has none.
            test: rows to predict.
        """
        comparison = self._comparison = Comparison()
        outcome = self._train(CENTRALISED, self._pooled(), val)
        comparison.histories[CENTRALISED] = _short(outcome)
        weights = self.engine.weights(outcome.state)
        comparison.predictions[CENTRALISED] = predictions(
            self.job.dataset.classes, test, val, test.logits(weights), val.logits(weights)
        )
        on_test, on_val, histories = {}, {}, {}
        for number, client in enumerate(self.clients):
            if client.name not in test.owners:
                comparison.notes.append(
                    f"{client.name}: no row in test, so it is not among the sites that are compared."
                )
                continue
            held_out = _OwnRows(val, client.name)
            if client.name not in val.owners:
                held_out = val
                comparison.notes.append(
                    f"{client.name}: no row in validation; its model was judged by all sites' rows."
                )
            outcome = self._train(f"local-{number}", client, held_out)
            weights = self.engine.weights(outcome.state)
            on_test[client.name], on_val[client.name] = test.logits(weights), val.logits(weights)
            histories[client.name] = _short(outcome)
        comparison.histories["local"] = histories
        comparison.predictions["local"] = predictions_of_each(self.job.dataset.classes, test, val, on_test, on_val)
        return comparison

    def _train(self, name: str, client: ClientData, held_out) -> Outcome:
        config = replace(self.job.config, **_PLAIN)
        label = "pooled" if name == CENTRALISED else client.name
        try:
            return train_by_rounds(
                self.engine,
                LocalPool(self.engine, [client]),
                held_out,
                config,
                self.initial,
                self.folder / name,
                watch=Watch(after=lambda row: self.progress(label, row["round"])),
            )
        except NothingLearntError as error:
            # Of the federated model nothing is lost by it.
            self._comparison.notes.append(f"{label}, trained alone: {error}")
            return error.outcome

    def _pooled(self) -> ClientData:
        """All clients' records as one client's."""
        folder = self.folder / "pooled"
        folder.mkdir(parents=True, exist_ok=True)
        for name in (records.INPUTS, records.TARGETS, records.WEIGHTS):
            with (folder / name).open("wb") as merged:
                for client in self.clients:
                    with (Path(client.folder) / name).open("rb") as part:
                        shutil.copyfileobj(part, merged)
        if self.job.config.balance == "class-weight":
            self._weigh(folder)
        examples = sum(client.examples for client in self.clients)
        return ClientData("(pooled)", str(folder.resolve()), examples)

    def _weigh(self, folder: Path) -> None:
        """Classes balanced over all rows, where each client balanced its own."""
        targets = np.fromfile(folder / records.TARGETS, self.plan.layout.target_type)
        weights = class_weights(targets, len(self.job.dataset.classes))[targets]
        weights.astype(np.float32).tofile(folder / records.WEIGHTS)


class _OwnRows:
    """A client's part of the held-out rows, for its own early stopping; the rows are held once."""

    def __init__(self, held_out: HeldOut, client: str):
        self._held_out, self._client = held_out, client

    def logits(self, weights):
        return self._held_out.logits(weights)

    def logits_of_each(self, weights_of):
        return self._held_out.logits(weights_of(self._client))

    def measure(self, logits, client=None):
        return self._held_out.measure(logits, self._client)


def _short(outcome: Outcome) -> list[dict]:
    return [
        {name: row[name] for name in ("round", "val_loss", "val_accuracy", "val_auroc")}
        for row in outcome.progress.history
    ]
