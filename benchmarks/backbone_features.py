"""Features of a frozen MobileNet 0.75 of the samples' training and validation rows, kept in $FEATURES (else made anew).

What rules of private and federated heads are fitted on: of test parts nothing is read.
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.few_labels import DATA
from benchmarks.recipes import MOBILENET
from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.models.build import build
from medimg.pipeline.batches import batches
from medimg.pipeline.pixels import PixelCache
from medimg.preparation.prepare import prepare
from medimg.training.features import extractor, forward_function

KERMANY = {"split": "official", "image_size": 160, "patient_pattern": r"(person\d+|(?:NORMAL2-)?IM-\d+)"}
OFFICIAL = {"split": "official", "on_duplicates": "drop"}
# Source, place below the samples, options of `medimg data prepare`, side for the backbone.
SETS = {
    "Kermany": ("folder", "kermany_chest_xray_224/chest_xray", KERMANY, 160),
    "PneumoniaMNIST": ("medmnist", "medmnist/pneumoniamnist.npz", {"on_duplicates": "drop"}, 96),
    "BreastMNIST": ("medmnist", "medmnist/breastmnist.npz", {"on_duplicates": "drop"}, 96),
    "brain MRI, 4 classes": ("folder", "brain_mri/brain_tumor_mri_4class", OFFICIAL, 128),
    "ISIC, 9 classes": ("isic", "isic_9class_180", OFFICIAL, 96),
}


@dataclass(frozen=True, eq=False)
class Features:
    """Of one set.

    Attributes:
        x: float32 (N, 768), pooled.
        y: int (N,).
        patients: str (N,).
        classes: how many.
    """

    x: np.ndarray
    y: np.ndarray
    patients: np.ndarray
    classes: int


def prepared(name: str, folder: Path) -> Dataset:
    """The set, prepared in a new folder."""
    source, place, options, _ = SETS[name]
    return prepare(source, str(DATA / place), folder, PrepareConfig(**options))


def features(name: str) -> Features:
    """Of the set's training and validation rows, as `--model-arg alpha=0.75 --freeze backbone` computes them."""
    kept = Path(os.environ.get("FEATURES", "")) / f"{name.split(',', maxsplit=1)[0].replace(' ', '-')}.npz"
    if "FEATURES" in os.environ and kept.is_file():
        with np.load(kept, allow_pickle=False) as file:
            return Features(file["x"], file["y"], file["patients"], int(file["classes"]))
    with tempfile.TemporaryDirectory() as folder:
        data = prepared(name, Path(folder) / "data")
        rows = data.rows(labelled=True)
        rows = rows[rows["split"] != "test"]
        side = SETS[name][3]
        model = build("mobilenet", side, 3, 2, MOBILENET["weights"], model_arg=MOBILENET["model_arg"])
        forward = forward_function(extractor(model))
        cache = PixelCache.build(data.paths(rows), side, 3, 2.0, Path(folder), "pixels")
        x = np.concatenate([forward(pixels).numpy() for pixels in batches(cache, 32)])
        computed = Features(x, data.targets(rows), rows["patient"].to_numpy(str), len(data.classes))
    if "FEATURES" in os.environ:
        np.savez(kept, **vars(computed))
    return computed
