"""How many rows of each class are made."""

import numpy as np


def largest_remainder(weights: np.ndarray, count: int) -> np.ndarray:
    """Whole numbers in proportion to the weights that add up to `count` (Hamilton's method).

    A class of any weight gets a row where there are rows enough: a rare class is not to vanish by rounding.

    Args:
        weights: float (K,), not negative, not all zero.
        count: at least 1.

    Returns:
        int (K,).
    """
    weights = np.asarray(weights, float)
    exact = weights / weights.sum() * count
    whole = np.floor(exact).astype(int)
    # Stable, so that ties go to the first classes.
    order = np.argsort(-(exact - whole), kind="stable")
    whole[order[: count - whole.sum()]] += 1
    if count >= (weights > 0).sum():
        for absent in np.flatnonzero((weights > 0) & (whole == 0)):
            whole[absent] += 1
            whole[whole.argmax()] -= 1
    return whole


def votes(targets: np.ndarray, patients: np.ndarray, classes: int) -> np.ndarray:
    """Patients by class, one vote each, shared among the patient's rows: the L2 norm of a patient's part is at most 1.

    Args:
        targets: int (N,).
        patients: (N,), the patient of each row.
        classes: number of classes.

    Returns:
        float (classes,), before any noise.
    """
    _, owner, rows = np.unique(patients, return_inverse=True, return_counts=True)
    return np.bincount(targets, 1.0 / rows[owner], minlength=classes)
