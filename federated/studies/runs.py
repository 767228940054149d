"""A study's federated Runs: each is trained once, goes on where it was killed, and gives its figures to a table."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from federated.config import FederateConfig
from federated.federate import federate
from federated.report.site_gain import POOLED
from federated.tff.execution import Execution
from medimg.untrusted.json_file import read_json

# Of the federated model, with their intervals over patients.
METRICS = ("accuracy", "balanced_accuracy", "auroc")


@dataclass(frozen=True)
class PlannedRun:
    """A Run of a study.

    Attributes:
        name: of its folder.
        labels: columns that tell it from the others.
        config: its options.
    """

    name: str
    labels: dict
    config: FederateConfig


def results(
    data: Path, out: Path, planned: list[PlannedRun], progress: Callable[[int, int], None] | None = None
) -> pd.DataFrame:
    """Train what is left to train, and read what all of them found.

    Args:
        data: a prepared Dataset folder.
        out: gets `runs/NAME`, each an ordinary Run.
        planned: of one task.
        progress: called with Runs done and Runs in all.

    Returns:
        A row for each Run and way of training (`trained`: majority, local, federated, centralised): the labels,
        `auroc`, `auroc_low`, `auroc_high` on all test rows with 95% intervals over patients, and of the federated model
        `accuracy` and `balanced_accuracy` likewise; of majority the accuracy.

    Raises:
        InputError: the Dataset or an option doesn't fit.
    """
    rows = []
    with Execution() as execution:
        for number, one in enumerate(planned, start=1):
            folder = Path(out) / "runs" / one.name
            begun = (folder / "model.json").is_file()
            federate(
                data, folder, one.config, resume=begun, overwrite=not begun and folder.exists(), execution=execution
            )
            rows += [one.labels | row for row in _found(folder)]
            if progress:
                progress(number, len(planned))
    return pd.DataFrame(rows)


def _found(folder: Path) -> list[dict]:
    federation = read_json(folder / "federation.json")
    metrics = read_json(folder / "metrics.json")
    places = federation["comparison"]["gain"]["places"]
    whole = next(place for place in places if place["name"] == POOLED)
    rows = []
    for trained, measured in whole["values"].items():
        row = {"trained": trained, "n": whole["n"]} | _columns("auroc", measured)
        if trained == "federated":
            for metric in METRICS:
                row |= _columns(metric, metrics["metrics"][metric])
        elif trained == "majority":
            row["accuracy"] = metrics["majority_accuracy"]
        rows.append(row)
    return rows


def _columns(name: str, measured: dict) -> dict:
    return {name: measured["value"], f"{name}_low": measured["low"], f"{name}_high": measured["high"]}
