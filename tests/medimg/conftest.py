"""Small Datasets made on the spot."""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from medimg.data.dataset import Dataset


def write_dataset(
    root: Path,
    n: int = 48,
    size: int = 32,
    task: str = "binary",
    classes=("dark", "bright"),
    seed: int = 0,
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


@pytest.fixture(scope="session")
def noise(tmp_path_factory) -> Dataset:
    """Binary, 48 RGB images of 32 px."""
    return write_dataset(tmp_path_factory.mktemp("noise") / "data")
