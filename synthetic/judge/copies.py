"""Synthetic rows that are training rows, exactly or all but for noise."""

from collections.abc import Sequence

import cv2
import numpy as np
import pandas as pd
from scipy.stats import fisher_exact

from medimg.tables import schema
from synthetic.judge.neighbours import nearest
from synthetic.judge.subject import Subject

# Root mean squared difference of pixels, in grey levels of 255, below which two images are one: what saving as JPEG, or
# noise that no reader would notice, changes. Chest films of two patients differ by 20 and more.
TOLERANCE = 4.0
LISTED = 20
_SMALL = 16


def of_table(subject: Subject) -> dict:
    """Rows that equal a training row in every input and the label.

    Returns:
        As `_found`.
    """
    train = dict(zip(_keys(subject, subject.train), subject.train["row"], strict=True))
    pairs, held_out = [], 0
    for key, row in zip(_keys(subject, subject.made), subject.made["row"], strict=True):
        if key in train:
            pairs.append((row, train[key]))
    held_out = sum(key in train for key in _keys(subject, subject.test))
    return _found(pairs, len(subject.made), held_out, len(subject.test))


def of_images(subject: Subject, made: np.ndarray, train: np.ndarray, test: np.ndarray) -> dict:
    """Images that equal a training image, or its mirror image, within TOLERANCE.

    Args:
        subject: whose rows the images are.
        made, train, test: float32 (N, S, S, C) in 0..255.

    Returns:
        As `_found`, and `tolerance`.
    """
    closest = _closest_image(made, train)
    names = subject.train["image"].to_numpy()
    pairs = [
        (row, names[i])
        for row, i in zip(subject.made["image"], closest, strict=True)
        if i is not None
    ]
    held_out = sum(i is not None for i in _closest_image(test, train))
    return {
        **_found(pairs, len(made), held_out, len(test)),
        "tolerance": TOLERANCE,
    }


def _found(pairs: Sequence, n: int, held_out: int, n_held_out: int) -> dict:
    """Counts of copies beside how many held-out rows equal a training row.

    Returns:
        `count`, `rate`, `held_out_count`, `held_out_rate`, `p` (Fisher's exact test, one-sided: more copies than among
        held-out rows) and the first LISTED `pairs` of names.
    """
    table = [[len(pairs), n - len(pairs)], [held_out, n_held_out - held_out]]
    return {
        "count": len(pairs),
        "rate": len(pairs) / n,
        "held_out_count": held_out,
        "held_out_rate": held_out / n_held_out,
        "p": float(fisher_exact(table, alternative="greater")[1]),
        "pairs": [{"synthetic": str(a), "real": str(b)} for a, b in pairs[:LISTED]],
    }


def _keys(subject: Subject, rows: pd.DataFrame) -> list[tuple]:
    return list(row_keys(rows, subject.real.inputs))


def row_keys(rows: pd.DataFrame, features: Sequence[schema.Feature]) -> list[tuple]:
    """What identical rows share: every column as its shortest text, and the label; length N."""
    columns = [
        schema.as_text(rows[f.name].astype(np.float32) if f.is_number else rows[f.name])
        for f in features
    ]
    return list(zip(*columns, rows["label"], strict=True))


def _closest_image(images: np.ndarray, train: np.ndarray) -> list[int | None]:
    """Position of the training image that each image is a copy of, None for none."""
    small = _shrunk(train)
    found: list[int | None] = [None] * len(images)
    for mirrored in (False, True):
        seen = images[:, :, ::-1] if mirrored else images
        # Averages over areas differ by no more than the pixels, so a copy is near in small too.
        for i, j in enumerate(nearest(_shrunk(seen), small)[1][:, 0]):
            if found[i] is None and root_mean_square(seen[i], train[j]) <= TOLERANCE:
                found[i] = int(j)
    return found


def root_mean_square(first: np.ndarray, second: np.ndarray) -> float:
    """Of the difference of two images, in grey levels."""
    return float(np.sqrt(np.mean((first.astype(np.float64) - second) ** 2)))


def _shrunk(images: np.ndarray) -> np.ndarray:
    """float64 (N, 16 * 16 * C)."""
    size = (_SMALL, _SMALL)
    small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images]
    return np.asarray(small, np.float64).reshape(len(images), -1)
