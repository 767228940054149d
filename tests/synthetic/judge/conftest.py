"""Real Datasets, and planted generators that fake them in one way each."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.data.imaging import read_image, write_png
from medimg.data.schema import Feature
from medimg.phantom.config import PhantomConfig
from medimg.preparation.prepare import prepare
from synthetic.judge.config import JudgeConfig
from synthetic.judge.judge import measures
from synthetic.judge.rows import load
from synthetic.judge.verdict import formal_guarantee, judge


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


def mixed_rows(n: int, seed: int) -> pd.DataFrame:
    """Patients of a simulated ward: twelve whole numbers of three causes, four categories, a tenth missing."""
    draw = np.random.default_rng(seed)
    cause = draw.normal(size=(n, 3))
    loads = np.random.default_rng(99).normal(size=(3, 12))
    spread = np.linspace(8, 60, 12)
    numbers = np.rint(200 + spread * (cause @ loads / 1.7 + draw.normal(0, 0.6, (n, 12))))
    rows = pd.DataFrame(numbers, columns=[f"lab{i}" for i in range(12)])
    rows = rows.mask(draw.random(rows.shape) < 0.1)
    for number, levels in enumerate((2, 3, 5, 8)):
        level = np.clip(levels / 2 + levels / 4 * cause[:, number % 3], 0, levels - 1)
        rows[f"kind{number}"] = np.array(list("abcdefgh"))[level.astype(int)]
    rows["kind3"] = rows["kind3"].mask(draw.random(n) < 0.1, "")
    rows["label"] = np.where(cause[:, 0] + draw.normal(0, 0.7, n) > 0, "ill", "well")
    return rows


def as_real(rows: pd.DataFrame, root: Path, parts: tuple[int, int, int]) -> Dataset:
    """Rows of `mixed_rows` as a Dataset whose first rows are train, the next val, the next test."""
    names = [f"patient-{i:05d}" for i in range(sum(parts))]
    rows = rows.iloc[: sum(parts)].assign(row=[f"record-{name}" for name in names], patient=names)
    rows = rows.assign(site="ward", split=np.repeat(["train", "val", "test"], parts))
    types = {
        name: "continuous" if name.startswith("lab") else "categorical"
        for name in rows
        if name != "label" and name.startswith(("lab", "kind"))
    }
    features = tuple(Feature(name, kind) for name, kind in types.items())
    root.mkdir(parents=True)
    Dataset(root, "ward", "binary", ("well", "ill"), rows, features=features).save()
    return Dataset.load(root)


def off_by_one(rows: pd.DataFrame, columns, seed: int) -> pd.DataFrame:
    """Rows with one more or one less in every one of these columns."""
    draw, rows = np.random.default_rng(seed), rows.copy()
    for name in columns:
        rows[name] = rows[name] + draw.choice([-1, 1], len(rows))
    return rows


def as_synthetic(real: Dataset, rows: pd.DataFrame, root: Path, **preparation) -> Dataset:
    """Rows of a table as a synthetic Dataset, of the columns that `medimg synthesize` makes."""
    columns = [feature.name for feature in real.inputs]
    rows = rows[[*columns, "label"]].reset_index(drop=True)
    names = [f"synthetic-{i}" for i in range(len(rows))]
    rows = rows.assign(row=names, patient=names, site="", split="train")
    root.mkdir(parents=True, exist_ok=True)
    preparation = {"synthetic": True, **preparation}
    told = {"features": real.inputs, "preparation": preparation}
    dataclasses.replace(real, root=root, manifest=rows, **told).save()
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


def verdict(real: Dataset, synthetic: Dataset, config: JudgeConfig) -> dict:
    """Measures and the verdict, without the report."""
    subject = load(synthetic.root, real.root)
    result, _ = measures(subject, config)
    return {**result, **judge(result, formal_guarantee(subject))}
