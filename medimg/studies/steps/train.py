"""`medimg train` and `medimg evaluate`."""

import numpy as np

from medimg.comparison.reading import read
from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.evaluation.predictions import Predictions
from medimg.privacy.recount import promised
from medimg.studies.steps import Inputs
from medimg.training.ensemble import ensemble
from medimg.training.open_options import settled
from medimg.training.train import train_the_same


def run(inputs: Inputs, folder, options: dict) -> dict:
    """Train on the cell's Dataset, or let the cells' Runs that vote do so, and measure on test.

    Returns:
        metrics.json, `roc_sensitivity` where the test ROC has a specificity of 0.9, `epsilon`, `times`, `seconds_each`
        of the epochs.
    """
    if inputs.members:
        members = tuple(map(str, inputs.members))
        config = TrainConfig(model="ensemble", member=members, vote="log-loss").with_given_names(())
        trained = ensemble(inputs.data, folder, config, overwrite=folder.exists())
    else:
        config = TrainConfig.from_dict(options).with_given_names(options)
        config, _ = settled(config, Dataset.load(inputs.data, joins_copies=not config.is_private))
        trained = train_the_same(inputs.data, folder, config.with_given_names(()))
    measured = evaluate(trained, EvaluateConfig(seed=config.seed, bootstrap=inputs.bootstrap))
    spent, history = promised(folder), trained.history()
    times = len(history)
    seconds = history[["seconds", "val_seconds"]].sum(axis=1)[min(1, times - 1) :].mean() if times else 0.0
    return {
        **measured,
        "roc_sensitivity": _sensitivity(read(trained).predictions, 0.9),
        "epsilon": spent and spent["epsilon"]["pld"],
        "times": times,
        "seconds_each": float(seconds),
    }


def _sensitivity(predictions: Predictions, specificity: float) -> float | None:
    """Of a binary task, at the threshold of its own test rows that has the specificity: what the ranking allows.

    None where the test part lacks a class.
    """
    if predictions.task != "binary":
        return None
    sick, scores = predictions.targets == 1, predictions.probabilities[:, 1]
    if sick.all() or not sick.any():
        return None
    return float((scores[sick] > np.quantile(scores[~sick], specificity, method="higher")).mean())
