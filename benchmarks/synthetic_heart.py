"""Synthetic patients of one hospital, five folds: classifiers trained on them beside the same trained on real patients.

Every generator sees its fold's training patients alone; every classifier is tested on the fold's real patients. AUROC
is the mean of logistic regression, random forest and gradient boosting. `SEEDS=3` repeats all with other seeds;
`CLIENTS=5` adds generators trained across as many clients.
"""

import os
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from benchmarks.material import table
from medimg.config import PrepareConfig, TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.folds import in_fold
from medimg.preparation.prepare import prepare
from medimg.tables.fit import fit
from medimg.tables.sklearn_models import fit_baseline
from synthetic.config import SynthesizeConfig
from synthetic.synthesize import synthesize
from synthetic.tables import columns, frames
from synthetic.tables.training import one_thread

DATA = Path(os.environ.get("MEDIMG_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
FILE = DATA / "heart_disease" / "processed.cleveland.data"
FOLDS = 5
COUNT = 500
SEEDS = int(os.environ.get("SEEDS", "1"))
CLIENTS = int(os.environ.get("CLIENTS", "0"))
# What a private generator may know: ranges that any adult's heart is in, and the codes of the documentation.
STATED = {
    "bound": {
        "age": "20:90",
        "trestbps": "80:220",
        "chol": "100:600",
        "thalach": "60:220",
        "oldpeak": "0:7",
        "ca": "0:3",
    },
    "categories": {"sex": "0,1", "cp": "1,2,3,4", "fbs": "0,1", "restecg": "0,1,2", "exang": "0,1", "thal": "3,6,7"},
}
CLASSIFIERS = ("logistic-regression", "random-forest", "gradient-boosting")
RUNS = [
    ("CTGAN", {"model": "ctgan"}),
    ("TVAE", {"model": "tvae"}),
    ("marginals", {"model": "marginals"}),
    *(
        (f"{name}, epsilon {epsilon:g}", {"model": model, "dp_epsilon": epsilon, "dp_seed": 1, **STATED})
        for name, model in (("CTGAN", "ctgan"), ("TVAE", "tvae"), ("marginals", "marginals"))
        for epsilon in (10.0, 3.0, 1.0)
    ),
]
if CLIENTS:
    ACROSS = {"partition": "iid", "clients": CLIENTS}
    NAMES = {"ctgan": "CTGAN", "tvae": "TVAE", "marginals": "marginals"}
    RUNS += [(f"{n}, {CLIENTS} clients", {"model": m, **ACROSS}) for m, n in NAMES.items()]


def tested(part: Dataset, training: pd.DataFrame, seed: int) -> list[float]:
    """AUROC of each classifier on the fold's real patients."""
    learning, test = replace(part, manifest=training), part.rows("test")
    preprocessing = fit(learning, training, TrainConfig())
    targets = part.targets(test)
    return [
        roc_auc_score(targets, fit_baseline(name, learning, training, preprocessing, seed)(test)[:, 1])
        for name in CLASSIFIERS
    ]


def library(part: Dataset, model: str, seed: int) -> pd.DataFrame:
    """Rows by the ctgan library with its own defaults, the label a column like any other."""
    from ctgan import CTGAN, TVAE

    rows = part.rows("train", labelled=True)
    encoding = columns.learn(rows, part.inputs, {})
    frame = frames.to_frame(rows, encoding, np.random.default_rng(seed))
    frame["label"] = rows["label"].to_numpy()
    generator = {"ctgan": CTGAN, "tvae": TVAE}[model](enable_gpu=False)
    generator.set_random_state(seed)
    with one_thread():
        generator.fit(frame, frames.discrete(frame))
        samples = generator.sample(COUNT)
    return frames.from_frame(samples, encoding, COUNT).assign(label=samples["label"].to_numpy())


def folds(dataset: Dataset, root: Path):
    """Each fold as a Dataset on disk, as a user would have it."""
    for fold in range(1, FOLDS + 1):
        part = replace(in_fold(dataset, FOLDS, fold, 0), root=root / f"fold-{fold}")
        part.root.mkdir()
        part.save()
        yield part


def main() -> None:
    warnings.simplefilter("ignore")
    scores: dict[str, list] = {}
    seconds: dict[str, list] = {}

    def note(name: str, part: Dataset, rows: pd.DataFrame, seed: int, took: float) -> None:
        scores.setdefault(name, []).append(tested(part, rows, seed))
        seconds.setdefault(name, []).append(took)

    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        dataset = prepare("heart", FILE, root / "data", PrepareConfig())
        for part in folds(dataset, root):
            for seed in range(SEEDS):
                note("real patients", part, part.rows("train", labelled=True), seed, 0.0)
                for label in ("ctgan", "tvae"):
                    start = time.perf_counter()
                    rows = library(part, label, seed)
                    took = time.perf_counter() - start
                    note(f"library defaults, {label.upper()}", part, rows, seed, took)
                for label, options in RUNS:
                    start = time.perf_counter()
                    out = part.root / f"{label}-{seed}"
                    config = SynthesizeConfig(count=COUNT, seed=seed, **options)
                    synthetic = Dataset.load(synthesize(part.root, out, config))
                    note(label, part, synthetic.rows("train"), seed, time.perf_counter() - start)
    real = np.mean(scores["real patients"])
    rows = []
    for label, aurocs in scores.items():
        by_classifier = [f"{value:.3f}" for value in np.mean(aurocs, axis=0)]
        gap = f"{np.mean(aurocs) - real:+.3f}"
        rows.append([label, f"{np.mean(aurocs):.3f}", gap, *by_classifier, f"{np.max(seconds[label]):.0f}"])
    table(["trained on", "AUROC", "against real", *CLASSIFIERS, "seconds a fold, most"], rows)


if __name__ == "__main__":
    main()
