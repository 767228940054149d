"""Scores of validation logits, as every way of training follows them."""

import numpy as np
from sklearn.metrics import roc_auc_score

from medimg.evaluation.prediction import probabilities


def accuracy(logits: np.ndarray, targets: np.ndarray) -> float:
    """Share of right rows; of a multilabel task of right labels.

    Args:
        logits: (N, classes).
        targets: int (N,) or (N, classes) of 0 and 1.
    """
    if targets.ndim == 2:
        return float(np.mean((logits > 0) == (targets > 0.5)))
    return float(np.mean(logits.argmax(axis=1) == targets))


def auroc(logits: np.ndarray, targets: np.ndarray, task: str) -> float:
    """Macro AUROC over the classes that have both outcomes; NaN when none has."""
    scores = probabilities(logits, task)
    if task == "binary":
        truth, scores = targets[:, None] == 1, scores[:, 1:]
    elif task == "multiclass":
        truth = targets[:, None] == np.arange(scores.shape[1])
    else:
        truth = targets > 0.5
    values = [roc_auc_score(t, s) for t, s in zip(truth.T, scores.T, strict=True) if t.min() != t.max()]
    return float(np.mean(values)) if values else float("nan")
