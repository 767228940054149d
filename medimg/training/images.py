"""Training on images: the description, model, phases and stages of `train()` for a Dataset of images."""

from pathlib import Path

import numpy as np
import tensorflow as tf

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.models.build import build
from medimg.models.head import LOGITS
from medimg.models.registry import ARGUMENTS, family
from medimg.models.weights import is_run
from medimg.options import flag
from medimg.pipeline.augmentation import Augmentation
from medimg.pipeline.batches import batches, steady, training_batches, training_pixels, with_columns
from medimg.pipeline.pixels import ImageForm, PixelCache, image_form
from medimg.pipeline.whitening import LEARNT, Whitening, grayscale, image_sums
from medimg.pipeline.whitening import whitening as learnt
from medimg.preparation.decoding import prepared_size
from medimg.run import Run
from medimg.tables.fit import fit
from medimg.tables.metadata import as_table, require_honest
from medimg.tables.preprocessing import Preprocessing
from medimg.training import adaptation, few_labels, phases
from medimg.training import data as data_material
from medimg.training import features as frozen
from medimg.training.data import Material
from medimg.training.few_labels import Views
from medimg.training.head_start import logistic_head
from medimg.training.loop import Stage
from medimg.training.phases import Phase

# Of each image, where features are computed once and --views says nothing.
_STRONG_VIEWS = 4


def check(config: TrainConfig) -> None:
    """Raises InputError when the options don't fit images."""
    if config.model in ARGUMENTS:
        raise InputError(f"--model {config.model}: needs a table; 'medimg models' lists what takes images")
    family(config.model)
    others = {"paradigm": "supervised", "adapt": None, "dp_epsilon": None, "dp_noise_multiplier": None}
    unsuited = [name for name, neutral in others.items() if getattr(config, name) != neutral]
    named = {"balance": "smote", "missing": "drop-rows"}
    unsuited += [name for name, value in named.items() if getattr(config, name) == value]
    if config.head_start == "logistic" and not computed_once(config):
        raise InputError(
            "--head-start logistic: needs features that are computed once: not --augment without --views, --metadata, "
            "--model-arg attention or --no-cache-features"
        )
    if config.metadata and unsuited:
        raise InputError(
            f"--metadata {config.metadata}: not with {flag(unsuited[0])} {getattr(config, unsuited[0])}; leave out one "
            "of them"
        )


def columns_of(dataset: Dataset, config: TrainConfig) -> Preprocessing:
    """What `--metadata` names, as a model takes it, learnt from the training rows."""
    names = [name.strip() for name in config.metadata.split(",")]
    table = as_table(dataset, names)
    require_honest(dataset.rows("train", labelled=True), names)
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
        "prepared_size": prepared_size({}, dataset),
        "negative": dataset.negative,
        "norm": config.norm,
        "model_arg": config.model_arg,
        "input": "float32 (B, image_size, image_size, channels), raw pixels 0..255",
        "output": "logits float32 (B, classes)",
    }
    white = dataset.preparation.get("white")
    if white is not None:
        description["white"] = white
    if dataset.source == "dicom":
        options = dataset.preparation.get("options") or {}
        look = ("window", "slices", "neighbours", "mask_text")
        description["dicom"] = {name: options[name] for name in look if name in options}
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
    if family(config.model).takes_colour:
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
    return few_labels.plan(phases.plan(config, model), config)


def prepare(model: tf.keras.Model, phase: Phase) -> None:
    """Set which layers the phase trains."""
    phases.prepare(model, phase)


def gather(dataset: Dataset, config: TrainConfig, description: dict, folder: Path, progress) -> Material:
    """Decode both parts and settle order, weights and augmentation."""
    channels = description["channels"]
    material = data_material.gather(dataset, config, channels, folder, progress)
    if "metadata" in description:
        columns = Preprocessing.from_dict(description["metadata"])
        material.columns = columns.transform(dataset.rows("train", labelled=True))
        material.val_columns = columns.transform(dataset.rows("val", labelled=True))
    return material


def fitted(model: tf.keras.Model, phase: Phase, config: TrainConfig) -> tf.keras.Model:
    """What the phase fits: the model, its backbone, or its head where features are computed once."""
    if phase.name == few_labels.PRETRAIN:
        return frozen.extractor(model)
    return frozen.head(model) if _caches_features(phase, config) else model


def stage(model: tf.keras.Model, phase: Phase, material: Material, config: TrainConfig, listener) -> Stage:
    """What the phase fits and on what: the whole model on pixels, or the head on features computed once."""
    on = _on_features if _caches_features(phase, config) else _on_pixels
    supervised, views = on(model, phase, material, config, listener)
    if material.others is not None and config.adapt_method == "coral" and on is _on_pixels:
        return adaptation.with_coral(supervised, views, material, config)
    if phase.name == few_labels.PRETRAIN:
        return few_labels.pretraining(supervised, model, views, material, config)
    return few_labels.stage(supervised, phase, views, material, config, listener)


def _caches_features(phase: Phase, config: TrainConfig) -> bool:
    return phase.frozen_blocks is None and computed_once(config)


def computed_once(config: TrainConfig) -> bool:
    """Finite views of a wholly frozen backbone: its features are the same every time."""
    finite = config.augment == "none" or config.views > 0
    # Attention on the last maps is new, and trains before they are pooled; columns are no part of the features.
    fixed = config.model_arg.get("attention", "none") == "none" and not config.metadata
    return config.cache_features and fixed and finite


def _on_pixels(model: tf.keras.Model, phase: Phase, material: Material, config: TrainConfig, listener):
    """The stage of a model on pixels, and the views of its images."""
    if config.balance == "smote":
        material = data_material.with_made_images(material, config)
    strong = _strong(material, config, 0)

    def predict(model: tf.keras.Model, places: np.ndarray | None) -> np.ndarray:
        forward = frozen.forward_function(model)
        stream = batches(material.val, config.images_at_once)
        if places is not None:
            chosen = tf.data.Dataset.from_tensor_slices(places).batch(config.batch_size)
            stream = steady(chosen.map(lambda some: training_pixels(material.train, 0, some), 2).prefetch(2))
        return np.concatenate([forward(pixels).numpy() for pixels in stream])

    def weak(epoch, chosen):
        return training_pixels(material.train, epoch, chosen, material.augmentation)

    views = Views(weak, lambda epoch, chosen: training_pixels(material.train, epoch, chosen, strong), predict)
    common = (material.train, material.targets, material.order, config.batch_size)
    forward = frozen.forward_function(model)
    supervised = Stage(
        model=model,
        optimizer=phases.optimizer(config.optimizer, phase.learning_rate),
        loss=material.loss,
        batches=lambda epochs: training_batches(
            *common, epochs, material.sample_weights, material.augmentation, material.columns
        ),
        validate=lambda: _on_validation(forward, material, config.images_at_once),
        examples=len(material.targets),
        val_targets=material.val_targets,
        inputs=weak,
    )
    return supervised, views


def _on_validation(forward, material: Material, batch_size: int) -> np.ndarray:
    """Logits (N, classes)."""
    inputs_of_batches = with_columns(batches(material.val, batch_size), material.val_columns, batch_size)
    return np.concatenate([forward(*inputs).numpy() for inputs in inputs_of_batches])


def _on_features(model: tf.keras.Model, phase: Phase, material: Material, config: TrainConfig, listener):
    """The stage of a head on features computed once, and their views."""
    extract = frozen.forward_function(frozen.extractor(model))

    def computed(cache: PixelCache, augmentation: Augmentation | None = None, part: str = "train") -> list[np.ndarray]:
        key = frozen.features_key(config, part, augmentation)
        at_once = config.images_at_once
        return frozen.remembered(key, lambda: frozen.compute(extract, cache, at_once, augmentation, progress))

    def progress(done: int, total: int) -> None:
        listener.step("features", done, total)

    weak, val = computed(material.train, material.augmentation), computed(material.val, part="val")[0]
    strong = weak
    if config.paradigm in ("fixmatch", "mean-teacher"):
        strong = computed(material.train, _strong(material, config, config.views or _STRONG_VIEWS))
    if config.balance == "smote":
        material, weak = data_material.with_made_rows(material, weak, config.seed)

    def predict(model: tf.keras.Model, places: np.ndarray | None) -> np.ndarray:
        last = frozen.forward_function(model)
        if places is None:
            return last(tf.constant(val)).numpy()
        return np.mean([last(tf.constant(view[places])).numpy() for view in weak], axis=0)

    small = frozen.head(model)
    if config.head_start == "logistic" and phase.name == "head":
        plain = computed(material.train) if material.augmentation and config.balance != "smote" else []
        _start_at_regression(small, [*plain, *weak], material, config.head_penalty)
    last = frozen.forward_function(small)
    common = (material.targets, material.order, config.batch_size)
    inputs = frozen.inputs_of(weak)
    supervised = Stage(
        model=small,
        optimizer=phases.optimizer(config.optimizer, phase.learning_rate),
        loss=material.loss,
        batches=lambda epochs: frozen.feature_batches(weak, *common, epochs, material.sample_weights),
        validate=lambda: last(tf.constant(val)).numpy(),
        examples=len(material.targets),
        val_targets=material.val_targets,
        inputs=inputs,
    )
    return supervised, Views(inputs, frozen.inputs_of(strong), predict)


def _start_at_regression(head: tf.keras.Model, views: list[np.ndarray], material: Material, penalty: float) -> None:
    """`--head-start logistic`: the head's first weights, from the views of the labelled rows."""
    labelled = [view[: len(material.targets)] for view in views]
    start = logistic_head(labelled, material.targets, head.output_shape[-1], penalty, material.sample_weights)
    head.get_layer(LOGITS).set_weights(start)


def _strong(material: Material, config: TrainConfig, views: int) -> Augmentation | None:
    """Of the unlabelled images' second views."""
    if not config.is_semi_supervised:
        return None
    return data_material.augmentation(config, "strong", len(material.train), views)
