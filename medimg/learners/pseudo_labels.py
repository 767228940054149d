"""Pseudo-labels (Lee 2013): classes that a model is sure of become labels of unlabelled images."""

import numpy as np


def sure(probabilities: np.ndarray, confidence: float, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which images get a label, and which.

    No class gets a larger share of the labels than it has of the labelled images, else a model's favourite class grows
    from round to round; of a class that has too many the surest stay.

    Args:
        probabilities: (N, classes).
        confidence: least probability.
        shares: (classes,), of the labelled images; sum to 1.

    Returns:
        int64 places, ascending, and int64 classes of these.
    """
    called, best = probabilities.argmax(axis=1), probabilities.max(axis=1)
    candidates = np.flatnonzero(best >= confidence)
    surest = []
    for name, share in enumerate(shares):
        of_class = candidates[called[candidates] == name]
        most = int(np.ceil(share * len(candidates)))
        surest.append(of_class[np.argsort(-best[of_class], kind="stable")[:most]])
    places = np.sort(np.concatenate(surest)) if surest else np.zeros(0, np.int64)
    return places.astype(np.int64), called[places].astype(np.int64)
