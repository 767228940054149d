"""A step of a declared study: `medimg synthesize`."""

import time
from pathlib import Path

from medimg.studies.steps import Inputs
from synthetic.config import SynthesizeConfig
from synthetic.synthesize import synthesize


def run(inputs: Inputs, folder: Path, options: dict) -> dict:
    """Make a synthetic Dataset, or go on with it; `times` and `seconds_each` are of the epochs, start-up in them."""
    config, started = SynthesizeConfig.from_dict(options).told_by(()), time.monotonic()
    begun = (folder / "environment.json").is_file()
    synthesize(inputs.data, folder, config, resume=begun, overwrite=not begun and folder.exists())
    times = config.epochs or 0
    return {"times": times, "seconds_each": (time.monotonic() - started) / max(times, 1)}
