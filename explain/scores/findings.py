"""Where the findings of an image are, as a mask at the model's size, from a Dataset's boxes or masks."""

import numpy as np
import pandas as pd

from medimg.data.dataset import SEPARATOR, Dataset
from medimg.data.imaging import read_image
from medimg.errors import InputError

# For the names of an image's regions alone.
_ANY_SIZE = 8


def has_findings(dataset: Dataset) -> pd.Series:
    """Which rows of the manifest have a box or a mask."""
    manifest = dataset.manifest
    has = pd.Series(False, manifest.index)
    for column in ("mask", "x"):
        if column in manifest:
            has |= manifest[column] != ""
    return has


def regions(dataset: Dataset, row: pd.Series, size: int) -> dict[str, np.ndarray]:
    """Class name -> where its findings are.

    Args:
        dataset: of the row.
        row: a row of the manifest; boxes are in pixels of the stored image.
        size: the model's image size S.

    Returns:
        bool (S, S) per class; without `finding`, the class is the row's label.

    Raises:
        InputError: a box is not four numbers, or a mask can't be read.
    """
    if row.get("mask", ""):
        mask = read_image(dataset.root / row["mask"])
        mask = mask if mask.ndim == 2 else mask.max(axis=2)
        return {row["label"]: _scaled(mask > 0, size)} if mask.any() else {}
    if not row.get("x", ""):
        return {}
    height, width = read_image(dataset.root / row["image"]).shape[:2]
    masks: dict[str, np.ndarray] = {}
    names = row.get("finding", "").split(SEPARATOR)
    boxes = [str(row[column]).split(SEPARATOR) for column in ("x", "y", "width", "height")]
    try:
        for i, box in enumerate(zip(*boxes, strict=True)):
            x, y, w, h = (float(value) for value in box)
            name = names[i] if i < len(names) and names[i] else row["label"]
            region = masks.setdefault(name, np.zeros((size, size), bool))
            left, top = (int(np.floor(v)) for v in (x * size / width, y * size / height))
            right, bottom = (int(np.ceil(v)) for v in ((x + w) * size / width, (y + h) * size / height))
            region[max(0, top) : bottom, max(0, left) : right] = True
    except ValueError as error:
        raise InputError(f"{dataset.root}/manifest.csv: boxes of {row['image']} can't be read ({error})") from error
    return masks


def _scaled(mask: np.ndarray, size: int) -> np.ndarray:
    """A pixel belongs to the finding when the finding covers half of it; one too small for that keeps its centre."""
    import cv2

    share = cv2.resize(mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA)
    scaled = share >= 0.5
    return scaled if scaled.any() else share == share.max()


def localised(
    dataset: Dataset, split: str, classes: list[str], most: int, seed: int
) -> tuple[list[tuple[pd.Series, int, str]], dict[str, int]]:
    """Findings of a part that maps are held against, and those that are left out because the model has no such class.

    Args:
        dataset: with boxes or masks, or without.
        split: its part.
        classes: of the model.
        most: images, drawn by seed.
        seed: of that.

    Returns:
        (row, class index, region's name) of every finding; name -> number left out.
    """
    rows = dataset.manifest[has_findings(dataset) & (dataset.manifest["split"] == split)]
    rows = rows.sample(min(len(rows), most), random_state=seed)
    located: list[tuple[pd.Series, int, str]] = []
    left_out: dict[str, int] = {}
    for _, row in rows.iterrows():
        for name in sorted(regions(dataset, row, _ANY_SIZE)):
            if dataset.task == "binary":
                # A finding speaks for the positive class, also under a name of its own (`nodule` of `abnormal`).
                located.append((row, 1, name))
            elif name in classes:
                located.append((row, classes.index(name), name))
            else:
                left_out[name] = left_out.get(name, 0) + 1
    return located, left_out
