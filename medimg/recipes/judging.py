"""A candidate judged: what it says of validation, and of rows that threshold and calibration are fitted to."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.parts import parts_of
from medimg.evaluation.answers import Answers
from medimg.evaluation.calibrator import activation
from medimg.listener import Listener
from medimg.pipeline.augmentation import STRENGTHS, Augmentation
from medimg.pipeline.balance import class_weights
from medimg.recipes.hard_validation import Score, Truth, pixels_of, score, seen_otherwise
from medimg.recipes.plan import PlannedModel
from medimg.recipes.probes import out_of_fold, penalty_for
from medimg.run import Run
from medimg.training.features import extractor, features_key, forward_function
from medimg.training.train import train_or_go_on

# Folds of a table, whose validation part alone is small.
FOLDS = 5
_LEAST = 1e-12


@dataclass(frozen=True, eq=False)
class Tried:
    """A candidate that was trained.

    Attributes:
        candidate: what it is.
        run: its Run.
        score: on validation.
        val: logits (N, classes) of validation rows, as they are and in a view of each kind.
        val_truth: what is true of them.
        pool: the same of rows that were kept apart from what answers of them.
        pool_truth: what is true of these.
        pool_words: which rows they are.
        name: in the Run's folder.
        seconds: that it took.
    """

    candidate: PlannedModel
    run: Run
    score: Score
    val: list[np.ndarray]
    val_truth: Truth
    pool: list[np.ndarray]
    pool_truth: Truth
    pool_words: str
    name: str = ""
    seconds: float = 0.0

    def to_dict(self, chosen: bool) -> dict:
        """For recipe.json."""
        return {
            "name": self.name,
            "options": self.candidate.options,
            "reason": self.candidate.reason,
            "predicted_seconds": None if math.isnan(self.candidate.seconds) else round(self.candidate.seconds),
            "seconds": round(self.seconds, 1),
            "validation": dataclasses.asdict(self.score),
            "chosen": chosen,
        }


def judged(
    candidate: PlannedModel,
    run: Run,
    learn: Dataset,
    seed: int,
    features: dict,
    fitted: Callable[[PlannedModel, Run], Run],
    listener: Listener,
) -> Tried:
    """Judge a trained candidate.

    Args:
        candidate: it.
        run: its Run.
        learn: the Dataset without its test part.
        seed: of folds and views.
        features: what the training has computed (`medimg.training.features.remembering`).
        fitted: trains it anew with options that are settled here.
        listener: is told of progress.
    """
    if learn.is_table:
        return _table(candidate, run, learn, seed, listener)
    config = candidate.config(seed).resolved(learn.unit)
    rows = learn.rows("val", labelled=True)
    description, model = run.description(calibrated=False), run.model()
    cache = pixels_of(learn, rows, config, description["channels"])
    truth = Truth(learn.task, learn.targets(rows), len(learn.classes))
    if not candidate.is_probe:
        views = seen_otherwise(forward_function(model), cache, seed, config.batch_size)
        return Tried(candidate, run, score(views, truth), views, truth, views, truth, "validation")
    if not _remembered(config, features):
        # Resumed: the features of a training that had ended are gone.
        run = fitted(candidate, run)
    plain, views_of_training = (features[key] for key in _keys(config))
    train = [*plain, *views_of_training]
    val = seen_otherwise(forward_function(extractor(model)), cache, seed, config.batch_size)
    labelled = learn.rows("train", labelled=True)
    of_training = Truth(learn.task, learn.targets(labelled), len(learn.classes))
    penalty, reached, views = penalty_for(train, of_training, _weights(of_training, config.balance), val, truth)
    if penalty != config.head_penalty:
        candidate = dataclasses.replace(candidate, options={**candidate.options, "head_penalty": penalty})
        run = fitted(candidate, run)
    everyone = [np.concatenate(both) for both in zip(train, val, strict=True)]
    whole = Truth(learn.task, np.concatenate([of_training.targets, truth.targets]), len(learn.classes))
    patients = np.concatenate([labelled["patient"], rows["patient"]]).astype(str)
    pool = out_of_fold(everyone, whole, _weights(whole, config.balance), patients, penalty, seed)
    words = "training and validation rows, each by folds without its patient and without its kind of view"
    return Tried(candidate, run, reached, views, truth, pool, whole, words)


def _keys(config: TrainConfig) -> list[tuple]:
    views = Augmentation(STRENGTHS[config.augment], np.zeros(0, np.uint64), config.views)
    return [features_key(config, "train", None), features_key(config, "train", views)]


def _remembered(config: TrainConfig, features: dict) -> bool:
    return all(key in features for key in _keys(config))


def _weights(truth: Truth, balance: str) -> np.ndarray | None:
    if balance != "class-weight" or truth.targets.ndim == 2:
        return None
    return class_weights(truth.targets, truth.classes)[truth.targets]


def _table(candidate: PlannedModel, run: Run, learn: Dataset, seed: int, listener: Listener) -> Tried:
    """By folds over all rows that may be learnt from: a table trains in seconds, and its validation part is small."""
    logits, targets = [], []
    for fold in range(1, FOLDS + 1):
        config = dataclasses.replace(candidate.config(seed).resolved(learn.unit), folds=FOLDS, fold=fold)
        one = train_or_go_on(learn, run.root / "folds" / f"{fold}", config.with_given_names(()), listener)
        part = parts_of(learn, config.to_dict())
        rows = part.rows("test", labelled=True)
        logits.append(Answers(one.model(), one.description(calibrated=False), config.batch_size).logits(part, rows))
        targets.append(part.targets(rows))
    pool = [np.concatenate(logits)]
    truth = Truth(learn.task, np.concatenate(targets), len(learn.classes))
    words = f"training and validation rows, each by {FOLDS} folds without its patient"
    return Tried(candidate, run, score(pool, truth), pool, truth, pool, truth, words)


def together(chosen: Sequence[Tried]) -> Tried:
    """What several say, voting."""
    first = chosen[0]
    if len(chosen) == 1:
        return first
    task = first.val_truth.task
    val = _mean([one.val for one in chosen], task)
    # Rows that all of them answer for: of networks these are the validation rows.
    same = all(one.pool_words == first.pool_words for one in chosen)
    pool = _mean([one.pool for one in chosen], task) if same else val
    truth, words = (first.pool_truth, first.pool_words) if same else (first.val_truth, "validation")
    return dataclasses.replace(
        first, score=score(val, first.val_truth), val=val, pool=pool, pool_truth=truth, pool_words=words
    )


def _mean(each: list[list[np.ndarray]], task: str) -> list[np.ndarray]:
    """Logits of the mean of probabilities, as `medimg.models.ensemble.SoftVote` has them."""
    logits = []
    for views in zip(*each, strict=True):
        chances = np.clip(np.mean([activation(view, task) for view in views], axis=0), _LEAST, 1 - _LEAST)
        logits.append(np.log(chances) - (np.log1p(-chances) if task == "multilabel" else 0.0))
    return logits
