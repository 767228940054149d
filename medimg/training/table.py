"""Training on a table: the description, model, phases and stages of `train()` for a Dataset of rows."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.models import tabular
from medimg.pipeline.balance import epoch_order
from medimg.tables.fit import complete_rows, fit
from medimg.tables.fit_public import fit_public
from medimg.tables.preprocessing import Preprocessing
from medimg.tables.public import public_of, require_public
from medimg.training import features as frozen
from medimg.training import phases
from medimg.training.data import Material, weighting, with_made_rows
from medimg.training.loop import Stage
from medimg.training.losses import balanced_loss
from medimg.training.phases import Phase

# Rows preprocessed and predicted at once in validation.
_BLOCK = 65_536


def check(config: TrainConfig) -> None:
    """Raises InputError when the options don't fit a table."""
    tabular.check(config.model)


def describe(dataset: Dataset, config: TrainConfig) -> dict:
    """What model.json says, with the preprocessing fitted on the training part alone."""
    if config.is_private:
        return described(dataset, config, public_preprocessing(dataset, config))
    return described(dataset, config, fit(dataset, _training_rows(dataset, config), config))


def public_preprocessing(dataset: Dataset, config) -> Preprocessing:
    """The preprocessing by what is publicly known of the columns.

    Raises:
        InputError: something is not stated.
    """
    features = public_of(dataset.inputs, config.bound, config.categories)
    require_public(features, str(dataset.root), ranges=config.scale != "none")
    return fit_public(features, config, str(dataset.root))


def described(dataset: Dataset, config: TrainConfig, preprocessing: Preprocessing) -> dict:
    """What model.json says, with a preprocessing learnt elsewhere."""
    return {
        "name": config.model,
        "task": dataset.task,
        "classes": list(dataset.classes),
        "model_arg": config.model_arg,
        "input": "float32 (B, columns), as `preprocessing` makes them of raw columns",
        "output": "logits float32 (B, classes)",
        "preprocessing": preprocessing.to_dict(),
    }


def _training_rows(dataset: Dataset, config: TrainConfig):
    rows = dataset.rows("train", labelled=True)
    if config.missing != "drop-rows":
        return rows
    complete = complete_rows(dataset, rows)
    if complete["label"].nunique() < 2:
        raise InputError(
            f"--missing drop-rows: {len(complete)} of {len(rows)} training rows are complete, of fewer than two "
            "classes; use --missing impute or drop-columns"
        )
    return complete


def build_model(config: TrainConfig, description: dict) -> tf.keras.Model:
    """The model with its first weights."""
    columns = len(Preprocessing.from_dict(description["preprocessing"]).names)
    # Clipping and noise hold the weights down already, and a penalty is no patient's loss.
    arguments = {"l2": "0", **config.model_arg} if config.is_private else config.model_arg
    return tabular.build_tabular(config.model, columns, len(description["classes"]), config.dropout, arguments)


def plan(config: TrainConfig, model: tf.keras.Model) -> list[Phase]:
    """One phase."""
    return [Phase("train", config.epochs, 0, config.learning_rate)]


def prepare(model: tf.keras.Model, phase: Phase) -> None:
    """Every layer trains."""


def gather(dataset: Dataset, config: TrainConfig, description: dict, folder: Path, progress) -> Material:
    """Preprocess both parts and settle order and weights."""
    preprocessing = Preprocessing.from_dict(description["preprocessing"])
    train, val = _training_rows(dataset, config), dataset.rows("val", labelled=True)
    targets = dataset.targets(train)
    weights, drawing = weighting(targets, len(dataset.classes), config.balance)
    material = Material(
        train=preprocessing.transform(train),
        targets=targets,
        sample_weights=weights,
        loss=balanced_loss(config.balance, targets, len(dataset.classes)),
        order=epoch_order(len(targets), config.seed, drawing),
        augmentation=None,
        val=preprocessing.transform(val),
        val_targets=dataset.targets(val),
        patients=train["patient"].to_numpy(),
    )
    if config.balance == "smote":
        material, (material.train,) = with_made_rows(material, [material.train], config.seed)
    return material


def fitted(model: tf.keras.Model, phase: Phase, config: TrainConfig) -> tf.keras.Model:
    """What the phase fits: the model."""
    return model


def stage(model: tf.keras.Model, phase: Phase, material: Material, config: TrainConfig, listener) -> Stage:
    """What the phase fits and on what."""
    forward = frozen.forward_function(model)

    def validate() -> np.ndarray:
        blocks = range(0, len(material.val), _BLOCK)
        return np.concatenate([forward(material.val[i : i + _BLOCK]).numpy() for i in blocks])

    return Stage(
        model=model,
        optimizer=phases.optimizer(config.optimizer, phase.learning_rate),
        loss=material.loss,
        batches=lambda epochs: frozen.feature_batches(
            [material.train], material.targets, material.order, config.batch_size, epochs, material.sample_weights
        ),
        validate=validate,
        examples=len(material.targets),
        val_targets=material.val_targets,
        inputs=frozen.inputs_of([material.train]),
    )
