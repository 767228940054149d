"""Small Datasets made on the spot."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from medimg.data.dataset import Dataset
from medimg.data.schema import Feature

# Columns of UCI's processed.cleveland.data and its likes.
HEART = [
    *("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg"),
    *("thalach", "exang", "oldpeak", "slope", "ca", "thal", "num"),
]


def write_dataset(
    root: Path, n: int = 48, size: int = 32, task: str = "binary", classes=("dark", "bright"), seed: int = 0
) -> Dataset:
    """Noise whose brightness tells its class; every image a patient of its own; parts 2:1:1."""
    draw = np.random.default_rng(seed)
    (root / "images").mkdir(parents=True)
    rows = []
    for i in range(n):
        label = i % len(classes)
        # The red channel tells the class, so colour is of use; green and blue are noise.
        image = draw.integers(0, 120, (size, size, 3), np.uint8)
        image[..., 0] += np.uint8(130 * label / (len(classes) - 1))
        cv2.imwrite(str(root / f"images/{i:04d}.png"), image[..., ::-1])
        split = ("train", "train", "val", "test")[(i // len(classes)) % 4]
        name = "|".join(classes[: label + 1]) if task == "multilabel" else classes[label]
        rows.append((f"images/{i:04d}.png", name, f"p{i}", f"s{i % 3}", split))
    manifest = pd.DataFrame(rows, columns=["image", "label", "patient", "site", "split"])
    dataset = Dataset(root=root, name="noise", task=task, classes=tuple(classes), manifest=manifest)
    dataset.save()
    return dataset


def write_table(root: Path, n: int = 160, seed: int = 0, missing: float = 0.1, stated: bool = True) -> Dataset:
    """A binary label that `age` and `pain` tell of; `noise` and `day` tell nothing; two rows a patient, three sites.

    What is publicly known of the columns is `stated`, so that private trainings take them.
    """
    draw = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    age = draw.normal(60, 10, n)
    pain = draw.choice(["none", "typical", "atypical"], n)
    logit = (age - 60) / 5 + np.where(pain == "typical", 2.0, -1.0)
    label = np.where(draw.random(n) < 1 / (1 + np.exp(-logit)), "disease", "healthy")
    patient = np.arange(n) // 2
    table = pd.DataFrame(
        {
            "row": [f"r{i}" for i in range(n)],
            "label": label,
            "patient": [f"p{i}" for i in patient],
            "site": [f"s{i % 3}" for i in patient],
            "split": np.array(["train", "train", "train", "val", "test"])[patient % 5],
            "age": np.where(draw.random(n) < missing, np.nan, age),
            "noise": draw.normal(0, 1, n),
            "visits": draw.integers(0, 9, n).astype(float),
            "pain": np.where(draw.random(n) < missing, "", pain),
            "stage": draw.choice(["I", "II", "III"], n),
            "day": [f"2020-{1 + i % 12:02d}-{1 + i % 28:02d}" for i in range(n)],
            "mrn": [f"m{i}" for i in range(n)],
        }
    )
    features = (
        Feature("age", "continuous", bound=(0.0, 120.0)),
        Feature("noise", "continuous", bound=(-5.0, 5.0)),
        Feature("visits", "integer", bound=(0.0, 10.0)),
        Feature("pain", "categorical", categories=("none", "typical", "atypical")),
        Feature("stage", "ordinal", ("I", "II", "III")),
        Feature("day", "date", bound=(17897.0, 18992.0)),
        Feature("mrn", "identifier"),
    )
    if not stated:
        features = tuple(Feature(f.name, f.type, f.order) for f in features)
    Dataset(
        root=root, name="small", task="binary", classes=("healthy", "disease"), manifest=table, features=features
    ).save()
    return Dataset.load(root)
