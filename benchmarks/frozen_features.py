"""Seconds of an epoch of the head: features computed once against the plain path through the frozen backbone."""

import tempfile
from pathlib import Path

from benchmarks.material import phantom, table
from medimg.config import TrainConfig
from medimg.training.train import train


def epoch_seconds(dataset, out: Path, cached: bool, augment: str) -> float:
    config = TrainConfig(
        model="mobilenet_v2",
        model_arg={"alpha": "0.35"},
        image_size=96,
        freeze="backbone",
        epochs=4,
        patience=0,
        augment=augment,
        views=2,
        cache_features=cached,
    )
    history = train(dataset.root, out, config).history().iloc[1:]
    return float((history["seconds"] + history["val_seconds"]).median())


if __name__ == "__main__":
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        dataset = phantom(Path(folder) / "data", 1000, 96)
        for augment in ("none", "light"):
            plain = epoch_seconds(dataset, Path(folder) / f"plain-{augment}", False, augment)
            cached = epoch_seconds(dataset, Path(folder) / f"cached-{augment}", True, augment)
            rows.append([augment, plain, cached, plain / cached, ">= 10"])
    table(["augmentation (2 views)", "plain s/epoch", "cached s/epoch", "ratio", "promise"], rows)
