"""Learning from few labels: the stages of `--paradigm` other than supervised, for images.

Source of each paradigm: `medimg.learners`. Which labels are put away: `medimg.data.hidden_labels`.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.evaluation.prediction import probabilities
from medimg.learners.fixmatch import fixmatch
from medimg.learners.mean_teacher import mean_teacher
from medimg.learners.pseudo_labels import sure
from medimg.learners.simclr import contrastive
from medimg.listener import Listener
from medimg.pipeline.balance import epoch_order, going_round
from medimg.pipeline.batches import by_epoch
from medimg.training import features as frozen
from medimg.training.data import Material
from medimg.training.loop import Stage
from medimg.training.phases import Phase

PRETRAIN = "pretrain"
# Of a training, while a mean teacher's weight rises.
_RAMP = 0.25

Inputs = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Views:
    """How a phase sees its images: functions of (epoch, indices), tensors for use in a graph.

    Attributes:
        weak: as supervised training sees them.
        strong: strongly augmented.
        predict: model, places -> logits (N, classes) of these images; None places: of validation.
    """

    weak: Inputs
    strong: Inputs
    predict: Callable[[tf.keras.Model, np.ndarray | None], np.ndarray]


def check(dataset: Dataset, config: TrainConfig, listener: Listener) -> None:
    """Refuse a paradigm that the Dataset has nothing for; tell how many labels are used where not all are.

    Raises:
        InputError: names the option and the remedy.
    """
    if config.labelled_fraction < 1:
        labelled, everyone = (dataset.rows("train", labelled=one)["patient"].nunique() for one in (True, False))
        listener.note(f"labels of {labelled} of {everyone} training patients are used, all of validation and test")
    if not config.is_semi_supervised:
        return
    if config.balance in ("smote", "weighted-sampling"):
        raise InputError(f"--balance {config.balance}: not with --paradigm {config.paradigm}; use class-weight")
    if dataset.task == "multilabel" and config.paradigm in ("pseudo-label", "fixmatch"):
        raise InputError(f"--paradigm {config.paradigm}: is for one label an image; use mean-teacher or simclr")
    rows = dataset.rows("train")
    if config.paradigm != "simclr" and not (rows["label"] == "").any():
        raise InputError(
            f"--paradigm {config.paradigm}: no image of split 'train' is without a label; give --labelled-fraction, or "
            "prepare with unlabelled images"
        )


def plan(planned: list[Phase], config: TrainConfig) -> list[Phase]:
    """The phases with those of the paradigm: features first, or rounds of pseudo-labels afterwards."""
    if config.paradigm == "simclr":
        return [Phase(PRETRAIN, config.pretrain_epochs, 0, config.learning_rate), *planned]
    if config.paradigm != "pseudo-label":
        return planned
    rounds = range(1, config.pseudo_rounds + 1)
    later = [dataclasses.replace(p, name=f"{p.name} round {n}", round=n) for n in rounds for p in planned]
    return [*planned, *later]


def stage(stage: Stage, phase: Phase, views: Views, material: Material, config: TrainConfig, listener) -> Stage:
    """A supervised stage made one that learns from unlabelled images too.

    Args:
        stage: as without them.
        phase: what it is of.
        views: of all images, the labelled ones first.
        material: of the training.
        config: options.
        listener: is told how many pseudo-labels there are.
    """
    if config.paradigm == "pseudo-label" and phase.round:
        return _with_pseudo_labels(stage, phase, views, material, config, listener)
    if config.paradigm not in ("fixmatch", "mean-teacher"):
        return stage
    labelled = min(config.batch_size, len(material.targets))
    others = config.unlabelled_ratio * labelled
    steps = max(math.ceil(len(material.targets) / labelled), math.ceil(len(material.unlabelled) / others))
    if config.paradigm == "fixmatch":
        learner, teacher = fixmatch(stage.model, config.confidence, config.unlabelled_weight), None
    else:
        ramp = math.ceil(_RAMP * steps * phase.epochs)
        multilabel = material.targets.ndim == 2
        learner = mean_teacher(stage.model, config.unlabelled_weight, config.teacher_decay, ramp, multilabel)
        teacher = learner.state.model
    evaluated = teacher or stage.model
    return dataclasses.replace(
        stage,
        model=learner,
        kept=teacher,
        batches=lambda epochs: _paired(views, material, config.seed, (labelled, others, steps), epochs),
        validate=lambda: views.predict(evaluated, None),
        # As many as have the loop count `steps` batches.
        examples=steps * config.batch_size,
    )


def pretraining(stage: Stage, model: tf.keras.Model, views: Views, material: Material, config: TrainConfig) -> Stage:
    """Features of all training images without a label; a linear model on them says how good they are.

    Args:
        stage: supervised, of the same phase.
        model: whose backbone learns.
        views: of all images, the labelled ones first.
        material: of the training.
        config: options.
    """
    extractor = frozen.extractor(model)
    count = len(material.train)
    size = min(2 * config.batch_size, count)
    steps = count // size
    order = epoch_order(count, config.seed)

    def batches(epochs: tuple[int, int]):
        def rows(epoch):
            return order(epoch)[: steps * size].reshape(steps, size)

        def two_views(epoch, chosen):
            return (views.strong(2 * epoch, chosen), views.strong(2 * epoch + 1, chosen)), chosen

        return by_epoch(rows, (size,), two_views, epochs)

    def probe() -> np.ndarray:
        features = views.predict(extractor, np.arange(len(material.targets)))
        return _linear_probe(features, material.targets, views.predict(extractor, None), model.output_shape[-1])

    return dataclasses.replace(
        stage,
        model=contrastive(extractor, config.contrast_temperature),
        batches=batches,
        validate=probe,
        examples=steps * config.batch_size,
    )


def _with_pseudo_labels(stage, phase, views: Views, material: Material, config: TrainConfig, listener) -> Stage:
    chances = probabilities(views.predict(stage.model, material.unlabelled), "multiclass")
    shares = np.bincount(material.targets, minlength=chances.shape[1]) / len(material.targets)
    places, called = sure(chances, config.confidence, shares)
    listener.note(
        f"pseudo-labels, {phase.name}: {len(places)} of {len(chances)} unlabelled images have a class of probability "
        f"{config.confidence:g} or more"
    )
    rows = np.concatenate([np.arange(len(material.targets)), material.unlabelled[places]])
    weights = np.ones(len(rows), np.float32)
    if material.sample_weights is not None:
        # By class, as of the labelled ones.
        by_class = np.zeros(len(shares), np.float32)
        by_class[material.targets] = material.sample_weights
        weights = by_class[np.concatenate([material.targets, called])]
    weights[len(material.targets) :] *= config.unlabelled_weight
    targets = tf.constant(np.concatenate([material.targets, called]))
    order, all_rows, all_weights = epoch_order(len(rows), config.seed), tf.constant(rows), tf.constant(weights)

    def fetch(epoch, chosen):
        pixels = views.weak(epoch, tf.gather(all_rows, chosen))
        return pixels, tf.gather(targets, chosen), tf.gather(all_weights, chosen)

    def batches(epochs: tuple[int, int]):
        return by_epoch(order, (), fetch, epochs, config.batch_size)

    return dataclasses.replace(stage, batches=batches, examples=len(rows))


def _paired(views: Views, material: Material, seed: int, sizes: tuple[int, int, int], epochs: tuple[int, int]):
    """tf.data of ((labelled, weak, strong), targets[, sample weights]), so many steps an epoch.

    The labelled images go round as often as an epoch needs, each time in another order and view.
    """
    labelled, others, steps = sizes
    count = len(material.unlabelled)
    labelled_rows = going_round(material.order, len(material.targets), steps * labelled)
    rest = going_round(epoch_order(count, seed + 1), count, steps * others)

    def rows(epoch):
        unlabelled = material.unlabelled[rest(epoch)].reshape(steps, others)
        return np.concatenate([labelled_rows(epoch).reshape(steps, labelled), unlabelled], axis=1)

    targets = tf.constant(material.targets)
    weights = None if material.sample_weights is None else tf.constant(material.sample_weights, tf.float32)

    def fetch(epoch, chosen):
        of_labelled, unlabelled = chosen[:labelled], chosen[labelled:]
        batch = (
            (views.weak(epoch, of_labelled), views.weak(epoch, unlabelled), views.strong(epoch, unlabelled)),
            tf.gather(targets, of_labelled),
        )
        return batch if weights is None else (*batch, tf.gather(weights, of_labelled))

    return by_epoch(rows, (labelled + others,), fetch, epochs)


def _linear_probe(features: np.ndarray, targets: np.ndarray, others: np.ndarray, classes: int) -> np.ndarray:
    """Logits (N, classes) of a logistic regression from features (M, F) and their targets, for others (N, F)."""
    mean, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    features, others = (features - mean) / spread, (others - mean) / spread
    if targets.ndim == 2:
        return np.stack([_odds(features, targets[:, k] > 0.5, others) for k in range(classes)], axis=1)
    if classes == 2:
        odds = _odds(features, targets == 1, others)
        return np.stack([np.zeros_like(odds), odds], axis=1)
    logits = np.full((len(others), classes), -1e3)
    fitted = LogisticRegression(C=0.1, max_iter=500).fit(features, targets)
    logits[:, fitted.classes_] = fitted.decision_function(others).reshape(len(others), -1)
    return logits


def _odds(features: np.ndarray, truth: np.ndarray, others: np.ndarray) -> np.ndarray:
    if truth.all() or not truth.any():
        return np.full(len(others), 10.0 if truth.all() else -10.0)
    return LogisticRegression(C=0.1, max_iter=500).fit(features, truth).decision_function(others)
