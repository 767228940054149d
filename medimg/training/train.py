"""train(): a Dataset and options -> a Run."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from medimg import atomic
from medimg.config import TrainConfig
from medimg.dataset import Dataset
from medimg.errors import InputError
from medimg.leakage import require_no_leakage
from medimg.models.build import build
from medimg.models.registry import family
from medimg.models.saving import save_model
from medimg.pipeline import batches, image_form, training_batches
from medimg.run import Run, environment
from medimg.training import features as frozen
from medimg.training import material as data_material
from medimg.training import phases
from medimg.training.checkpoint import Checkpoints
from medimg.training.loop import Epochs, Stage
from medimg.training.losses import loss_for
from medimg.training.progress import Progress
from medimg.training.randomness import use_generators


@dataclass(frozen=True)
class Listener:
    """Whom a training tells how it goes.

    Attributes:
        step: called with what is done, how far, and of how many.
        epoch: called with each finished epoch's row of history.csv.
    """

    step: Callable[[str, int, int], None] = lambda what, done, total: None
    epoch: Callable[[dict], None] = lambda row: None


def train(
    data: Path,
    out: Path,
    config: TrainConfig,
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener | None = None,
) -> Run:
    """Train a classifier; the Run is resumable at any moment.

    Args:
        data: a prepared Dataset folder.
        out: the Run folder.
        config: options.
        resume: go on with the Run at `out`, with its own data and options.
        overwrite: replace the Run at `out`.
        listener: is told of progress.

    Raises:
        InputError: the data leak, can't be read or have one class, an option doesn't fit, or `out` is taken.
    """
    listener = listener or Listener()
    dataset = Dataset.load(data)
    data_material.check(dataset)
    family(config.model)
    require_no_leakage(dataset)
    if resume:
        run = _resumable(out, dataset)
        if (run.root / "model.keras").is_file():
            return run
        model = _build(config, run.description())
    else:
        channels = _channels(dataset, config)
        description = _describe(dataset, config, channels)
        # Built before the folder is made: a wrong option leaves nothing behind.
        model = _build(config, description)
        run = Run.create(out, data, "train", config.to_dict(), overwrite)
        atomic.write_json(run.root / "environment.json", environment(dataset, config.seed))
        atomic.write_json(run.root / "model.json", description)
    _train(run, model, dataset, config, listener)
    return run


def _resumable(out: Path, dataset: Dataset) -> Run:
    run = Run.load(out)
    environment_then = run.environment()
    if environment_then.get("data_fingerprint") != dataset.fingerprint():
        raise InputError(
            f"{out}: the Dataset at {dataset.root} has changed since this Run began; train anew with --overwrite"
        )
    return run


def _channels(dataset: Dataset, config: TrainConfig) -> int:
    if config.channels:
        return config.channels
    if family(config.model).application is not None:
        return 3
    return image_form(dataset.paths(dataset.rows("train"))).channels


def _describe(dataset: Dataset, config: TrainConfig, channels: int) -> dict:
    return {
        "name": config.model,
        "task": dataset.task,
        "classes": list(dataset.classes),
        "image_size": config.image_size,
        "channels": channels,
        "norm": config.norm,
        "model_arg": config.model_arg,
        "input": "float32 (B, image_size, image_size, channels), raw pixels 0..255",
        "output": "logits float32 (B, classes)",
    }


def _build(config: TrainConfig, description: dict) -> tf.keras.Model:
    use_generators()
    tf.keras.utils.set_random_seed(config.seed)
    model = build(
        config.model,
        config.image_size,
        description["channels"],
        len(description["classes"]),
        config.weights,
        config.norm,
        config.dropout,
        config.model_arg,
    )
    phases.plan(config, model)
    return model


def _train(
    run: Run, model: tf.keras.Model, dataset: Dataset, config: TrainConfig, listener: Listener
) -> None:
    material = data_material.gather(
        dataset, config, model.input_shape[-1], run.root / "cache", listener.step
    )
    checkpoints = Checkpoints(run.root / "checkpoints")
    progress, history = checkpoints.state() or (Progress(), [])
    planned = phases.plan(config, model)
    resumed = bool(history)
    if not resumed:
        progress.start_phase(0, planned[0].learning_rate)
    try:
        for number, phase in enumerate(planned):
            phases.prepare(model, phase)
            if number < progress.phase:
                _take_best(checkpoints, model, phase, config, number)
                continue
            stage = _stage(model, phase, material, config, listener)
            stage.optimizer.build(stage.model.trainable_variables)
            if resumed:
                checkpoints.restore(model=stage.model, optimizer=stage.optimizer)
                resumed = False
            Epochs(
                stage, phase, config, dataset.task, progress, history, checkpoints, run, listener
            ).run()
            _take_best(checkpoints, model, phase, config, number)
            if number + 1 < len(planned):
                progress.start_phase(number + 1, planned[number + 1].learning_rate)
    finally:
        material.close()
        shutil.rmtree(run.root / "cache", ignore_errors=True)
    atomic.write_csv(run.root / "history.csv", pd.DataFrame(history))
    save_model(model, run.root / "model.keras")
    checkpoints.clear()


def _caches_features(phase: phases.Phase, config: TrainConfig) -> bool:
    """Finite views of a wholly frozen backbone: its features are the same every time."""
    finite = config.augment == "none" or config.views > 0
    return config.cache_features and phase.frozen_blocks is None and finite


def _take_best(
    checkpoints: Checkpoints,
    model: tf.keras.Model,
    phase: phases.Phase,
    config: TrainConfig,
    number: int,
) -> None:
    target = frozen.head(model) if _caches_features(phase, config) else model
    checkpoints.load_best(target, number)


def _stage(
    model: tf.keras.Model,
    phase: phases.Phase,
    material: data_material.Material,
    config: TrainConfig,
    listener: Listener,
) -> Stage:
    """What the phase fits: the whole model on pixels, or the head on features computed once."""
    optimizer = phases.optimizer(config.optimizer, phase.learning_rate)
    loss = loss_for(
        "multilabel" if material.targets.ndim == 2 else "categorical", material.positive_weights
    )
    common = (material.order, config.batch_size)
    if not _caches_features(phase, config):
        return Stage(
            model=model,
            optimizer=optimizer,
            loss=loss,
            batches=lambda epochs: _pixel_batches(material, common, epochs),
            validate=_on_pixels(model, material, config.batch_size),
            examples=len(material.targets),
            val_targets=material.val_targets,
        )
    forward = frozen.forward_function(frozen.extractor(model))
    views = frozen.compute(
        forward,
        material.train,
        config.batch_size,
        material.augmentation,
        lambda done, total: listener.step("features", done, total),
    )
    val = frozen.compute(forward, material.val, config.batch_size)[0]
    small = frozen.head(model)
    last = frozen.forward_function(small)
    return Stage(
        model=small,
        optimizer=optimizer,
        loss=loss,
        batches=lambda epochs: frozen.feature_batches(
            views, material.targets, *common, epochs, material.sample_weights
        ),
        validate=lambda: last(tf.constant(val)).numpy(),
        examples=len(material.targets),
        val_targets=material.val_targets,
    )


def _pixel_batches(material: data_material.Material, common: tuple, epochs: tuple[int, int]):
    return training_batches(
        material.train,
        material.targets,
        *common,
        epochs,
        material.sample_weights,
        material.augmentation,
    )


def _on_pixels(model: tf.keras.Model, material: data_material.Material, batch_size: int):
    forward = frozen.forward_function(model)

    def validate() -> np.ndarray:
        return np.concatenate([forward(b).numpy() for b in batches(material.val, batch_size)])

    return validate
