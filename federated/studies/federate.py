"""A step of a declared study: `medimg federate`."""

from pathlib import Path

import pandas as pd

from federated.config import FederateConfig
from federated.federate import federate
from federated.tff.execution import Execution
from medimg.privacy.recount import promised
from medimg.studies.steps import Inputs
from medimg.untrusted.json_file import read_json


def run(inputs: Inputs, folder: Path, options: dict) -> dict:
    """Train across clients, or go on with it.

    Returns:
        metrics.json; `trained`: AUROC on all test rows of each way of training; `accuracy_gained` on validation
        from the first round to the last; `bytes` up and down and `seconds_each`
        of a round; `epsilon`; `times`.
    """
    begun = (folder / "model.json").is_file()
    config = FederateConfig.from_dict(options).with_given_names(())
    trained = federate(
        inputs.data,
        folder,
        config,
        resume=begun,
        overwrite=not begun and folder.exists(),
        execution=inputs.shared.of(Execution),
    )
    federation, metrics = (read_json(folder / f"{name}.json") for name in ("federation", "metrics"))
    history = trained.history()
    places = federation["comparison"]["gain"]["places"]
    values = next((place["values"] for place in places if place["kind"] == "pooled"), {})
    account = promised(folder)
    seconds = pd.to_numeric(history["seconds"], errors="coerce")[min(1, len(history) - 1) :].mean()
    return {
        **metrics,
        "accuracy_gained": float(history["val_accuracy"].iloc[-1] - history["val_accuracy"].iloc[0]),
        "trained": values,
        "bytes": sum(federation["bytes"].values()) / len(history),
        "epsilon": account and account["epsilon"]["pld"],
        "times": len(history),
        "seconds_each": None if pd.isna(seconds) else float(seconds),
    }
