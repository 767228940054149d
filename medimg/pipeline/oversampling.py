"""SMOTE (Chawla et al. 2002): examples of rare classes made between neighbours of one class, in training alone."""

import numpy as np

from medimg.errors import InputError

# Neighbours that one is drawn from, as the authors and imbalanced-learn have it.
_NEIGHBOURS = 5


def smote(rows: np.ndarray, targets: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Made examples until every class has as many as the largest.

    Args:
        rows: float32 (N, F), training examples.
        targets: int64 (N,).
        seed: of the draws.

    Returns:
        The made ones alone: float32 (M, F), and int64 (M,) their classes.

    Raises:
        InputError: a class has a single example.
    """
    from imblearn.over_sampling import SMOTE

    fewest = np.unique(targets, return_counts=True)[1].min()
    if fewest < 2:
        raise InputError("--balance smote: a class has one training example, and it needs two; use class-weight")
    sampler = SMOTE(random_state=seed, k_neighbors=min(_NEIGHBOURS, int(fewest) - 1))
    oversampled, classes = sampler.fit_resample(rows, targets)
    return oversampled[len(rows) :].astype(np.float32), classes[len(rows) :].astype(np.int64)
