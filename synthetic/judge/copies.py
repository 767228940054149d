"""Synthetic rows that are training rows, exactly or all but for noise."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact

from medimg.data import schema
from synthetic.judge import thresholds as limits
from synthetic.judge.rows import Subject
from synthetic.judge.thumbnails import BLOCK, Thumbnails, pixels

# Root mean squared difference of pixels, in grey levels of 255, below which two images are one: what saving as JPEG, or
# noise that no reader would notice, changes. Chest films of two patients differ by 20 and more.
TOLERANCE = 4.0
LISTED = 20
_CELLS = 4_000_000  # of a block of distances: 16 MB of float32


def of_table(subject: Subject) -> dict:
    """Rows that equal a training row in every input and the label.

    Returns:
        As `counted`; `images` is False.
    """
    train = dict(zip(_keys(subject, subject.train), subject.train["row"], strict=True))
    pairs, held_out = [], 0
    for key, row in zip(_keys(subject, subject.made), subject.made["row"], strict=True):
        if key in train:
            pairs.append((row, train[key]))
    held_out = sum(key in train for key in _keys(subject, subject.test))
    return counted(pairs, len(subject.made), held_out, len(subject.test)) | {"images": False}


def of_images(subject: Subject, small: Thumbnails) -> dict:
    """Images that equal a training image, or its mirror image, within TOLERANCE.

    All images are compared, as thumbnails; pixels are decoded a block at a time.

    Args:
        subject: whose images are compared; nothing of it is left out.
        small: their thumbnails.

    Returns:
        As `counted`; `images` is True, and `tolerance`.

    Raises:
        InputError: an image can't be read.
    """
    form = (small.size, small.channels)
    train = (subject.real.paths(subject.train), small.train)
    closest = _closest_image((subject.synthetic.paths(subject.made), small.made[0]), train, form)
    test = (subject.real.paths(subject.test), small.held_out[0][small.is_test])
    of_held_out = _closest_image(test, train, form)
    names = subject.train["image"].to_numpy()
    pairs = [(row, names[i]) for row, i in zip(subject.made["image"], closest, strict=True) if i is not None]
    held_out = sum(i is not None for i in of_held_out)
    counts = counted(pairs, len(closest), held_out, len(of_held_out))
    return counts | {"images": True, "tolerance": TOLERANCE}


def counted(pairs: Sequence, n: int, held_out: int, n_held_out: int) -> dict:
    """Counts of copies beside how many held-out rows equal a training row.

    Args:
        pairs: names of a synthetic row and of the training row that it equals.
        n: synthetic rows.
        held_out: held-out rows that equal a training row.
        n_held_out: held-out rows.

    Returns:
        `count`, `rate`, `held_out_count`, `held_out_rate`, `coincidence` (the highest rate that the held-out rows
        explain: theirs and limits.ALLOWANCE standard errors of the difference; 0 where no held-out row is a copy), `p`
        (Fisher's exact test, one-sided: more copies than among held-out rows) and the first LISTED `pairs` of names.
    """
    expected = held_out / n_held_out
    error = (expected * (1 - expected) * (1 / n + 1 / n_held_out)) ** 0.5
    table = [[len(pairs), n - len(pairs)], [held_out, n_held_out - held_out]]
    return {
        "count": len(pairs),
        "rate": len(pairs) / n,
        "held_out_count": held_out,
        "held_out_rate": expected,
        "coincidence": expected + limits.ALLOWANCE * error,
        "p": float(fisher_exact(table, alternative="greater")[1]),
        "pairs": [{"synthetic": str(a), "real": str(b)} for a, b in pairs[:LISTED]],
    }


def _keys(subject: Subject, rows: pd.DataFrame) -> list[tuple]:
    return list(row_keys(rows, subject.real.inputs))


def row_keys(rows: pd.DataFrame, features: Sequence[schema.Feature]) -> list[tuple]:
    """What identical rows share: every column as its shortest text, and the label; length N."""
    columns = [schema.as_text(rows[f.name].astype(np.float32) if f.is_number else rows[f.name]) for f in features]
    return list(zip(*columns, rows["label"], strict=True))


def _closest_image(
    images: tuple[list[Path], np.ndarray], train: tuple[list[Path], np.ndarray], form: tuple
) -> list[int | None]:
    """Position of the training image that each image is a copy of, None for none.

    Args:
        images: files, and their thumbnails (N, T, T, C).
        train: the same of the training images.
        form: size and channels at which pixels are compared.
    """
    originals_of: list[int | None] = [None] * len(images[0])
    for mirrored in (False, True):
        small = images[1][:, :, ::-1] if mirrored else images[1]
        near = [(i, j) for i, j in _near(small, train[1]) if originals_of[i] is None]
        for start in range(0, len(near), BLOCK):
            some = near[start : start + BLOCK]
            copies = pixels([images[0][i] for i, _ in some], *form)
            originals = pixels([train[0][j] for _, j in some], *form)
            copies = copies[:, :, ::-1] if mirrored else copies
            for (i, j), copy, original in zip(some, copies, originals, strict=True):
                if root_mean_square(copy, original) <= TOLERANCE:
                    originals_of[i] = j
    return originals_of


def root_mean_square(first: np.ndarray, second: np.ndarray) -> float:
    """Of the difference of two images, in grey levels."""
    return float(np.sqrt(np.mean((first.astype(np.float64) - second) ** 2)))


def _near(queries: np.ndarray, candidates: np.ndarray) -> list[tuple[int, int]]:
    """Each query that may be a copy, with its nearest candidate; float32 (N, T, T, C) both.

    Averages over areas differ by no more than the pixels, so a copy is near in small too. The product of matrices
    loses digits, but only far fewer than TOLERANCE; the pixels decide.
    """
    middle = candidates.mean(axis=0)
    rows = (candidates - middle).reshape(len(candidates), -1)
    half = 0.5 * (rows**2).sum(axis=1)
    limit = 1.01 * rows.shape[1] * TOLERANCE**2
    size = max(1, _CELLS // len(rows))
    pairs = []
    for start in range(0, len(queries), size):
        part = (queries[start : start + size] - middle).reshape(-1, rows.shape[1])
        score = half - part @ rows.T
        closest = score.argmin(axis=1)
        squared = 2 * score[np.arange(len(part)), closest] + (part**2).sum(axis=1)
        pairs += [(start + i, int(closest[i])) for i in np.flatnonzero(squared <= limit)]
    return pairs
