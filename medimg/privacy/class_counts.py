"""How many patients each class has, with noise: one cheap release instead of exact counts of private rows."""

import numpy as np

from medimg.privacy.draws.noise_seed import Secret
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.statement import CLASS_COUNTS
from medimg.privacy.units import Units

# Some 20 patients more or less. A release of so little that it hardly shows in epsilon.
COUNT_NOISE = 20.0
COUNTING = Mechanism.shuffle(1, COUNT_NOISE)
# Fewer than so many patients, after the noise, are counted as so many: no class weighs more for being rare by chance.
_LEAST = COUNT_NOISE / 2


def noisy_class_counts(targets: np.ndarray, units: Units, secret: Secret) -> np.ndarray:
    """Patients of each class by the Gaussian mechanism, float64 (classes,), at least 0; its event is `COUNTING`.

    Args:
        targets: float (N, classes) of 0 and 1, one-hot or multi-hot; each patient counts with the sum of theirs,
            scaled to a norm of at most 1.
        units: of the rows.
        secret: of the training.
    """
    totals = np.add.reduceat(targets[units.rows], units.starts[:-1])
    totals = totals / np.maximum(np.linalg.norm(totals, axis=1, keepdims=True), 1.0)
    noise = secret.generator(CLASS_COUNTS).normal(0.0, COUNT_NOISE, targets.shape[1])
    return np.maximum(totals.sum(axis=0) + noise, 0.0)


def noisy_class_weights(counts: np.ndarray) -> np.ndarray:
    """Weights that give every class about the same total weight, from noisy counts: float32 (classes,)."""
    counts = np.maximum(counts, _LEAST)
    return (counts.sum() / (len(counts) * counts)).astype(np.float32)
