"""Real Datasets, and planted generators that fake them in one way each."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medimg.config import PhantomConfig, PrepareConfig
from medimg.dataset import Dataset
from medimg.imaging import read_image, write_png
from medimg.prepare import prepare


@pytest.fixture(scope="session")
def heart(medical_data, tmp_path_factory) -> Dataset:
    """Four hospitals' patients; val is kept for the generator that returns real patients."""
    root = tmp_path_factory.mktemp("judge") / "heart"
    return prepare("heart", medical_data / "heart_disease", root, PrepareConfig(split="45/30/25"))


@pytest.fixture(scope="session")
def films(tmp_path_factory) -> Dataset:
    """Phantom films of 32 px."""
    drawing = PhantomConfig(
        patients=300, images_per_patient=1, phantom_size=32, opacity_size=0.14, opacity_contrast=0.5
    )
    root = tmp_path_factory.mktemp("judge") / "films"
    return prepare("phantom", None, root, PrepareConfig(split="40/30/30"), drawing)


def as_synthetic(real: Dataset, rows: pd.DataFrame, root: Path, **preparation) -> Dataset:
    """Rows of a table as a synthetic Dataset."""
    rows = rows.reset_index(drop=True)
    names = [f"synthetic-{i}" for i in range(len(rows))]
    rows = rows.assign(row=names, patient=names, site="", split="train")
    root.mkdir(parents=True, exist_ok=True)
    preparation = {"synthetic": True, **preparation}
    dataclasses.replace(real, root=root, manifest=rows, preparation=preparation).save()
    return Dataset.load(root)


def as_synthetic_images(real: Dataset, rows: pd.DataFrame, root: Path, noise: float) -> Dataset:
    """Images of a Dataset with noise of `noise` grey levels as a synthetic Dataset."""
    generator = np.random.default_rng(0)
    images = []
    for number, path in enumerate(real.paths(rows)):
        image = read_image(path)
        noisy = np.clip(image + generator.normal(0, noise, image.shape), 0, 255).astype(np.uint8)
        write_png(root / "images" / f"{number}.png", noisy)
        images.append(f"images/{number}.png")
    manifest = pd.DataFrame({"image": images, "label": rows["label"].to_numpy()})
    manifest = manifest.assign(patient=manifest["image"], site="", split="train")
    dataclasses.replace(real, root=root, manifest=manifest, preparation={"synthetic": True}).save()
    return Dataset.load(root)
