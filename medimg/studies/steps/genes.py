"""A table of gene expression, drawn: many columns, few patients, some genes tell the class; nobody exists in it."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.datasets import make_classification

from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.studies.steps import Inputs

# Of standardised expression, publicly known: wider than any gene comes.
_BOUND = (-8.0, 8.0)


def run(inputs: Inputs, folder: Path, options: dict) -> dict:
    """Draw a Dataset of `patients`, `genes` of which `informative` ones tell the class, by `seed`."""
    n, count = options["patients"], options["genes"]
    values, label = make_classification(
        n,
        count,
        n_informative=options["informative"],
        n_redundant=options["informative"],
        class_sep=1.5,
        random_state=options["seed"],
    )
    values = np.clip((values - values.mean(axis=0)) / values.std(axis=0), *_BOUND)
    names, people = [f"gene_{i:03d}" for i in range(count)], [f"p{i:04d}" for i in range(n)]
    parts = np.resize(["train"] * 7 + ["val"] * 1 + ["test"] * 2, n)
    head = {"row": people, "label": np.where(label, "case", "control"), "patient": people, "site": "", "split": parts}
    table = pd.concat([pd.DataFrame(head), pd.DataFrame(values, columns=names)], axis=1)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    features = tuple(Feature(name, "continuous", bound=_BOUND) for name in names)
    Dataset(folder, "genes-drawn", "binary", ("control", "case"), table, features=features).save()
    return {"rows": n}
