"""A step of a declared study: `medimg explain`, its methods scored."""

from pathlib import Path

from explain.config import ExplainConfig
from explain.explain import explain
from medimg.run import Run
from medimg.studies.steps import Inputs


def run(inputs: Inputs, folder: Path, options: dict) -> dict:
    """Explain the cell's Run on its test part.

    Returns:
        Method, and in brackets each control of the first -> score -> value and interval.
    """
    config = ExplainConfig.from_dict(options).with_given_names(())
    scores = explain(Run.load(inputs.folders["train"]), config)["scores"]
    controls = next(iter(scores.values()))["controls"]
    return {**scores, **{f"({name})": its for name, its in controls.items()}}
