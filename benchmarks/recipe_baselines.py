"""`medimg train DATA` and nothing else beside five plain baselines, on each set's own test part; needs the samples.

Of images: scikit-learn's logistic regression and random forest of 32 x 32 grey pixels, the baseline CNN at 64 px, heads
on frozen MobileNet 0.75 and MobileNetV2 0.35 at 160 px, all by the defaults of `medimg train --help`. Of tables:
scikit-learn's logistic regression, random forest and gradient boosting, and medimg's logistic and mlp. The COVID-19
films, all of one class, stand beside Kermany's films of native size.

`python -m benchmarks.recipe_baselines [isic|brain|pocus|covid|heart ...]`; --time of a recipe is $TIME, 4m by default.
"""

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.few_labels import DATA
from benchmarks.heart import matrices
from benchmarks.material import table
from benchmarks.recipes import MOBILENET, V2, WEIGHTS
from medimg.config import PrepareConfig, TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.imaging import read_image
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.preparation.prepare import prepare
from medimg.recipes.recipe import by_recipe
from medimg.training.train import train

METRICS = ("auroc", "balanced_accuracy")
SIDE = 32
FOUND = r"^(.+?)__"
OURS = {
    "image": {
        "baseline CNN, 64 px": {"image_size": 64},
        "MobileNet 0.75 head": {**MOBILENET, "image_size": 160},
        "MobileNetV2 0.35 head": {**V2, "freeze": "backbone", "image_size": 160},
    },
    "row": {"logistic": {"model": "logistic"}, "mlp": {"model": "mlp"}},
}


def pocus(folder: Path) -> tuple:
    """Ultrasound images by the prefix of their names, each of a patient of its own."""
    names = {"Cov": "covid", "Pneu": "pneumonia", "Reg": "regular"}
    for file in (DATA / "pocus_ultrasound").rglob("*_*.*"):
        _take(file, folder / names[file.name.split("_")[0]], file.stem)
    return "folder", folder, {"patient_pattern": FOUND}


def covid(folder: Path) -> tuple:
    """COVID-19 films of two collections, and Kermany's of native size."""
    root = DATA / "covid_cxr"
    for row in pd.read_csv(root / "cohen/metadata.csv").itertuples():
        _take(root / "cohen/images" / row.filename, folder / "covid", f"cohen{row.patientid}")
    rows = pd.read_csv(root / "figure1/metadata.csv", encoding="latin1")
    positive = set(rows.loc[rows["finding"] == "COVID-19", "patientid"])
    for file in (root / "figure1/images").iterdir():
        if file.stem in positive:
            _take(file, folder / "covid", f"figure1{file.stem}")
    for name in ("NORMAL", "PNEUMONIA"):
        for file in sorted((DATA / "kermany_chest_xray_native/chest_xray/train" / name).iterdir())[:40]:
            _take(file, folder / name.lower(), f"kermany{file.stem}")
    return "folder", folder, {"patient_pattern": FOUND, "on_duplicates": "drop"}


def _take(file: Path, folder: Path, patient: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, folder / f"{patient.replace('_', '-')}__{file.stem}{file.suffix.lower()}")


OFFICIAL = {"split": "official", "on_duplicates": "drop"}
SETS = {
    "isic": lambda _: ("isic", DATA / "isic_9class_180", OFFICIAL),
    "brain": lambda _: ("folder", DATA / "brain_mri/brain_tumor_mri_4class", OFFICIAL),
    "pocus": pocus,
    "covid": covid,
    "heart": lambda _: ("heart", DATA / "heart_disease", {}),
}


def scikit_learn() -> dict:
    """Name -> a new classifier."""
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return {
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=3000)),
        "random forest": RandomForestClassifier(300, random_state=0),
        "gradient boosting": HistGradientBoostingClassifier(random_state=0),
    }


def pixels(data: Dataset, split: str) -> tuple[np.ndarray, np.ndarray]:
    """(N, 1024) of small grey images, and labels."""
    import cv2

    rows, images = data.rows(split, labelled=True), []
    for path in data.paths(rows):
        image = np.asarray(read_image(path, 100), np.float32)
        grey = image if image.ndim == 2 else image[..., :3].mean(axis=2)
        images.append(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).ravel() / 255)
    return np.array(images), data.targets(rows)


def foreign(data: Dataset, model, parts) -> list[float]:
    """AUROC (of several classes the mean over those that test has) and balanced accuracy on test."""
    from sklearn.metrics import balanced_accuracy_score, roc_auc_score

    train_part, val, (x, y) = parts
    model.fit(*(np.concatenate(arrays) for arrays in zip(train_part, val, strict=True)))
    chances = np.zeros((len(x), len(data.classes)))
    chances[:, model.classes_] = model.predict_proba(x)
    scored = [1] if len(data.classes) == 2 else [k for k in range(len(data.classes)) if 0 < (y == k).sum() < len(y)]
    auroc = np.mean([roc_auc_score(y == k, chances[:, k]) for k in scored])
    return [float(auroc), float(balanced_accuracy_score(y, chances.argmax(axis=1)))]


def measured(run) -> list[dict]:
    """`value`, `low` and `high` of each metric on test."""
    metrics = evaluate(run, EvaluateConfig())["metrics"]
    return [metrics[name] for name in METRICS]


def rows_of(name: str, folder: Path) -> list[list]:
    """A line each of the baselines and the recipe."""
    kind, path, options = SETS[name](folder / "source")
    data = prepare(kind, str(path), folder / "data", PrepareConfig(**options))
    count, lines = len(data.rows("test", labelled=True)), []
    parts = matrices(data) if data.is_table else [pixels(data, part) for part in ("train", "val", "test")]
    models = scikit_learn()
    for model in list(models)[: 3 if data.is_table else 2]:
        lines.append([name, count, model, *(f"{value:.3f}" for value in foreign(data, models[model], parts)), ""])
    for number, (model, options_of_run) in enumerate(OURS[data.unit].items()):
        metrics = measured(train(data, folder / f"{number}", TrainConfig(**options_of_run)))
        lines.append([name, count, model, *(f"{metric['value']:.3f}" for metric in metrics), ""])
    weights = "none" if data.is_table else str(WEIGHTS)
    limit, started = os.environ.get("TIME", "4m"), time.monotonic()
    run = by_recipe(data, folder / "recipe", TrainConfig(recipe="auto", weights=weights, time=limit))
    took = f"{time.monotonic() - started:.0f} s of {limit}"
    texts = [f"{metric['value']:.3f} [{metric['low']:.3f}, {metric['high']:.3f}]" for metric in measured(run)]
    return [*lines, [name, count, "recipe", *texts, took]]


if __name__ == "__main__":
    found = []
    for name in sys.argv[1:] or SETS:
        with tempfile.TemporaryDirectory() as temporary:
            found += rows_of(name, Path(temporary))
        print(found[-1], file=sys.stderr, flush=True)
    table(["data", "test", "model", *METRICS, "time"], found)
