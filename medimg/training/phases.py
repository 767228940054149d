"""What a training does, phase by phase: one for all, or the head first and the top blocks after it."""

from dataclasses import dataclass

import tensorflow as tf

from medimg.config import TrainConfig
from medimg.errors import InputError
from medimg.models.blocks import blocks, freeze
from medimg.training.adam import Adam, AdamW


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one set of trainable layers and one optimizer.

    Attributes:
        name: `train`, `head` or `fine-tune`; `pretrain` without labels; or one of a round of pseudo-labels.
        epochs: most epochs.
        frozen_blocks: lower blocks that stay fixed; None: the whole backbone.
        learning_rate: at its start.
        round: of pseudo-labels, 0: none yet.
    """

    name: str
    epochs: int
    frozen_blocks: int | None
    learning_rate: float
    round: int = 0


def plan(config: TrainConfig, model: tf.keras.Model) -> list[Phase]:
    """Phases for the options.

    Raises:
        InputError: `--freeze` is not none, backbone or a number of blocks the model has.
    """
    if config.freeze == "none":
        return [Phase("train", config.epochs, 0, config.learning_rate)]
    if config.freeze != "backbone":
        try:
            lower = int(config.freeze)
        except ValueError:
            raise InputError(f"--freeze {config.freeze}: must be none, backbone or a number") from None
        if not 0 <= lower <= len(blocks(model)):
            raise InputError(f"--freeze {lower}: {model.name} has {len(blocks(model))} blocks")
        return [Phase("train", config.epochs, lower, config.learning_rate)]
    phases = [Phase("head", config.epochs, None, config.learning_rate)]
    if config.fine_tune_epochs:
        frozen_blocks = max(0, len(blocks(model)) - config.fine_tune_blocks)
        rate = config.fine_tune_learning_rate or config.learning_rate / 10.0
        phases.append(Phase("fine-tune", config.fine_tune_epochs, frozen_blocks, rate))
    return phases


def prepare(model: tf.keras.Model, phase: Phase) -> None:
    """Set which layers the phase trains."""
    freeze(model, phase.frozen_blocks)


def optimizer(name: str, learning_rate: float) -> tf.keras.optimizers.Optimizer:
    """A Keras optimizer by its option name."""
    build = {
        "adam": Adam,
        "adamw": AdamW,
        "sgd": tf.keras.optimizers.SGD,
        "momentum": lambda rate: tf.keras.optimizers.SGD(rate, momentum=0.9),
        "rmsprop": tf.keras.optimizers.RMSprop,
    }
    return build[name](learning_rate)
