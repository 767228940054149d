"""Training on images: the description, model, phases and stages of `train()` for a Dataset of images."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.models import tabular
from medimg.models.build import build
from medimg.models.registry import family
from medimg.models.weights import is_run
from medimg.pipeline.batches import batches, training_batches, training_pixels, with_columns
from medimg.pipeline.pixels import ImageForm, image_form
from medimg.pipeline.whitening import LEARNT, Whitening, grayscale, image_sums
from medimg.pipeline.whitening import whitening as learnt
from medimg.run import Run
from medimg.tables.fit import fit
from medimg.tables.metadata import as_table
from medimg.tables.preprocessing import Preprocessing
from medimg.training import data as data_material
from medimg.training import features as frozen
from medimg.training import phases
from medimg.training.data import Material
from medimg.training.loop import Stage
from medimg.training.losses import loss_for
from medimg.training.phases import Phase


def check(config: TrainConfig) -> None:
    """Raises InputError when the options don't fit images."""
    for name in ("bound", "categories"):
        if getattr(config, name):
            raise InputError(f"--{name}: is for a table's columns; leave it out for images")
    if config.model in tabular.ARGUMENTS:
        raise InputError(f"--model {config.model}: needs a table; 'medimg models' lists what takes images")
    family(config.model)
    if config.metadata and (config.is_private or config.missing == "drop-rows"):
        other = "--missing drop-rows" if config.missing == "drop-rows" else "--dp-epsilon"
        raise InputError(f"--metadata {config.metadata}: not with {other}; leave out the one or the other")


def columns_of(dataset: Dataset, config: TrainConfig) -> Preprocessing:
    """What `--metadata` names, as a model takes it, learnt from the training rows."""
    table = as_table(dataset, [name.strip() for name in config.metadata.split(",")])
    return fit(table, table.rows("train", labelled=True), config)


def describe(dataset: Dataset, config: TrainConfig, whitening: Whitening | None = None) -> dict:
    """What model.json says.

    Args:
        dataset: to be trained on.
        config: options.
        whitening: for `--normalize standard` or `pca`, where it was learnt elsewhere; None: from the training images.
    """
    channels = channels_of(dataset, config)
    description = {
        "name": config.model,
        "task": dataset.task,
        "classes": list(dataset.classes),
        "image_size": config.image_size,
        "channels": channels,
        "prepared_size": (dataset.preparation.get("options") or {}).get("image_size"),
        "negative": dataset.negative,
        "norm": config.norm,
        "model_arg": config.model_arg,
        "input": "float32 (B, image_size, image_size, channels), raw pixels 0..255",
        "output": "logits float32 (B, classes)",
    }
    white = dataset.preparation.get("white")
    if white is not None:
        description["white"] = white
    if config.normalize in LEARNT and whitening is None:
        paths = dataset.paths(dataset.rows("train", labelled=True))
        whitening = learnt(image_sums(paths, config.image_size, channels), config.normalize)
    if config.normalize == "grayscale":
        whitening = grayscale(channels)
    if whitening:
        description["normalize"] = whitening.to_dict()
    if config.metadata:
        description["metadata"] = columns_of(dataset, config).to_dict()
    return description


def channels_of(dataset: Dataset, config: TrainConfig) -> int:
    """Channels that the model takes: as told, 3 for ImageNet's models, else as the training images are."""
    if config.channels:
        return config.channels
    if family(config.model).application is not None:
        return 3
    # Private training asks those whom it does not protect: a single colour image would make the model one of colour.
    return form_of(dataset, "val" if config.is_private else "train").channels


def form_of(dataset: Dataset, split: str) -> ImageForm:
    """Channels and bits of a part's images."""
    return image_form(dataset.paths(dataset.rows(split)))


def build_model(config: TrainConfig, description: dict) -> tf.keras.Model:
    """The model with its first weights."""
    normalize = description.get("normalize")
    _check_start(config, normalize)
    model = build(
        config.model,
        config.image_size,
        description["channels"],
        len(description["classes"]),
        config.weights,
        config.norm,
        config.dropout,
        config.model_arg,
        Whitening.from_dict(normalize) if normalize else None,
        len(Preprocessing.from_dict(description["metadata"]).names) if "metadata" in description else 0,
    )
    plan(config, model)
    return model


def _check_start(config: TrainConfig, normalize: dict | None) -> None:
    """Refuse weights that were learnt on pixels of another colour space."""
    if is_run(config.weights) and Run.load(Path(config.weights)).description().get("normalize") != normalize:
        raise InputError(
            f"--weights {config.weights}: was trained with another --normalize; its weights fit no other pixels"
        )


def plan(config: TrainConfig, model: tf.keras.Model) -> list[Phase]:
    """Phases for the options."""
    return phases.plan(config, model)


def prepare(model: tf.keras.Model, phase: Phase) -> None:
    """Set which layers the phase trains."""
    phases.prepare(model, phase)


def gather(dataset: Dataset, config: TrainConfig, description: dict, folder: Path, progress) -> Material:
    """Decode both parts and settle order, weights and augmentation."""
    material = data_material.gather(dataset, config, description["channels"], folder, progress)
    if "metadata" in description:
        columns = Preprocessing.from_dict(description["metadata"])
        material.columns = columns.transform(dataset.rows("train", labelled=True))
        material.val_columns = columns.transform(dataset.rows("val", labelled=True))
    return material


def fitted(model: tf.keras.Model, phase: Phase, config: TrainConfig) -> tf.keras.Model:
    """What the phase fits: the model, or its head where features are computed once."""
    return frozen.head(model) if _caches_features(phase, config) else model


def stage(model: tf.keras.Model, phase: Phase, material: Material, config: TrainConfig, listener) -> Stage:
    """What the phase fits and on what: the whole model on pixels, or the head on features computed once."""
    optimizer = phases.optimizer(config.optimizer, phase.learning_rate)
    loss = loss_for("multilabel" if material.targets.ndim == 2 else "categorical", material.positive_weights)
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
            inputs=lambda epoch, chosen: training_pixels(material.train, epoch, chosen, material.augmentation),
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
        inputs=frozen.inputs_of(views),
    )


def _caches_features(phase: Phase, config: TrainConfig) -> bool:
    """Finite views of a wholly frozen backbone: its features are the same every time."""
    finite = config.augment == "none" or config.views > 0
    # Attention on the last maps is new, and trains before they are pooled; columns are no part of the features.
    fixed = config.model_arg.get("attention", "none") == "none" and not config.metadata
    return config.cache_features and phase.frozen_blocks is None and fixed and finite


def _pixel_batches(material: Material, common: tuple, epochs: tuple[int, int]):
    weights, augmentation, columns = material.sample_weights, material.augmentation, material.columns
    return training_batches(material.train, material.targets, *common, epochs, weights, augmentation, columns)


def _on_pixels(model: tf.keras.Model, material: Material, batch_size: int):
    forward = frozen.forward_function(model)

    def validate() -> np.ndarray:
        given = with_columns(batches(material.val, batch_size), material.val_columns, batch_size)
        return np.concatenate([forward(*inputs).numpy() for inputs in given])

    return validate
