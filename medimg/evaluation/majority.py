"""The floor of every comparison: always the commonest answer."""

import numpy as np

from medimg.evaluation.predictions import Predictions


def majority(task: str, classes: tuple[str, ...], targets: np.ndarray, reference: np.ndarray) -> Predictions:
    """Always the commonest answer of known rows, with the classes' shares there as probabilities.

    Of two classes that are equally common the positive one is called, as any probability at a threshold is.

    Args:
        task: `binary`, `multiclass` or `multilabel`.
        classes: C class names.
        targets: labels of the N rows that are answered, as of `Predictions`.
        reference: labels of the rows whose commonest answer it is, M > 0, likewise.
    """
    truth = Predictions(task, classes, reference, np.zeros((len(reference), len(classes)))).truth
    shares = np.tile(truth.mean(axis=0), (len(targets), 1))
    threshold = {"binary": 0.5, "multilabel": np.full(len(classes), 0.5)}.get(task)
    return Predictions(task, classes, targets, shares, threshold)
