"""Sets of tiny images: class 'bright' is above mid-grey, class 'dark' below."""

import numpy as np
import pandas as pd
import pytest

from medimg.data.dataset import Dataset
from medimg.data.imaging import write_png

SIZE = 16


def make_set(root, labels, patients, splits, colour=False, task="binary") -> Dataset:
    random = np.random.default_rng(0)
    shape = (SIZE, SIZE, 3) if colour else (SIZE, SIZE)
    images = []
    for number, label in enumerate(labels):
        level = 190 if "bright" in label else 60
        pixels = np.clip(random.normal(level, 15, shape), 0, 255).astype(np.uint8)
        images.append(f"images/{number:04d}.png")
        write_png(root / images[-1], pixels)
    manifest = pd.DataFrame({"image": images, "label": labels, "patient": patients, "site": "", "split": splits})
    Dataset(root, "tiny", task, ("dark", "bright"), manifest).save()
    return Dataset.load(root)


@pytest.fixture(scope="session")
def two_classes(tmp_path_factory) -> Dataset:
    """48 images of 48 patients in train, a third bright; 8 in test whose files are gone."""
    labels = ["bright" if i % 3 == 0 else "dark" for i in range(56)]
    splits = ["train"] * 48 + ["test"] * 8
    dataset = make_set(tmp_path_factory.mktemp("tiny") / "data", labels, [f"p{i}" for i in range(56)], splits)
    # Whoever looks at another part than train fails.
    for path in dataset.paths(dataset.rows("test")):
        path.unlink()
    return dataset
