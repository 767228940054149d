"""Remedies for a rare class: the training part thinned to one positive for ten negatives; needs the real samples.

Validation and test stay as they are. The minority's patients are drawn by the seed that the training has too.
"""

import dataclasses
import os
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.few_labels import SEEDS, SETS
from benchmarks.material import table

RATIO, SPECIFICITY = 10, 0.9
REMEDIES = ("none", "class-weight", "weighted-sampling", "smote", "focal", "balanced-softmax")
METRICS = {
    "sensitivity": "sensitivity, threshold of specificity 0.9 on validation",
    "specificity": "specificity there, on test",
    "roc_sensitivity": "sensitivity at the test ROC's own specificity 0.9",
    "auroc": "AUROC",
}


def thinned(data, folder: Path, seed: int):
    """The Dataset with as many patients' positive images in train as one to ten negative ones allows."""
    rows = data.manifest
    rare = (rows["split"] == "train") & (rows["label"] == data.positive)
    most = int(((rows["split"] == "train") & ~rare).sum()) // RATIO
    patients = np.random.default_rng(seed).permutation(rows.loc[rare, "patient"].unique())
    images = rows[rare].groupby("patient").size().loc[patients].cumsum()
    kept = rows["patient"].isin(images.index[images <= most])
    folder.mkdir()
    shutil.copytree(data.root / "images", folder / "images", copy_function=os.link)
    found = dataclasses.replace(data, root=folder, manifest=rows[~rare | kept].reset_index(drop=True))
    found.save()
    return found


def measured(data, out: Path, options: dict) -> dict:
    """Of one training, on test; the threshold is the lowest with the specificity on validation."""
    from sklearn.metrics import roc_auc_score

    from medimg.config import TrainConfig
    from medimg.evaluation.answers import Answers
    from medimg.training.train import train

    run = train(data.root, out, TrainConfig(**options))
    answers = Answers(run.model(), run.description(), 32)

    def answered(split: str) -> tuple[np.ndarray, np.ndarray]:
        rows = data.rows(split)
        return data.targets(rows) == 1, answers(data, rows)[:, 1]

    (on_val, val), (truth, test) = answered("val"), answered("test")
    called = test > np.quantile(val[~on_val], SPECIFICITY, method="higher")
    own = test > np.quantile(test[~truth], SPECIFICITY, method="higher")
    return {
        "sensitivity": called[truth].mean(),
        "specificity": 1 - called[~truth].mean(),
        "roc_sensitivity": own[truth].mean(),
        "auroc": roc_auc_score(truth, test),
    }


def rows(name: str, folder: Path) -> list[list]:
    from medimg.studies.over_seeds import summary

    data, options, *_ = SETS[name](folder / "data")
    results = []
    for seed in range(SEEDS):
        few = thinned(data, folder / f"{seed}", seed)
        counts = few.rows("train")["label"].value_counts()
        for remedy in REMEDIES:
            found = measured(few, folder / f"{seed}-{remedy}", {**options, "seed": seed, "balance": remedy})
            results.append({"remedy": remedy, "seed": seed, **found})
            print(name, dict(counts), results[-1], file=sys.stderr, flush=True)
    lines = []
    for row in summary(pd.DataFrame(results), ["remedy"], list(METRICS), "none").to_dict("records"):
        gain = _text(row, "roc_sensitivity_less_none", "+") if row["remedy"] != "none" else ""
        lines.append([name, row["remedy"], *(_text(row, metric) for metric in METRICS), gain, row["seeds"]])
    return lines


def _text(row: dict, name: str, sign: str = "") -> str:
    return f"{row[name]:{sign}.3f} [{row[f'{name}_low']:{sign}.3f}, {row[f'{name}_high']:{sign}.3f}]"


if __name__ == "__main__":
    lines = []
    for name in sys.argv[1:] or ["kermany"]:
        with tempfile.TemporaryDirectory() as folder:
            lines += rows(name, Path(folder))
    table(["data", "remedy", *METRICS.values(), "the last sensitivity less none's", "seeds"], lines)
