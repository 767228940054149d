"""A site's metrics on its own test part, computed there: what leaves are numbers with intervals, and no row."""

from pathlib import Path

import numpy as np

from federated.clients.client import Client
from federated.clients.plan import ClientPlan
from federated.flower.description import whole_number
from federated.flower.policy import PolicyError
from federated.rounds.held_out import HeldOut, predictions
from medimg.data.dataset import Dataset
from medimg.evaluation.summary import summarise

RESAMPLES = 1000
# Decimals that travel: by the last digits of a number a crafted model could tell single rows.
DECIMALS = 3
# Of all that is measured, what travels: each with `value`, `low` and `high`.
NAMES = ("auroc", "auprc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "brier")


def own_metrics(
    client: Dataset, name: str, plan: ClientPlan, weights: list[np.ndarray], folder: Path, fewest: int
) -> dict:
    """What a site tells of a model.

    Args:
        client: the site's rows.
        name: of the site.
        plan: of the federation.
        weights: of the trained part.
        folder: for pixels that do not fit in memory.
        fewest: test patients below which nothing is told.

    Returns:
        `n`, `patients` and `metrics`: name -> value, low, high; thresholds are chosen on the site's validation part.

    Raises:
        PolicyError: it has too few test patients.
    """
    one = [Client(name, client)]
    rows = client.rows("test", labelled=True)
    patients = int(rows["patient"].nunique())
    if patients < max(1, fewest):
        raise PolicyError(f"fewer than {max(1, fewest)} test patients, of whom this site tells nothing")
    val, test = (HeldOut(client, one, split, plan, folder) for split in ("val", "test"))
    try:
        if not len(val.rows):
            raise PolicyError("no validation part, on which thresholds would be chosen")
        of_test = test.logits(weights)
        found = predictions(client.classes, test, val, of_test, val.logits(weights))
    finally:
        val.close()
        test.close()
    metrics = summarise(found, test.rows["patient"], RESAMPLES, 0)["metrics"]
    told = {
        name: {key: _rounded(metrics[name][key]) for key in ("value", "low", "high")}
        for name in NAMES
        if name in metrics
    }
    return {"n": len(rows), "patients": patients, "metrics": told}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DECIMALS)


def metrics_told(told: dict) -> dict:
    """What a site told by `own_metrics`, of known names and as numbers alone.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is something else.
    """
    metrics = {
        name: {key: _rounded(one[key] if one[key] is None else float(one[key])) for key in ("value", "low", "high")}
        for name, one in told["metrics"].items()
        if name in NAMES
    }
    return {"n": whole_number(told["n"]), "patients": whole_number(told["patients"]), "metrics": metrics}
