"""federated-skin: which backbone serves ISIC's nine classes over five equal clients, colours whitened.

Protocol of the source paper: VGG19, ResNet50 and InceptionV3 from ImageNet, 128 px, parts 70/10/20, PCA whitening, five
clients with equal shares of every class. Whitening is learnt from sums that the clients send, never from pooled pixels.
"""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from federated.config import FederateConfig
from federated.studies.config import FederatedStudyConfig
from federated.studies.runs import METRICS, PlannedRun, results
from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.lock import writes
from medimg.options import of_data
from medimg.studies.folder import claim
from medimg.studies.markdown import table_lines
from medimg.studies.points import points_figure
from medimg.style.figures import save

NAME = "federated-skin"
MODELS = ("vgg19", "resnet50", "inception_v3")
CLIENTS, ROUNDS, IMAGE_SIZE = 5, 30, 128


@writes("out")
def federated_skin(
    data: Path, out: Path, study: FederatedStudyConfig, progress: Callable[[int, int], None] | None = None
) -> pd.DataFrame:
    """Train the head of each backbone across five equal clients, beside each client alone and all pooled.

    The backbones stay as ImageNet made them, and their features are computed once: minutes on two cores.

    Args:
        data: prepared images, for the paper's parts by `medimg data prepare isic PATH --split 70/10/20`.
        out: gets `runs/*`, `results.csv`, `summary.csv`, `models.png` and `README.md`.
        study: `seeds`, `rounds`, `model`, `model_arg`, `weights`, `normalize` and `image_size`.
        progress: called with Runs done and Runs in all.

    Returns:
        A row for each model, seed and way of training (majority, local, federated, centralised) on all test rows, with
        95% intervals over patients.

    Raises:
        InputError: the Dataset or an option doesn't fit, or the weights can't be had.
    """
    dataset, out = Dataset.load(data), Path(out)
    study.require_effect(NAME, of_data(dataset.is_table))
    if dataset.is_table:
        raise InputError(f"{data}: {NAME} needs images, and this is a table")
    shared = {
        "rounds": study.rounds or ROUNDS,
        "weights": study.weights,
        "model_arg": study.model_arg,
        "normalize": study.normalize,
        "image_size": study.image_size or IMAGE_SIZE,
    }
    claim(out, NAME, dataset, shared)
    planned = [
        PlannedRun(f"{model}-seed-{seed}", {"model": model, "seed": seed}, _config(model, shared, seed))
        for model in study.model or MODELS
        for seed in range(study.seeds or 1)
    ]
    table = results(data, out, planned, progress)
    atomic.write_csv(out / "results.csv", table)
    atomic.write_csv(out / "summary.csv", table)
    first = table[table["seed"] == 0]
    title = f"{dataset.name}: {CLIENTS} equal clients, {shared['rounds']} rounds, 95% intervals over patients"
    save(points_figure(first, "model", "trained", "auroc", title), out / "models.png")
    atomic.write_text(out / "README.md", _page(dataset, table, shared))
    return table


def _config(model: str, shared: dict, seed: int) -> FederateConfig:
    return FederateConfig(
        model=model,
        **shared,
        freeze="none" if shared["weights"] == "none" else "backbone",
        partition="iid",
        clients=CLIENTS,
        local_epochs=1,
        batch_size=32,
        client_optimizer="adam",
        learning_rate=1e-3,
        seed=seed,
    )


def _page(dataset: Dataset, table: pd.DataFrame, shared: dict) -> str:
    counts = dataset.manifest["split"].value_counts()
    parts = ", ".join(f"{part} {counts.get(part, 0)}" for part in ("train", "val", "test"))
    head = (
        "Random weights, the whole model trained."
        if shared["weights"] == "none"
        else f"Weights {Path(shared['weights']).name}, the backbone frozen; its head trained on features computed once."
    )
    lines = [
        f"# {NAME} on {dataset.name}",
        "",
        f"{len(dataset.classes)} classes, {parts} images, {shared['image_size']} px, {CLIENTS} clients with equal "
        f"shares of every class, {shared['rounds']} rounds of one local epoch, FedAvg, colours: "
        f"{shared['normalize']}. {head} "
        "All test images, 95% intervals over patients; AUROC is the mean over classes, each against the rest.",
        "",
        *table_lines(table, ["model", "seed", "trained"], list(METRICS)),
        "",
        "No interval for AUROC where a class has one test image: every resample would rank that one alone. "
        "local: each client's test images by the model it trained alone. majority: always the commonest class. The "
        "source paper trains its backbones through; the frozen ones here are what a hospital without a GPU can run.",
        "",
    ]
    return "\n".join(lines)
