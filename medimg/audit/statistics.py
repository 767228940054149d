"""What is known of a patient without any model: statistics of images, columns of a table, labels, sites."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from medimg.audit.members import AuditSubject
from medimg.config import TrainConfig
from medimg.data.dataset import SEPARATOR, Dataset
from medimg.data.imaging import read_image
from medimg.data.resizing import resize

# An image's coarse look.
THUMBNAIL = 8
QUANTILES = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98)
# Levels of a sharpness pyramid: energy at one, two and four pixels tells scanners and compression apart.
_SCALES = 3
# Pixels on a side at which an image's sharpness is measured; larger ones are cut, not resized.
_MOST_SIDE = 512


@dataclass(frozen=True, eq=False)
class PatientStatistics:
    """One row a patient.

    Attributes:
        member: bool (P,).
        content: float (P, F): mean over rows of what a row holds, number of rows, and labels.
        labels: float (P, K), share of the patient's rows with each label.
        sites: float (P, S), share with each site.
        rows: float (P, 1), number of the patient's rows: a split that deals the large patients first differs in it.
    """

    member: np.ndarray
    content: np.ndarray
    labels: np.ndarray
    sites: np.ndarray
    rows: np.ndarray


def per_patient(subject: AuditSubject) -> PatientStatistics:
    """Statistics of the members' and non-members' patients.

    Raises:
        InputError: a file is missing or broken.
    """
    rows = subject.rows
    names, first, where = np.unique(subject.patients, return_index=True, return_inverse=True)
    size = np.bincount(where)

    def mean(values: np.ndarray) -> np.ndarray:
        sums = np.zeros((len(names), values.shape[1]))
        np.add.at(sums, where, values)
        return sums / size[:, None]

    # A label of a multilabel set is a set; its parts say the same in fewer columns.
    several = subject.dataset.task == "multilabel"
    labels = mean(_indicators(rows["label"].str.split(SEPARATOR) if several else rows["label"]))
    sites = mean(_indicators(rows["site"]))
    content = np.column_stack([mean(_of_rows(subject.dataset, rows)), size, labels])
    return PatientStatistics(subject.member[first], content, labels, sites, 1.0 * size[:, None])


def _of_rows(dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """float (N, F)."""
    if not dataset.is_table:
        return np.array([of_image(read_image(path)) for path in dataset.paths(rows)])
    from medimg.tables.fit import fit

    # Of members and non-members together: what is learnt favours neither.
    return fit(dataset, rows, TrainConfig(encode="ordinal")).transform(rows)


def of_image(image: np.ndarray) -> np.ndarray:
    """Size, colours, quantiles, sharpness at three scales, border and an 8 x 8 thumbnail of one image.

    Args:
        image: uint8 or uint16, (H, W) or (H, W, 3).

    Returns:
        float64 (F,).
    """
    full = np.iinfo(image.dtype).max
    colours = 1 if image.ndim == 2 else 3
    colour = np.atleast_3d(image).astype(np.float32) / full
    grey = colour.mean(axis=2)
    means = np.broadcast_to(colour.mean(axis=(0, 1)), 3)
    spreads = np.broadcast_to(colour.std(axis=(0, 1)), 3)
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return np.concatenate(
        [
            [*image.shape[:2], image.shape[1] / image.shape[0], colours, full],
            means,
            spreads,
            np.quantile(grey, QUANTILES),
            [border.mean(), border.std(), (grey == 0).mean(), (grey == 1).mean()],
            list(_sharpness(grey)),
            resize((grey * 65535).astype(np.uint16), THUMBNAIL).ravel() / 65535,
        ]
    )


def _sharpness(grey: np.ndarray) -> Iterable[float]:
    """Mean absolute difference of neighbours, across and down, at each scale."""
    grey = np.ascontiguousarray(grey[:_MOST_SIDE, :_MOST_SIDE])
    for _ in range(_SCALES):
        for axis in (0, 1):
            steps = np.abs(np.diff(grey, axis=axis))
            yield float(steps.mean()) if steps.size else 0.0
        half = [max(1, side // 2) for side in grey.shape]
        grey = cv2.resize(grey, half[::-1], interpolation=cv2.INTER_AREA)


def _indicators(values: pd.Series) -> np.ndarray:
    """float (N, K): which of all values each row has, a list of them or one."""
    exploded = values.reset_index(drop=True).explode()
    return pd.crosstab(exploded.index, exploded).to_numpy(float)
