"""Diversity: are the synthetic rows as different from each other as real ones, or did the generator collapse?"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from medimg.data import schema
from synthetic.judge.copies import TOLERANCE, root_mean_square, row_keys
from synthetic.judge.neighbours import nearest
from synthetic.judge.rows import Subject
from synthetic.judge.similarity import ms_ssim

PAIRS = 150  # of each class
MOST_CLASSES = 20

# From positions of pairs, int (P,) twice, to how different they are, float (P,), 0 = equal.
Different = Callable[[np.ndarray, np.ndarray], np.ndarray]


def within_classes(rows: pd.DataFrame, different: Different, seed: int) -> dict[str, np.ndarray]:
    """How different random pairs of the same class are: class -> float64 (PAIRS,), classes of a single row left out."""
    generator = np.random.default_rng(seed)
    labels = rows["label"].to_numpy()
    differences = {}
    for label in rows["label"].value_counts().index[:MOST_CLASSES]:
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            continue
        first = generator.integers(0, len(members), PAIRS)
        # Another one than the first, each equally likely.
        second = (first + generator.integers(1, len(members), PAIRS)) % len(members)
        differences[label] = np.asarray(different(members[first], members[second]), np.float64)
    return differences


def of_pixels(images: np.ndarray) -> Different:
    """1 - MS-SSIM of grey images, float (N, S, S)."""
    return lambda first, second: 1 - ms_ssim(images[first], images[second])


def of_points(points: np.ndarray) -> Different:
    """Euclidean distance of points, float (N, F)."""
    return lambda first, second: np.linalg.norm(points[first] - points[second], axis=1)


def spread(subject: Subject, pairs: dict[str, dict[str, np.ndarray]]) -> dict:
    """Mean difference within classes, each class counted as often as it is in train.

    Args:
        subject: for the classes' sizes.
        pairs: `made`, `train` and `test`, each of `within_classes`.

    Returns:
        `synthetic`, `real`, `held_out`: the means over the classes that made and train have pairs of; `ratio`:
        synthetic over real, near 0 after a collapse; `held_out_ratio`. None where no class has pairs.
    """
    shared = [label for label in pairs["train"] if label in pairs["made"]]
    weights = subject.train["label"].value_counts().reindex(shared).to_numpy(np.float64)

    def mean(part: str) -> float | None:
        present = [i for i, label in enumerate(shared) if label in pairs[part]]
        if not present:
            return None
        values = [pairs[part][shared[i]].mean() for i in present]
        return float(np.average(values, weights=weights[present]))

    result = {"synthetic": mean("made"), "real": mean("train"), "held_out": mean("test")}
    for name, part in (("ratio", "synthetic"), ("held_out_ratio", "held_out")):
        usable = result[part] is not None and result["real"]
        result[name] = result[part] / result["real"] if usable else None
    return result


def classes(subject: Subject) -> dict:
    """Rows of each class in train and in made; `missing`: classes that made lacks; `coverage`: share that it has."""
    counts = {
        name: rows["label"].str.split("|").explode().value_counts()
        for name, rows in (("real", subject.train), ("synthetic", subject.made))
    }
    names = [name for name in counts["real"].index if name]
    missing = [name for name in names if name not in counts["synthetic"].index]
    return {
        "counts": {name: {part: int(count.get(name, 0)) for part, count in counts.items()} for name in names},
        "missing": missing,
        "coverage": 1 - len(missing) / len(names),
    }


def categories(subject: Subject) -> float | None:
    """Share of the training rows' categories, over all columns, that synthetic rows have; None without categories."""
    total = covered = 0
    for feature in subject.real.inputs:
        if feature.type in ("categorical", "ordinal"):
            train = set(schema.as_text(subject.train[feature.name])) - {""}
            total += len(train)
            covered += len(train & set(schema.as_text(subject.made[feature.name])))
    return covered / total if total else None


def duplicate_rows(rows: pd.DataFrame, features) -> float:
    """Share of rows that repeat an earlier one in every input and the label."""
    return 1 - len(set(row_keys(rows, features))) / len(rows)


def duplicate_images(images: np.ndarray, points: np.ndarray) -> float:
    """Share of images that equal another one but for noise (`copies.TOLERANCE`).

    Args:
        images: float (N, S, S, C) in 0..255.
        points: float (N, F), features in which equal images are near.
    """
    itself = np.arange(len(images))
    closest = nearest(points, points, alien=(itself, itself))[1][:, 0]
    repeats = [root_mean_square(images[i], images[j]) <= TOLERANCE for i, j in enumerate(closest)]
    return float(np.mean(repeats))
