"""Fewer training rows: a share of the patients of each class, or so few of the positive class; all else stays."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from medimg.data.dataset import Dataset
from medimg.data.hidden_labels import hide
from medimg.studies.steps import Inputs


def run(inputs: Inputs, folder: Path, options: dict) -> dict:
    """Write the thinner Dataset.

    Args:
        inputs: the cell's.
        folder: of the new Dataset.
        options: `fraction` of the training patients of each class, or `negatives` to one positive row; `seed`.
    """
    dataset, seed = Dataset.load(inputs.data), options["seed"]
    rows = dataset.manifest
    if options.get("fraction", 1.0) < 1:
        hidden = hide(dataset, options["fraction"], seed).manifest
        rows = rows[(rows["split"] != "train") | (hidden["label"] != "")]
    if "negatives" in options:
        rows = rows[_rare(dataset, rows, options["negatives"], seed)]
    write(dataset, rows, folder)
    train = rows[rows["split"] == "train"]
    return {"rows": len(train), "classes": train["label"].value_counts().to_dict()}


def write(dataset: Dataset, rows: pd.DataFrame, folder: Path) -> None:
    """These rows as a Dataset, its images as links where the file system has them; made ones come in from elsewhere.

    Args:
        dataset: whose they are.
        rows: of a manifest; an absolute path of an image is of another Dataset.
        folder: replaced.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if not dataset.is_table:
        elsewhere = {path: f"images/made-{Path(path).name}" for path in rows["image"] if Path(path).is_absolute()}
        # Masks lie beside the images.
        for name in dict.fromkeys([*rows["image"], *rows.get("mask", ())]):
            if name:
                _linked(dataset.root / name, folder / elsewhere.get(name, name))
        rows = rows.assign(image=rows["image"].replace(elsewhere))
    replace(dataset, root=folder, manifest=rows.reset_index(drop=True)).save()


def _rare(dataset: Dataset, rows, negatives: float, seed: int) -> np.ndarray:
    """Whether a row stays: of the positive training patients so many, drawn by the seed, as the ratio allows."""
    rare = (rows["split"] == "train") & (rows["label"] == dataset.positive)
    most = max(1, int(((rows["split"] == "train") & ~rare).sum() / negatives))
    patients = np.random.default_rng(seed).permutation(rows.loc[rare, "patient"].unique())
    images = rows[rare].groupby("patient").size().loc[patients].cumsum()
    drawn_patients = images.index[images <= most] if (images <= most).any() else images.index[:1]
    return (~rare | rows["patient"].isin(drawn_patients)).to_numpy()


def _linked(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)
