"""A site's metrics on its own test part, computed there: what leaves are numbers with intervals, and no row."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from federated.clients.client import Client
from federated.clients.plan import ClientPlan
from federated.flower.description import whole_number
from federated.flower.policy import PolicyError
from federated.rounds.held_out import HeldOut, predictions
from medimg.comparison.paired import difference
from medimg.data.dataset import Dataset
from medimg.evaluation.exact_differences import counted_for_difference
from medimg.evaluation.intervals import cluster_bootstrap
from medimg.evaluation.metrics import METRICS
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.summary import summarise

RESAMPLES = 1000
# Decimals that travel: by the last digits of a number a crafted model could tell single rows.
DECIMALS = 3
# Of all that is measured, what travels: each with `value`, `low` and `high`.
NAMES = ("auroc", "auprc", "accuracy", "balanced_accuracy", "sensitivity", "specificity", "brier")

_KEYS, _GAIN = ("value", "low", "high"), ("alone", "difference")


def own_metrics(
    client: Dataset,
    name: str,
    plan: ClientPlan,
    weights: list[np.ndarray],
    folder: Path,
    fewest: int,
    alone: list[np.ndarray] | None = None,
) -> dict:
    """What a site tells of a model.

    Args:
        client: the site's rows.
        name: of the site.
        plan: of the federation.
        weights: of the trained part.
        folder: for pixels that do not fit in memory.
        fewest: test patients below which nothing is told.
        alone: weights that the site came to by itself; None: it did not try.

    Returns:
        `n`, `patients` and `metrics`: name -> value, low, high; thresholds are chosen on the site's validation part.
        With `alone` also `gain`: the AUROC of these, `alone`, and by how much the model's is larger, `difference`.

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
        models = [weights] if alone is None else [weights, alone]
        predicted = [predictions(client.classes, test, val, test.logits(w), val.logits(w)) for w in models]
    finally:
        val.close()
        test.close()
    metrics, *others = (summarise(one, test.rows["patient"], RESAMPLES, 0)["metrics"] for one in predicted)
    intervals = {name: _three(metrics[name]) for name in NAMES if name in metrics}
    gain = {"gain": _gain(*predicted, metrics, *others, test.rows["patient"])} if others else {}
    return {"n": len(rows), "patients": patients, "metrics": intervals, **gain}


def _gain(model: Predictions, alone: Predictions, metrics: dict, of_alone: dict, patients: Sequence) -> dict:
    """The AUROC of a model less that of another, on the same resamples of patients."""
    column = METRICS.index("auroc")
    draws = [
        cluster_bootstrap(lambda weights, p=one: p.measure(weights)[:, 0, column], patients, RESAMPLES, 0)
        for one in (model, alone)
    ]
    values = metrics["auroc"]["value"], of_alone["auroc"]["value"]
    if None in values:
        return {"alone": _three(of_alone["auroc"]), "difference": dict.fromkeys(_KEYS)}
    gain = difference(*values, *draws, counted_for_difference(model, patients, "auroc"))
    return {"alone": _three(of_alone["auroc"]), "difference": _three(vars(gain))}


def _three(measured: dict) -> dict:
    """What travels of a number."""
    return {key: _rounded(np.nan if measured[key] is None else float(measured[key])) for key in _KEYS}


def _rounded(value: float) -> float | None:
    return round(value, DECIMALS) if np.isfinite(value) else None


def metrics_told(fields: dict) -> dict:
    """What a site told by `own_metrics`, of known names and as numbers alone.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is something else.
    """
    metrics = {name: _three(one) for name, one in fields["metrics"].items() if name in NAMES}
    gain = {"gain": {name: _three(fields["gain"][name]) for name in _GAIN}} if "gain" in fields else {}
    return {"n": whole_number(fields["n"]), "patients": whole_number(fields["patients"]), "metrics": metrics, **gain}
