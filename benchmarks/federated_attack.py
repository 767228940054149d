"""Phantom across 5 hospitals, one of which flips its labels and sends its update ten times over.

What must hold: with the coordinate median and with Krum the global model's AUROC stays within 0.03 of the training
without an attacker, and with the plain mean it does not.
"""

import os
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.material import table

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
SEEDS = (0, 1, 2)
AGGREGATIONS = ("mean", "median", "trimmed-mean", "krum", "multi-krum", "robust-clip")
SCALE = 10.0
HONEST = "mean, no attacker"


def attackers(folder: Path):
    """Makes a pool whose first client trains on flipped labels and scales what it sends."""
    import shutil

    from federated.engine import records
    from federated.rounds.pool import LocalPool

    def flipped(client):
        # A copy: the other trainings need the client honest.
        evil = folder / "flipped"
        shutil.rmtree(evil, ignore_errors=True)
        shutil.copytree(client.folder, evil)
        targets = np.fromfile(evil / records.TARGETS, np.int64)
        (1 - targets).tofile(evil / records.TARGETS)
        return replace(client, folder=str(evil))

    class Attacked(LocalPool):
        """A pool of which the first client attacks."""

        def __init__(self, engine, clients):
            super().__init__(engine, [flipped(clients[0]), *clients[1:]])
            self.evil = clients[0].name

        def updates(self, state, names, number, work):
            """Of the attacker SCALE times its own."""
            updates, lost = super().updates(state, names, number, work)
            update = updates[self.evil]
            vectors = [SCALE * np.asarray(vector) for vector in update.vectors]
            return {**updates, self.evil: replace(update, vectors=vectors)}, lost

    return Attacked


def aurocs(folder: Path, seed: int, execution) -> dict[str, float]:
    """HONEST and aggregation -> AUROC of one seed on all test patients."""
    from federated.config import FederateConfig
    from federated.rounds.pool import LocalPool
    from federated.studies.bench import Bench
    from medimg.config import PrepareConfig
    from medimg.evaluation.metrics import METRICS
    from medimg.phantom.config import PhantomConfig
    from medimg.preparation.prepare import prepare

    drawing = PhantomConfig(
        patients=900, images_per_patient=1, phantom_size=48, opacity_size=0.08, opacity_contrast=0.4, seed=seed
    )
    data = prepare("phantom", None, folder / "data", PrepareConfig(split="60/10/30", seed=seed), drawing)
    base = FederateConfig(
        model="baseline_cnn",
        model_arg={"width": "8", "stages": "3", "pool": "max"},
        image_size=48,
        rounds=12,
        local_epochs=2,
        batch_size=16,
        client_optimizer="adam",
        learning_rate=0.002,
        seed=seed,
    )
    auroc_of = {}
    with Bench(data, base, folder / "bench", execution) as bench:
        for name in (HONEST, *AGGREGATIONS):
            pool = LocalPool if name == HONEST else attackers(folder)
            config = base if name == HONEST else replace(base, aggregation=name)
            predicted = bench.train(config, pool)[0]
            values = predicted.measure(np.ones((1, len(predicted))))[0, 0]
            auroc_of[name] = float(values[METRICS.index("auroc")])
    return auroc_of


def rows(by_seed: list[dict[str, float]]) -> list[list]:
    """A line an aggregation: the mean over seeds, what the attack costs, and each seed."""
    lines = []
    for name in (HONEST, *AGGREGATIONS):
        mean = statistics.mean(auroc_of[name] for auroc_of in by_seed)
        cost = statistics.mean(auroc_of[name] - auroc_of[HONEST] for auroc_of in by_seed)
        lines.append([name, f"{mean:.3f}", f"{cost:+.3f}", ", ".join(f"{auroc_of[name]:.3f}" for auroc_of in by_seed)])
    return lines


if __name__ == "__main__":
    from federated.tff.execution import Execution

    with Execution() as execution, tempfile.TemporaryDirectory() as name:
        found = [aurocs(Path(name) / str(seed), seed, execution) for seed in SEEDS]
    columns = ["aggregation", "AUROC", "less no attacker (median, krum: within 0.03)", "each seed"]
    table(columns, rows(found))
