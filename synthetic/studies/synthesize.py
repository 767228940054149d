"""A step of a declared study: `medimg synthesize`."""

import time
from pathlib import Path

from medimg.studies.steps import Inputs
from synthetic.config import SynthesizeConfig
from synthetic.synthesize import synthesize


def run(inputs: Inputs, folder: Path, options: dict) -> dict:
    """Make a synthetic Dataset, or go on with it; `times` and `seconds_each` are of the epochs."""
    config = SynthesizeConfig.from_dict(options).with_given_names(())
    begun = (folder / "environment.json").is_file()
    progress = []

    def listener(stage: str, done: int, total: int) -> None:
        progress.append((stage, done / max(total, 1), time.monotonic()))

    synthesize(inputs.data, folder, config, resume=begun, overwrite=not begun and folder.exists(), listener=listener)
    epochs = config.epochs or 0
    # Images are decoded before the training, and made after it.
    of_training = [(share, moment) for stage, share, moment in progress if stage not in ("decode", "images")]
    seconds = 0.0
    if epochs and len(of_training) > 1:
        (first, began), (last, ended) = of_training[0], of_training[-1]
        seconds = (ended - began) / max(last - first, 1e-9) / epochs
    return {"times": epochs, "seconds_each": seconds}
