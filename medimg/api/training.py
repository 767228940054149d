"""train(): what `medimg train` does."""

from pathlib import Path

from medimg.api.datasets import folder_of
from medimg.api.runs import Run
from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.listener import Listener
from medimg.resuming import options_to_resume


def train(
    data: Dataset | str | Path,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener | None = None,
    **options,
) -> Run:
    """Train a classifier and leave a Run, as `medimg train` does; resumable at any moment.

    Args:
        data: a Dataset or its folder; what is trained on is the folder's content.
        out: the Run folder.
        resume: go on with the Run at `out`, with its own options, or with more epochs.
        overwrite: replace the Run at `out`.
        listener: is told of progress.
        **options: of `medimg train` (`medimg train --help`), e.g. `model="mlp"`, `epochs=50`, `dp_epsilon=3`.

    Raises:
        InputError: an option is not known or doesn't fit, the data leak or can't be read, or `out` is taken.

    Example:
        >>> import medimg
        >>> run = medimg.train("data", "another", model="logistic", epochs=3, seed=1)
        >>> len(run.history())
        3
    """
    from medimg.training.any_model import train_any

    config = TrainConfig.from_dict(options)
    if resume:
        config = options_to_resume(Path(out), "train", config, options, longer=("epochs", "fine_tune_epochs"))
    if config.folds and not config.fold:
        raise InputError("folds: train() leaves one Run; give fold=1 and so on too, or use 'medimg train --folds'")
    done = train_any(folder_of(data), Path(out), config, resume, overwrite, listener)
    return Run(done.root, done.config)
