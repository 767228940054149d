"""federated-toy: what a few rounds give. Five clients, five rounds, a small network, dealt evenly and unevenly."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from federated.config import FederateConfig
from federated.studies.config import FederatedStudyConfig
from federated.studies.runs import PlannedRun, results
from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.lock import writes
from medimg.options import of_data
from medimg.studies.folder import claim
from medimg.studies.markdown import table_lines
from medimg.studies.over_seeds import summary
from medimg.studies.points import points_figure
from medimg.style.figures import save

NAME = "federated-toy"
CLIENTS, ROUNDS, SEEDS, IMAGE_SIZE = 5, 5, 3, 64
# Dirichlet's concentration, as Hsu et al. 2019 draw clients that are far apart.
ALPHA = 0.5
PARTITIONS = ("iid", "dirichlet")


@writes("out")
def federated_toy(
    data: Path, out: Path, study: FederatedStudyConfig, progress: Callable[[int, int], None] | None = None
) -> pd.DataFrame:
    """Train across five made-up clients, once dealt evenly and once by a Dirichlet draw.

    Args:
        data: a prepared Dataset; a table trains `mlp`, images a small `baseline_cnn`.
        out: gets `runs/*`, `results.csv`, `summary.csv`, `toy.png` and `README.md`.
        study: `seeds`, `rounds`, `model` (one) and `image_size`.
        progress: called with Runs done and Runs in all.

    Returns:
        A row for each partition and way of training: `partition`, `trained`, `seeds`, the mean `auroc` with its
        interval over seeds, and the difference from `centralised`, seed by seed.

    Raises:
        InputError: the Dataset or an option doesn't fit.
    """
    dataset, out = Dataset.load(data), Path(out)
    study.require_effect(NAME, of_data(dataset.is_table))
    planned = _planned(dataset, study)
    shared = {"rounds": study.rounds or ROUNDS, "model": planned[0].config.model}
    claim(out, NAME, dataset, shared | {"image_size": planned[0].config.image_size})
    found = results(data, out, planned, progress)
    table = summary(found, ["partition", "trained"], ["auroc"], "centralised")
    atomic.write_csv(out / "results.csv", found)
    atomic.write_csv(out / "summary.csv", table)
    title = f"{dataset.name}: {CLIENTS} clients, {shared['rounds']} rounds, {study.seeds or SEEDS} seeds"
    save(points_figure(table, "partition", "trained", "auroc", title), out / "toy.png")
    atomic.write_text(out / "README.md", _page(dataset, table, planned[0].config))
    return table


def _planned(dataset: Dataset, study: FederatedStudyConfig) -> list[PlannedRun]:
    if len(study.model) > 1:
        raise InputError(f"--model {study.model[1]}: {NAME} trains one model; leave it out")
    model = study.model[0] if study.model else "mlp" if dataset.is_table else "baseline_cnn"
    small = {"width": "8", "stages": "3"} if model == "baseline_cnn" else {}
    return [
        PlannedRun(
            f"{partition}-seed-{seed}",
            {"partition": partition, "seed": seed},
            FederateConfig(
                model=model,
                model_arg=small,
                image_size=study.image_size or IMAGE_SIZE,
                partition=partition,
                clients=CLIENTS,
                alpha=ALPHA,
                rounds=study.rounds or ROUNDS,
                local_epochs=2,
                batch_size=16,
                client_optimizer="adam",
                learning_rate=3e-3,
                seed=seed,
                # Of no option here a person means that it acts on these data.
            ).told_by(()),
        )
        for partition in PARTITIONS
        for seed in range(study.seeds or SEEDS)
    ]


def _page(dataset: Dataset, table: pd.DataFrame, config: FederateConfig) -> str:
    lines = [
        f"# {NAME} on {dataset.name}",
        "",
        f"{config.model}, {CLIENTS} clients, {config.rounds} rounds of {config.local_epochs} local epochs, FedAvg; "
        f"clients dealt evenly (iid) and by a Dirichlet draw of the classes (alpha {ALPHA}). AUROC on all clients' "
        "test rows, mean over seeds with the 95% interval of Student's t; local: each row by its own client's model.",
        "",
        *table_lines(table, ["partition", "trained", "seeds"], ["auroc", "auroc_less_centralised"]),
        "",
        "Every seed deals the patients anew and starts from other weights. Clients that hold one class in training "
        "still count in the average; the Runs in `runs/` say which.",
        "",
    ]
    return "\n".join(lines)
