"""Probes out of fold: what regressions on frozen features say of patients and kinds of view that they have not seen.

Patients are in five folds. Images as they are, are judged by a regression of the other folds' images and all their
views; a kind of view by one that has seen no view of this kind: what threshold and calibration are fitted to is then as
far from the training as another hospital's machine may be.
"""

import warnings

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold

from medimg.recipes.hard_validation import KINDS, Score, Truth, score
from medimg.training.head_start import logistic_head

PENALTIES = (30.0, 100.0, 300.0)
_FOLDS = 5
# Regressions that judging a probe takes, of each label: a penalty or a fold, and a kind of view.
FITS = (len(PENALTIES) + _FOLDS) * len(KINDS)


def penalty_for(
    train: list[np.ndarray], truth: Truth, weights, val: list[np.ndarray], val_truth: Truth
) -> tuple[float, Score, list[np.ndarray]]:
    """The penalty that is best on validation, its score there, and the logits.

    Args:
        train: features (N, F) of the training rows, as they are and in a view of each kind.
        truth: theirs.
        weights: (N,) of the training rows, or None.
        val: features of the validation rows, likewise.
        val_truth: theirs.
    """
    fits = []
    for penalty in PENALTIES:
        views = [_left_out(train, truth, weights, kind, val[kind], penalty) for kind in range(len(val))]
        fits.append((score(views, val_truth), penalty, views))
    best = min(fits, key=lambda one: one[0].loss)
    return best[1], best[0], best[2]


def out_of_fold(
    views: list[np.ndarray], truth: Truth, weights, patients: np.ndarray, penalty: float, seed: int
) -> list[np.ndarray]:
    """Logits (N, classes) of rows as they are and in a view of each kind.

    Each is by a regression that has seen neither the patient nor the kind.
    """
    logits = [np.zeros((len(patients), truth.classes), np.float32) for _ in views]
    for fitted, tested in _folds(truth, patients, seed):
        part = Truth(truth.task, truth.targets[fitted], truth.classes)
        views_kept, weights_kept = [view[fitted] for view in views], None if weights is None else weights[fitted]
        for kind, view in enumerate(views):
            logits[kind][tested] = _left_out(views_kept, part, weights_kept, kind, view[tested], penalty)
    return logits


def _folds(truth: Truth, patients: np.ndarray, seed: int):
    count = min(_FOLDS, len(np.unique(patients)))
    if truth.targets.ndim == 2 or np.bincount(truth.targets).max() < count:
        return GroupKFold(count).split(patients, groups=patients)
    draw = StratifiedGroupKFold(count, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A class of fewer rows than folds is in some of them.
        warnings.simplefilter("ignore")
        return list(draw.split(patients, truth.targets, patients))


def _left_out(views: list[np.ndarray], truth: Truth, weights, kind: int, rows: np.ndarray, penalty: float):
    """Logits by a regression of all views but this kind; images as they are, are never left out."""
    fitted_views = [view for number, view in enumerate(views) if number == 0 or number != kind]
    kernel, bias = logistic_head(fitted_views, truth.targets, truth.classes, penalty, weights)
    return rows @ kernel + bias
