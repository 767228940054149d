"""A small clinic: columns of every type, one constant, one empty, missing values, a label that two columns tell."""

import numpy as np
import pandas as pd
import pytest

from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from synthetic.tables.training import one_thread

FEATURES = (
    Feature("age", "integer"),
    Feature("pressure", "continuous"),
    Feature("grade", "integer"),
    Feature("pain", "categorical"),
    Feature("stage", "ordinal", ("low", "middle", "high")),
    Feature("seen", "date"),
    Feature("device", "categorical"),
    Feature("never", "continuous"),
    Feature("note", "metadata"),
)

# What is public of them; the rows lie within.
BOUNDS = {"age": "0:120", "pressure": "50:250", "grade": "0:4", "seen": "2019-01-01:2024-12-31", "never": "0:9"}
CATEGORIES = {"pain": "none,typical,atypical", "device": "mark 1,mark 2"}
STATED = {"bound": BOUNDS, "categories": CATEGORIES}


def clinic(folder, patients: int = 80, seed: int = 0) -> Dataset:
    """A table Dataset on disk; a fifth of the patients have two rows."""
    random = np.random.default_rng(seed)
    patient = np.concatenate([np.arange(patients), np.arange(0, patients, 5)])
    n = len(patient)
    ill = random.random(patients)[patient] < 0.4
    pressure = np.round(120 + 20 * ill + random.normal(0, 8, n), 1)
    pressure[random.random(n) < 0.1] = np.nan
    pain = np.where(random.random(n) < np.where(ill, 0.8, 0.2), "typical", "none").astype(object)
    pain[random.random(n) < 0.1] = ""
    days = np.datetime64("2020-01-01") + random.integers(0, 900, n)
    split = np.where(np.arange(patients) % 5 == 4, "val", "train")
    split = np.where(np.arange(patients) % 10 == 3, "test", split)[patient]
    manifest = pd.DataFrame(
        {
            "row": [f"r{i}" for i in range(n)],
            "label": np.where(ill, "ill", "well"),
            "patient": [f"p{i}" for i in patient],
            "site": np.where(patient % 2, "north", "south"),
            "split": split,
            "age": random.integers(30, 80, n).astype(float),
            "pressure": pressure,
            "grade": random.integers(0, 3, n).astype(float),
            "pain": pain,
            "stage": random.choice(["low", "middle", "high"], n),
            "seen": days.astype(str),
            "device": "mark 2",
            "never": np.nan,
            "note": [f"secret of p{i}" for i in patient],
        }
    )
    dataset = Dataset(folder, "clinic", "binary", ("well", "ill"), manifest, features=FEATURES)
    dataset.save()
    return Dataset.load(folder)


@pytest.fixture(scope="session")
def small_clinic(tmp_path_factory) -> Dataset:
    return clinic(tmp_path_factory.mktemp("clinic"))


@pytest.fixture(scope="session", autouse=True)
def single_thread():
    """Threads of networks this small wait for each other longer than they work."""
    with one_thread():
        yield
