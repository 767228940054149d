"""A step of a declared study: `medimg judge`."""

from pathlib import Path

from medimg.studies.steps import Inputs
from synthetic.judge.config import JudgeConfig
from synthetic.judge.judge import judge


def run(inputs: Inputs, folder: Path, options: dict) -> dict:
    """Judge what `synthesize` made, beside the Dataset that it was made from."""
    config = JudgeConfig.from_dict({"bootstrap": inputs.bootstrap, **options})
    return judge(inputs.folders["synthesize"], inputs.data, config.with_given_names(()), report=folder)
