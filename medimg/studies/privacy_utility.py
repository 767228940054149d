"""What privacy costs: trainings over a range of epsilon and seeds, each evaluated and attacked."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from medimg import atomic
from medimg.audit.audit import audit
from medimg.config import AuditConfig, EvaluateConfig, PrivacyUtilityConfig, TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.evaluation.evaluate import evaluate
from medimg.lock import writes
from medimg.options import of_data
from medimg.privacy.ledger import read
from medimg.report.write import write
from medimg.run import Run
from medimg.studies import over_seeds
from medimg.style.figures import BLUE, GREY, VERMILION, save, styled
from medimg.training.train import train_the_same

# Epsilons, the last of them no privacy at all.
EPSILONS = ("0.5", "1", "2", "4", "8", "inf")


@writes("out")
def privacy_utility(
    data: Path,
    out: Path,
    study: PrivacyUtilityConfig,
    training: TrainConfig,
    progress: Callable[[int, int], None] | None = None,
) -> pd.DataFrame:
    """Train, evaluate and audit a model for every epsilon and seed.

    A finished training is taken as it is, so a killed study goes on where it stopped.

    Args:
        data: a prepared Dataset folder.
        out: gets `epsilon-E/seed-S` (Runs), `results.csv`, `summary.csv` and `privacy_utility.png`.
        study: `epsilon` and `seeds`.
        training: options of every training but epsilon and seed.
        progress: called with trainings done and trainings in all.

    Returns:
        One row an epsilon: `epsilon`, `spent` and, of `auroc`, `balanced_accuracy`, `attack_auc` each: mean, `_low` and
        `_high` over seeds.

    Raises:
        InputError: as `train`, or an epsilon that is no number above 0.
    """
    epsilons, dataset = [_epsilon(text) for text in study.epsilon or EPSILONS], Dataset.load(data)
    most_private = _with_epsilon(training, min(epsilons))
    training.require_effect(of_data(dataset.is_table), resolved=most_private.resolved(dataset.unit))
    rows, total = [], len(epsilons) * study.seeds
    for epsilon in epsilons:
        for seed in range(study.seeds):
            config = dataclasses.replace(_with_epsilon(training, epsilon), seed=seed)
            config = config.resolved(dataset.unit).told_by(())
            folder = Path(out) / f"epsilon-{epsilon:g}" / f"seed-{seed}"
            rows.append({"epsilon": epsilon, "seed": seed, **_one(data, folder, config)})
            if progress:
                progress(len(rows), total)
    table = pd.DataFrame(rows)
    summary = _summary(table)
    atomic.write_csv(Path(out) / "results.csv", table)
    atomic.write_csv(Path(out) / "summary.csv", summary)
    save(_figure(summary, table, dataset.name, study.seeds), Path(out) / "privacy_utility.png")
    return summary


def _epsilon(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not value > 0:
        raise InputError(f"--epsilon {text}: must be a number above 0, or inf")
    return value


def _with_epsilon(training: TrainConfig, epsilon: float) -> TrainConfig:
    """Without privacy for an infinite one."""
    if math.isinf(epsilon):
        return dataclasses.replace(training, dp_noise_multiplier=None)
    return dataclasses.replace(training, dp_epsilon=epsilon)


def _one(data: Path, folder: Path, config: TrainConfig) -> dict:
    run = train_the_same(data, folder, config)
    metrics = evaluate(run, EvaluateConfig(seed=config.seed))["metrics"]
    attacks = audit(Run.load(folder), AuditConfig(attack=("threshold",), seed=config.seed))
    write(run)
    spent = read(folder)
    return {
        "spent": math.inf if spent is None else spent["epsilon"]["pld"],
        "auroc": metrics["auroc"]["value"],
        "balanced_accuracy": metrics["balanced_accuracy"]["value"],
        "attack_auc": attacks["attacks"]["threshold"]["auc"]["value"],
    }


def _summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds with Student's t intervals, which say how much the seed matters, not the patients."""
    table = table.sort_values("epsilon", kind="stable")
    metrics = ("auroc", "balanced_accuracy", "attack_auc")
    means = over_seeds.summary(table, ["epsilon"], metrics)
    # Every metric lies between 0 and 1; Student's t does not know.
    ends = [f"{name}_{end}" for name in metrics for end in ("low", "high")]
    means[ends] = means[ends].clip(0.0, 1.0)
    means.insert(1, "spent", table.groupby("epsilon")["spent"].max().to_numpy())
    return means


def _figure(summary: pd.DataFrame, table: pd.DataFrame, name: str, seeds: int) -> Figure:
    places = np.arange(len(summary))
    place = dict(zip(summary["epsilon"], places, strict=True))
    with styled():
        figure = Figure(figsize=(8.4, 4.2))
        panels = figure.subplots(1, 2)
        for axes, column, colour, label in (
            (panels[0], "auroc", BLUE, "test AUROC"),
            (panels[1], "attack_auc", VERMILION, "AUC of membership inference"),
        ):
            middle = summary[column]
            error = np.abs(np.stack([middle - summary[f"{column}_low"], summary[f"{column}_high"] - middle]))
            axes.errorbar(places, middle, np.nan_to_num(error), fmt="o-", color=colour, capsize=4)
            axes.scatter(table["epsilon"].map(place), table[column], s=14, color=GREY, zorder=3)
            axes.set_xticks(places, ["none" if math.isinf(e) else f"{e:g}" for e in summary["epsilon"]])
            axes.set(xlabel="epsilon (less is more private)", ylabel=label)
        panels[1].axhline(0.5, color=GREY, linestyle=":", linewidth=1.2)
        figure.suptitle(f"{name}: what privacy costs and what it hides ({seeds} seeds, mean and 95% interval)")
    return figure
