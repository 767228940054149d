"""What the benchmarks share: phantom Datasets of a given size, class folders of them, and a table."""

import json
import os
from contextlib import suppress
from pathlib import Path

import pandas as pd

from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.phantom.config import PhantomConfig
from medimg.preparation.prepare import prepare


def phantom(folder: Path, images: int, size: int) -> Dataset:
    """A prepared phantom of one image a patient."""
    drawing = PhantomConfig(patients=images, images_per_patient=1, phantom_size=size)
    return prepare("phantom", None, folder, PrepareConfig(), drawing)


def class_folders(dataset: Dataset, folder: Path) -> Path:
    """The training part as Keras' image_dataset_from_directory wants it, by hard links."""
    rows = dataset.rows("train")
    for path, label in zip(dataset.paths(rows), rows["label"], strict=True):
        (folder / label).mkdir(parents=True, exist_ok=True)
        os.link(path, folder / label / path.name)
    return folder


def table(columns: list[str], rows: list[list]) -> None:
    """Print a Markdown table."""
    print("| " + " | ".join(columns) + " |")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("| " + " | ".join(f"{c:.3g}" if isinstance(c, float) else str(c) for c in row) + " |")


def rounds_done(run: Path) -> list[dict]:
    """Rows of history.csv of a federation that goes on, or has ended."""
    progress, history = run / "checkpoints" / "federated" / "progress.json", run / "history.csv"
    with suppress(FileNotFoundError):
        return json.loads(progress.read_text())["history"]
    return pd.read_csv(history).to_dict("records") if history.is_file() else []
