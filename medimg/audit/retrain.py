"""Trainings with the Run's own options on other rows, whose models are measured and thrown away."""

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd

from medimg import atomic
from medimg.audit.members import AuditSubject
from medimg.config import TrainConfig
from medimg.errors import InputError
from medimg.listener import Step
from medimg.run import Run

FOLDER = "audit"


def options(run: Run) -> TrainConfig:
    """The options that the Run was trained with, for a Dataset whose parts are given.

    Raises:
        InputError: the Run is not of `medimg train`.
    """
    if run.config["command"] != "train":
        raise InputError(
            f"{run.root}: made by 'medimg {run.config['command']}'; lira and canaries train again and need a Run of "
            "'medimg train'"
        )
    config = TrainConfig.from_dict(run.config["options"])
    if config.is_ensemble:
        raise InputError(
            f"{run.root}: is an ensemble; lira and canaries train again, which is of one model: audit its members"
        )
    # The Dataset already has the fold's parts, and the rows to train on are given.
    return dataclasses.replace(config, folds=0, fold=0, audit_holdout=0.0, tensorboard=False, calibrate="none")


def seconds(run: Run) -> float | None:
    """How long the Run's training took; None when its history does not tell."""
    history = run.history()
    columns = [name for name in ("seconds", "val_seconds") if name in history]
    return float(history[columns].to_numpy().sum()) if columns else None


@contextmanager
def trained(subject: AuditSubject, rows: pd.DataFrame, seed: int, step: Step | None = None) -> Iterator[Run]:
    """A Run trained on rows of the Dataset (or made up like them); it is gone after the block.

    A private training is as private as the Run's; its ledger goes with it, since nothing of it is released but the
    audit's counts.

    Args:
        subject: whose options and classes.
        rows: manifest with `split`, train and val both present.
        seed: of initial weights, order and noise.
        step: progress of the training.

    Raises:
        InputError: the rows can't be trained on, or the folder can't be written.
    """
    # Lazily: an audit without other models needs no training.
    import tensorflow as tf

    from medimg.listener import Listener
    from medimg.training.train import train

    config = dataclasses.replace(options(subject.run), seed=seed, dp_seed=None).with_given_names(())
    folder = _work_folder(subject.run)
    try:
        if not subject.dataset.is_table:
            files = [str(path.resolve()) for path in subject.dataset.paths(rows)]
            rows = rows.assign(image=files)
        data = dataclasses.replace(subject.dataset, root=folder / "data", manifest=rows.reset_index(drop=True))
        # Never written: a manifest names only files of its own folder.
        data.root.mkdir()
        listener = Listener(step=step) if step else None
        yield train(data, folder / "run", config, listener=listener)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        # Dozens of models in one process: their graphs would stay.
        tf.keras.backend.clear_session()


def _work_folder(run: Run) -> Path:
    parent = run.root / FOLDER
    try:
        parent.mkdir(exist_ok=True)
        # What an audit that was killed left behind.
        for left in parent.glob("work-*"):
            shutil.rmtree(left, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix="work-", dir=parent))
    except OSError as error:
        raise atomic.cannot_write(parent, error) from error
