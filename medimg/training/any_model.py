"""train_any(): whatever `medimg train` is asked for that leaves one Run."""

import dataclasses
from pathlib import Path

from medimg.config import PIXELS_ALONE, TrainConfig
from medimg.data.dataset import Dataset
from medimg.listener import Listener
from medimg.lock import writes
from medimg.run import Run
from medimg.training.ensemble import ensemble
from medimg.training.train import train, train_or_go_on


@writes("out")
def train_any(
    data: Path | Dataset,
    out: Path,
    config: TrainConfig,
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener | None = None,
) -> Run:
    """One model, an ensemble, or with `--metadata` a model and, in the Run's folder, the same one of pixels alone.

    Args and errors: as of `train`.
    """
    if config.is_ensemble:
        return ensemble(data, out, config, resume, overwrite, listener)
    run = train(data, out, config, resume, overwrite, listener)
    with_pixels_alone(data, run, config, listener)
    return run


def with_pixels_alone(data: Path | Dataset, run: Run, config: TrainConfig, listener: Listener | None) -> None:
    """What the columns of `--metadata` are worth is told beside what pixels reach without them, trained alike."""
    if config.metadata:
        alone = dataclasses.replace(config, metadata=None).with_given_names(())
        train_or_go_on(data, run.root / PIXELS_ALONE, alone, listener)
