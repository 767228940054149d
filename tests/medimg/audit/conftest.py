"""A table whose labels are noise, a model that learnt them by heart, its private twin, and one that learnt nothing."""

import numpy as np
import pandas as pd
import pytest

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.training.train import train

FEATURES = 12
OVERFITTED = TrainConfig(
    model="mlp",
    model_arg={"width": "128", "l2": "0"},
    dropout=0.0,
    epochs=40,
    patience=0,
    plateau_patience=0,
    learning_rate=3e-3,
    batch_size=32,
)


def write_noise_table(root, patients: int = 100, seed: int = 0) -> Dataset:
    """Two rows a patient, labels by coin, train and test drawn alike.

    Validation holds nearly the training rows' numbers again: the epoch that learnt most by heart is the one released.
    """
    draw = np.random.default_rng(seed)
    root.mkdir(parents=True)
    n = 2 * patients
    tables = {}
    for split in ("train", "test"):
        table = pd.DataFrame(draw.normal(size=(n, FEATURES)), columns=[f"x{i}" for i in range(12)])
        table["label"] = draw.choice(["ill", "well"], n)
        table["patient"] = [f"{split}{i // 2}" for i in range(n)]
        table["site"] = [f"s{i // 2 % 2}" for i in range(n)]
        tables[split] = table.assign(split=split)
    tables["val"] = tables["train"].assign(split="val")
    tables["val"]["patient"] = [f"val{i // 2}" for i in range(n)]
    numbers = [f"x{i}" for i in range(FEATURES)]
    # Equal rows would be copies of one patient in two parts.
    tables["val"][numbers] += draw.normal(0.0, 0.03, (n, FEATURES))
    manifest = pd.concat(tables.values(), ignore_index=True)
    manifest.insert(0, "row", [f"r{i}" for i in range(len(manifest))])
    features = tuple(Feature(f"x{i}", "continuous", bound=(-4.0, 4.0)) for i in range(FEATURES))
    Dataset(root, "coins", "binary", ("well", "ill"), manifest, features=features).save()
    return Dataset.load(root)


@pytest.fixture(scope="session")
def coins(tmp_path_factory) -> Dataset:
    """200 member rows of 100 patients, as many non-members."""
    return write_noise_table(tmp_path_factory.mktemp("coins") / "data")


@pytest.fixture(scope="session")
def overfitted(coins, tmp_path_factory):
    """Knows its training rows by heart."""
    return train(coins.root, tmp_path_factory.mktemp("runs") / "overfitted", OVERFITTED)
