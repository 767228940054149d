"""Brightness, texture and shape of synthetic images beside real ones, and of two random halves of real ones.

A Fréchet distance is one number of features without names: it can't be told from it what is wrong, nor without other
real images what is much. Here every feature has a name, and its distance stands beside that of real images alone. The
distance is Kolmogorov and Smirnov's, the largest difference of two cumulative shares: 0 = alike, 1 = apart, in any
unit. Few images make it larger, so all draws have as many of each class.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from medimg.inspection.appearance import FEATURES, GROUPS, NAMES, measure
from synthetic.judge.rows import Subject

# Images of a part that are measured: one takes some milliseconds.
MOST_IMAGES = 400
# Deals of the real patients into halves.
DEALS = 40
# Images of a draw below which no distance says anything.
LEAST_IMAGES = 10


def of_images(subject: Subject, pictures, seed: int) -> dict:
    """Distances of named features.

    Args:
        subject: the rows.
        pictures: `synthetic.judge.pictures.Pictures`, of the same rows.
        seed: of the images that are measured and of the deals.

    Returns:
        As `compare`.
    """
    draw = np.random.default_rng([seed, 7])
    made = _some(len(subject.made), draw)
    real = _some(len(subject.train), draw), _some(len(subject.test), draw)
    rows = pd.concat([subject.train.iloc[real[0]], subject.test.iloc[real[1]]])
    pixels = np.concatenate([pictures.train[real[0]], pictures.test[real[1]]])
    return compare(
        measure(pictures.made[made]),
        subject.made["label"].to_numpy()[made],
        measure(pixels),
        rows["label"].to_numpy(),
        rows["patient"].to_numpy(),
        draw,
    )


def compare(
    made: np.ndarray,
    made_labels: Sequence[str],
    real: np.ndarray,
    labels: Sequence[str],
    patients: Sequence[str],
    draw: np.random.Generator,
) -> dict:
    """Deal real patients into halves, again and again, and hold both the other half and synthetic images against one.

    Args:
        made: float (N, len(NAMES)), features of synthetic images.
        made_labels: (N,), their labels.
        real: float (M, len(NAMES)).
        labels: (M,).
        patients: (M,), whose each is: both halves have whole patients.
        draw: of the deals.

    Returns:
        `images`: of each class alike in a draw, on average; `mean`, `groups` (of FEATURES) and `features` (of NAMES):
        `synthetic` and `real` mean distances, the latter of the two halves; of a feature also `high`, which one in
        twenty deals of real images goes beyond. Of fewer than LEAST_IMAGES `not_available`, a sentence.
    """
    made_labels, labels = np.asarray(made_labels), np.asarray(labels)
    _, patient_of = np.unique(np.asarray(patients), return_inverse=True)
    sizes, gaps = [], []
    for _ in range(DEALS):
        first = draw.permuted(np.arange(patient_of.max() + 1) % 2 == 0)[patient_of]
        parts = _alike(made_labels, labels, first, draw)
        sizes.append(len(parts[0]))
        if sizes[-1] < LEAST_IMAGES:
            return {"not_available": f"fewer than {LEAST_IMAGES} images, of classes alike, in half of the real ones"}
        half, other_half, synthetic_part = real[parts[0]], real[parts[1]], made[parts[2]]
        gaps.append([distances(half, synthetic_part), distances(half, other_half)])
    synthetic, halves = np.moveaxis(np.array(gaps), 1, 0)
    high = np.quantile(halves, 0.95, axis=0)

    def means(features) -> dict:
        return {"synthetic": float(synthetic[:, features].mean()), "real": float(halves[:, features].mean())}

    return {
        "images": float(np.mean(sizes)),
        "mean": means(slice(None)),
        "groups": {group: means(group == GROUPS) for group in FEATURES},
        "features": {name: {**means(i), "high": float(high[i])} for i, name in enumerate(NAMES)},
    }


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Kolmogorov-Smirnov statistics of the columns.

    Args:
        first: float (N, F).
        second: float (M, F).

    Returns:
        float (F,) in 0..1.
    """

    def shares(values: np.ndarray, at: np.ndarray) -> np.ndarray:
        return np.searchsorted(np.sort(values), at, side="right") / len(values)

    columns = zip(first.T, second.T, strict=True)
    return np.array([np.abs(shares(a, at) - shares(b, at)).max() for a, b in columns for at in [np.append(a, b)]])


def farthest(measures: dict) -> str:
    """The feature whose distance is farthest beyond that of halves of real images."""
    return max(measures["features"], key=lambda name: _beyond(measures["features"][name]))


def _beyond(feature: dict) -> float:
    return feature["synthetic"] - feature["real"]


def _some(count: int, draw: np.random.Generator) -> np.ndarray:
    return np.sort(draw.choice(count, min(count, MOST_IMAGES), replace=False))


def _alike(
    made_labels: np.ndarray, labels: np.ndarray, first: np.ndarray, draw: np.random.Generator
) -> tuple[np.ndarray, ...]:
    """Positions in one half, in the other and in the synthetic images, as many of each label: int (n,) each."""
    parts: tuple[list, ...] = ([], [], [])
    for label in np.unique(labels):
        candidates = [np.flatnonzero((labels == label) & half) for half in (first, ~first)]
        candidates.append(np.flatnonzero(made_labels == label))
        count = min(map(len, candidates))
        for part, positions in zip(parts, candidates, strict=True):
            part.extend(draw.choice(positions, count, replace=False))
    return tuple(np.array(part, int) for part in parts)
