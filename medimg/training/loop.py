"""The epochs of one phase: fit, validate, checkpoint, stop."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import tensorflow as tf

from medimg import atomic
from medimg.config import TrainConfig
from medimg.errors import InputError
from medimg.run import Run
from medimg.training.checkpoint import Checkpoints
from medimg.training.distribution import shared
from medimg.training.losses import mean_loss
from medimg.training.others import training
from medimg.training.phases import Phase
from medimg.training.progress import Progress
from medimg.training.randomness import reseed
from medimg.training.scores import accuracy, auroc


@dataclass(frozen=True)
class Stage:
    """What a phase fits and on what.

    Attributes:
        model: the whole model, or its head.
        optimizer: Keras optimizer.
        loss: on logits.
        batches: (first epoch, one past the last) -> tf.data over all of them.
        validate: () -> logits of the validation part (N, classes).
        examples: training examples in an epoch.
        val_targets: targets of the validation part.
        inputs: (epoch, indices of training examples), tensors -> what the model is given of them; for samplings other
            than an epoch's order.
        before: told how many epochs the phase has had, before the next one's first step.
        keeps_last: the phase's last weights are kept, not those of its best epoch.
        tells_training: loss, accuracy and seconds of the training part may be told.
        counted: an epoch has ceil(examples / batch size) batches; else as many as `batches` gives.
        kept: whose weights are validated and kept as the best; None: the model's.
    """

    model: tf.keras.Model
    optimizer: tf.keras.optimizers.Optimizer
    loss: tf.keras.losses.Loss
    batches: Callable
    validate: Callable[[], np.ndarray]
    examples: int
    val_targets: np.ndarray
    inputs: Callable
    before: Callable[[int], None] = lambda epoch: None
    keeps_last: bool = False
    tells_training: bool = True
    counted: bool = True
    kept: tf.keras.Model | None = None


class Epochs:
    """Runs a stage's epochs from where `progress` is, leaving a checkpoint after each."""

    def __init__(
        self,
        stage: Stage,
        phase: Phase,
        config: TrainConfig,
        task: str,
        progress: Progress,
        history: list[dict],
        checkpoints: Checkpoints,
        run: Run,
        listener,
    ):
        self.stage, self.phase, self.config, self.task = stage, phase, config, task
        self.progress, self.history = progress, history
        self.checkpoints, self.run_folder, self.listener = checkpoints, run, listener

    def run(self) -> None:
        """Fit until the phase is over."""
        stage, progress = self.stage, self.progress
        if progress.epoch == 0:
            # Before the first epoch: a phase of no epochs, or killed in its first, has weights to go on with.
            self.checkpoints.save_best(stage.kept or stage.model, progress.phase)
            self._save()
        progress.settle(self.phase.epochs, self.config.patience)
        if progress.finished:
            return
        stage.optimizer.learning_rate.assign(progress.learning_rate)
        metric = (
            tf.keras.metrics.BinaryAccuracy(name="accuracy", threshold=0.0)
            if self.task == "multilabel"
            else tf.keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        )
        stage.model.compile(stage.optimizer, stage.loss, metrics=[metric], jit_compile=self.config.xla or None)
        steps = math.ceil(stage.examples / self.config.batch_size)
        first, last = (progress.total_epochs, progress.total_epochs + self.phase.epochs - progress.epoch)
        callbacks = [_EpochEnd(self, steps), *self._tensorboard()]
        if stage.counted:
            self._fit((first, last), steps, callbacks)
            return
        for epoch in range(first, last):
            self._fit((epoch, epoch + 1), None, callbacks)
            if progress.finished:
                return

    def _fit(self, epochs: tuple[int, int], steps: int | None, callbacks: list) -> None:
        self.stage.model.fit(
            shared(self.stage.batches(epochs)),
            initial_epoch=epochs[0],
            epochs=epochs[1],
            steps_per_epoch=steps,
            callbacks=callbacks,
            verbose=0,
        )

    def end_epoch(self, logs: dict, seconds: float) -> None:
        """Validate, record, checkpoint; tells the model to stop when the phase is over."""
        stage, progress, config = self.stage, self.progress, self.config
        if stage.tells_training:
            self._require_finite(logs["loss"], "the loss")
        else:
            logs.update(dict.fromkeys(("loss", "accuracy"), math.nan))
            seconds = math.nan
        started = time.monotonic()
        logits = stage.validate()
        loss = mean_loss(logits, stage.val_targets, self.task)
        if not stage.tells_training:
            self._require_finite(loss, "the loss on validation")
        rate = progress.learning_rate
        better = progress.end_epoch(
            loss, self.phase.epochs, config.patience, config.plateau_patience, config.plateau_factor
        )
        row = {
            "epoch": progress.total_epochs,
            "phase": self.phase.name,
            "loss": logs["loss"],
            "accuracy": logs["accuracy"],
            "val_loss": loss,
            "val_accuracy": accuracy(logits, stage.val_targets),
            "val_auroc": auroc(logits, stage.val_targets, self.task),
            "learning_rate": rate,
            "seconds": round(seconds, 3),
            "val_seconds": round(time.monotonic() - started, 3),
            "best": better,
        }
        logs.update(val_loss=loss, val_auroc=row["val_auroc"], learning_rate=rate)
        self.history.append(row)
        stage.optimizer.learning_rate.assign(progress.learning_rate)
        if better or stage.keeps_last:
            self.checkpoints.save_best(stage.kept or stage.model, progress.phase)
        self._save()
        atomic.write_csv(self.run_folder.root / "history.csv", pd.DataFrame(self.history))
        self.listener.epoch(row)
        stage.model.stop_training = progress.finished

    def _require_finite(self, loss: float, what: str) -> None:
        if not math.isfinite(loss):
            raise InputError(
                f"--learning-rate {self.config.learning_rate}: {what} became {loss} in epoch "
                f"{self.progress.total_epochs + 1}; use a smaller one"
            )

    def _save(self) -> None:
        self.checkpoints.save(self.progress, self.history, model=self.stage.model, optimizer=self.stage.optimizer)

    def _tensorboard(self) -> list:
        if not self.config.tensorboard:
            return []
        folder = self.run_folder.root / "tensorboard" / self.phase.name
        return [tf.keras.callbacks.TensorBoard(folder, write_graph=False)]


class _EpochEnd(tf.keras.callbacks.Callback):
    """Hands Keras' epochs to `Epochs`."""

    def __init__(self, epochs: Epochs, steps: int):
        super().__init__()
        self.epochs, self.steps = epochs, steps

    def on_epoch_begin(self, epoch, logs=None):
        for number, model in enumerate(filter(None, (self.model, self.epochs.stage.kept))):
            reseed(model, self.epochs.config.seed, epoch, number)
        self.epochs.stage.before(self.epochs.progress.epoch)
        self.started = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        training()
        number = self.epochs.progress.total_epochs + 1
        self.epochs.listener.step(f"epoch {number}", batch + 1, self.steps)

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.end_epoch(logs, time.monotonic() - self.started)
