"""Many federated trainings on one division of a Dataset: records are written once, and nothing of a Run is left."""

import shutil
from dataclasses import replace
from pathlib import Path

from federated.clients import examples
from federated.config import FederateConfig
from federated.job import Job
from federated.references import Comparing
from federated.rounds.held_out import HeldOut, predictions
from federated.rounds.pool import LocalPool
from federated.rounds.training import train_by_rounds
from federated.tff.engine import Engine
from federated.tff.execution import Execution
from federated.tff.local_model import LocalModel
from medimg.data.dataset import Dataset
from medimg.evaluation.predictions import Predictions

CUT = 0.5


class Bench:
    """One division of a Dataset among clients.

    Args:
        dataset: whose parts are settled.
        config: what all trainings share: data, model, partition and seed.
        folder: for records and checkpoints; removed by `close`.
        execution: where TFF runs.

    Raises:
        InputError: the data or options don't fit.
    """

    def __init__(self, dataset: Dataset, config: FederateConfig, folder: Path, execution: Execution):
        self.folder, self.execution = Path(folder), execution
        self.job = Job.of(dataset, config)
        self.plan = self.job.plan(self.job.describe(self.job.totals()))
        self.records = [
            examples.prepare(c.dataset, self.plan, self.folder / str(i), c.name) for i, c in enumerate(self.job.clients)
        ]
        self.val, self.test = (
            HeldOut(dataset, self.job.clients, part, self.plan, self.folder) for part in ("val", "test")
        )
        self._initial = self.plan.trained.get_weights()

    def __enter__(self) -> "Bench":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Free memory and disk."""
        self.val.close()
        self.test.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def train(self, config: FederateConfig, pool=LocalPool) -> tuple[Predictions, list[dict]]:
        """One federated training.

        Args:
            config: the shared options, and those of the rounds.
            pool: of the engine and the clients' records makes who computes their updates.

        Returns:
            Predictions of the test rows, decided at 0.5, and a row a round: `val_loss` on all validation rows,
            `seconds`, ...

        Raises:
            InputError: options that don't go together.
        """
        job = replace(self.job, config=config)
        engine = Engine(
            self.execution,
            LocalModel(self.plan.trained, job.dataset.task),
            self.plan.layout,
            job.strategy(clients=len(self.records)),
            job.local,
            config.seed,
        )
        checkpoints = self.folder / "checkpoints"
        outcome = train_by_rounds(engine, pool(engine, self.records), self.val, config, self._initial, checkpoints)
        shutil.rmtree(checkpoints)
        weights = engine.weights(outcome.state)
        test_predictions = predictions(
            job.dataset.classes, self.test, self.val, self.test.logits(weights), self.val.logits(weights)
        )
        return cut(test_predictions), outcome.progress.history

    def references(self, config: FederateConfig) -> dict[str, Predictions]:
        """`local` and `centralised`: each site alone, and all rows as one client's, on the same test rows.

        Args:
            config: the shared options, and those of the training.
        """
        comparing = Comparing(
            replace(self.job, config=config),
            self.plan,
            self.execution,
            self.records,
            self.folder / "references",
            self._initial,
            lambda name, done: None,
        )
        predicted = comparing.run(self.val, self.test).predictions
        return {name: cut(of_model) for name, of_model in predicted.items()}


def cut(scored: Predictions) -> Predictions:
    """The same predictions of a binary task decided at 0.5, as papers without a validation part do."""
    return replace(scored, threshold=CUT) if scored.task == "binary" else scored
