"""The README's recipes: chosen among a few on validation alone, then measured on the official test part; needs the real
samples and weights.

Where brightness alone ranks the training images well, a validation part drawn from them makes learning it look good,
and says little of other films. Its harder half counts then: of each class the half that brightness tells least well.
Recipes are judged there, and the threshold is Youden's there (of a set without such a shortcut, of all its validation).

`python -m benchmarks.recipes [kermany|pneumoniamnist|breastmnist]`; finished Runs in $RECIPES are taken as they are.
"""

import dataclasses
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.few_labels import DATA, SEEDS
from benchmarks.material import table

WEIGHTS = DATA.parent / "weights"
MOBILENET = {
    "model": "mobilenet",
    "model_arg": {"alpha": "0.75"},
    "weights": str(WEIGHTS / "mobilenet_7_5_224_tf_no_top.h5"),
    "freeze": "backbone",
}
V2 = {
    "model": "mobilenet_v2",
    "model_arg": {"alpha": "0.35"},
    "weights": str(WEIGHTS / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"),
}
HEAD = {**MOBILENET, "epochs": 30, "dropout": 0.5, "views": 3, "augment": "standard"}
PLAIN = {**MOBILENET, "epochs": 150, "patience": 15, "plateau_patience": 5}
TUNED = {**HEAD, "epochs": 10, "fine_tune_epochs": 8, "fine_tune_blocks": 16, "fine_tune_learning_rate": 2e-4}
CNN = {"image_size": 28, "epochs": 30, "augment": "standard", "dropout": 0.5, "patience": 8, "plateau_patience": 3}
SHORTCUT = 0.85
SENSITIVITY = "sensitivity=0.9"
VOTE = "vote of the best three"
METRICS = ("auroc", "balanced_accuracy", "accuracy", "sensitivity", "specificity")


@dataclass(frozen=True)
class Trial:
    """A data set and what is tried on it.

    Attributes:
        source: of `medimg data prepare`, with its path below the samples.
        prepare: options of it.
        candidates: options of `medimg train` by name.
        folds: 1: judged on the validation part; K: on K folds of training and validation, where the latter is small.
        votes: the three best, voting, are a candidate too.
        threshold: a fixed one; None: Youden's.
    """

    source: tuple[str, str]
    prepare: dict
    candidates: dict[str, dict]
    folds: int = 1
    votes: bool = True
    threshold: float | None = None


TRIALS = {
    "kermany": Trial(
        ("folder", "kermany_chest_xray_224/chest_xray"),
        {"split": "official", "patient_pattern": r"(person\d+|(?:NORMAL2-)?IM-\d+)"},
        {
            "head, 160 px": {**HEAD, "image_size": 160},
            "head, 224 px": {**HEAD, "image_size": 224},
            "head, 160 px, strong": {**HEAD, "image_size": 160, "augment": "strong", "views": 5},
            "head, 160 px, plain": {**PLAIN, "image_size": 160},
            "head, 224 px, plain": {**PLAIN, "image_size": 224},
            "head, 288 px, plain": {**PLAIN, "image_size": 288},
            "mobilenet_v2 head, 224 px": {**HEAD, **V2, "image_size": 224},
            "fine-tuned, 160 px": {**TUNED, "image_size": 160},
        },
    ),
    "pneumoniamnist": Trial(
        ("medmnist", "medmnist/pneumoniamnist.npz"),
        {"split": "official", "on_duplicates": "drop"},
        {
            "baseline_cnn": CNN,
            "baseline_cnn, strong": {**CNN, "augment": "strong"},
            "mobilenet head, 96 px, plain": {**PLAIN, "image_size": 96},
        },
    ),
    "breastmnist": Trial(
        ("medmnist", "medmnist/breastmnist.npz"),
        {"split": "official", "on_duplicates": "drop"},
        {
            "baseline_cnn": CNN,
            "mobilenet head, 96 px": {**HEAD, "image_size": 96},
            "mobilenet head, 96 px, plain": {**PLAIN, "image_size": 96},
            "mobilenet head, 160 px, plain": {**PLAIN, "image_size": 160},
            "baseline_cnn, longer": {**CNN, "epochs": 150, "patience": 30, "plateau_patience": 10},
        },
        folds=3,
        votes=False,
        # Accuracy is promised: the likelier class decides.
        threshold=0.5,
    ),
}


def brightness(data, rows: pd.DataFrame) -> np.ndarray:
    """What images show without their shapes: (N, 11), mean and spread of the whole and of the rim, and quantiles."""
    from medimg.data.imaging import read_image

    statistics = []
    for path in data.paths(rows):
        image = np.asarray(read_image(path, 100), np.float64)
        image = image if image.ndim == 2 else image.mean(axis=2)
        inner = np.ones(image.shape, bool)
        edge = max(1, len(image) // 16)
        inner[edge:-edge, edge:-edge] = False
        parts = (image, image[inner])
        statistics.append(
            [f(part) for part in parts for f in (np.mean, np.std)]
            + list(np.percentile(image, (1, 10, 25, 50, 75, 90, 99)))
        )
    return np.array(statistics)


def harder(data) -> np.ndarray:
    """Bool (N,): the rows of the validation part that recipes are judged by."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    train, rows = data.rows("train"), data.rows("val")
    truth = data.targets(rows) == 1
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    model.fit(brightness(data, train), data.targets(train))
    score = model.decision_function(brightness(data, rows))
    auroc = roc_auc_score(truth, score)
    print(f"{data.root}: AUROC of brightness alone {auroc:.3f}", file=sys.stderr, flush=True)
    if auroc < SHORTCUT:
        return np.ones(len(rows), bool)
    half = np.where(truth, np.median(score[truth]), np.median(score[~truth]))
    return np.where(truth, score <= half, score >= half)


def folds_of(data, folder: Path, folds: int) -> list:
    """The Dataset; or K of its training and validation rows alone, with validation parts drawn by patient."""
    from sklearn.model_selection import StratifiedGroupKFold

    if folds == 1:
        return [data]
    rows = data.manifest[data.manifest["split"] != "test"].reset_index(drop=True)
    draw = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    datasets = []
    for number, (_, val) in enumerate(draw.split(rows, rows["label"], rows["patient"])):
        split = np.where(np.isin(np.arange(len(rows)), val), "val", "train")
        root = folder / f"fold-{number}"
        if not root.exists():
            shutil.copytree(data.root / "images", root / "images", copy_function=os.link)
        fold = dataclasses.replace(data, root=root, manifest=rows.assign(split=split))
        fold.save()
        datasets.append(fold)
    return datasets


def trained(data, out: Path, options: dict):
    """The Run; one that is finished is taken as it is."""
    from medimg.config import TrainConfig
    from medimg.run import Run
    from medimg.training.any_model import train_any

    if (out / "model.keras").is_file():
        return Run.load(out)
    return train_any(data.root, out, TrainConfig(**options), overwrite=out.exists())


def judged(datasets: list, counted: np.ndarray, out: Path, options: dict) -> dict:
    """AUROC, log loss and Youden's threshold of options on the validation rows that count, of all folds together."""
    from sklearn.metrics import log_loss, roc_auc_score

    from medimg.evaluation.answers import Answers
    from medimg.evaluation.thresholds import youden_threshold

    truths, scores = [], []
    for number, data in enumerate(datasets):
        run = trained(data, out / f"{number}", options)
        rows = data.rows("val")
        truths.append(data.targets(rows) == 1)
        scores.append(Answers(run.model(), run.description(), 32)(data, rows)[:, 1].astype(np.float64))
    truth, score = np.concatenate(truths), np.concatenate(scores)
    auroc_of_all = roc_auc_score(truth, score)
    truth, score = truth[counted], score[counted]
    return {
        "whole": float(auroc_of_all),
        "auroc": float(roc_auc_score(truth, score)),
        "loss": float(log_loss(truth, score)),
        "threshold": round(youden_threshold(truth, score), 4),
    }


def tested(run, threshold: float | str) -> list[str]:
    """On the official test part, with intervals by bootstrap over patients."""
    from medimg.evaluation.config import EvaluateConfig
    from medimg.evaluation.evaluate import evaluate

    metrics = evaluate(run, EvaluateConfig(threshold=str(threshold)))["metrics"]
    return [f"{m['value']:.3f} [{m['low']:.3f}, {m['high']:.3f}]" for m in (metrics[name] for name in METRICS)]


def rows(name: str, folder: Path) -> list[list]:
    from medimg.config import PrepareConfig
    from medimg.data.dataset import Dataset
    from medimg.preparation.prepare import prepare

    trial, root = TRIALS[name], folder / "data"
    kind, path = trial.source
    finished = (root / "dataset.yaml").is_file()
    data = Dataset.load(root) if finished else prepare(kind, str(DATA / path), root, PrepareConfig(**trial.prepare))
    datasets = folds_of(data, folder, trial.folds)
    counted = np.concatenate([harder(fold) for fold in datasets])
    results = {}

    def judge(candidate: str, options: dict) -> None:
        results[candidate] = {**judged(datasets, counted, folder / candidate, options), "options": options}
        results[candidate]["threshold"] = trial.threshold or results[candidate]["threshold"]
        print(name, candidate, json.dumps(results[candidate]), file=sys.stderr, flush=True)

    for candidate, options in trial.candidates.items():
        judge(candidate, options)
    # A standard error of the AUROC is about 0.01 or more: nearer ones are alike.
    order = lambda candidate: (-round(results[candidate]["auroc"], 2), results[candidate]["loss"])  # noqa: E731
    members = sorted(results, key=order)[:SEEDS] if trial.votes else []
    if members:
        shutil.rmtree(folder / VOTE, ignore_errors=True)
        judge(VOTE, {"model": "ensemble", "member": tuple(str(folder / m / "0") for m in members)})
    best = min(results, key=order)
    lines = []
    for candidate, row in results.items():
        measured = [""] * len(METRICS)
        # Of the others nothing is read, but for who votes: an ensemble is measured against its members.
        if candidate == best or (members and candidate in [*members, VOTE]):
            last = folder / candidate / ("0" if trial.folds == 1 else "final")
            measured = tested(trained(data, last, row["options"]), row["threshold"])
        role = "chosen" if candidate == best else "votes" if candidate in members else ""
        values = [f"{row['whole']:.3f}", f"{row['auroc']:.3f}", f"{row['loss']:.3f}", row["threshold"]]
        lines.append([name, candidate, *values, role, *measured])
        if candidate == best and not trial.threshold:
            # A rule of the reader's, set before any training: what is asked of sensitivity.
            blank = [""] * (len(values) - 1)
            lines.append([name, "the same", *blank, SENSITIVITY, "", *tested(trained(data, last, {}), SENSITIVITY)])
    return lines


if __name__ == "__main__":
    lines = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in sys.argv[1:] or TRIALS:
            folder = Path(os.environ.get("RECIPES", temporary)) / name
            folder.mkdir(parents=True, exist_ok=True)
            lines += rows(name, folder)
    columns = ["AUROC, validation", "its harder half", "log loss there", "threshold", ""]
    table(["data", "recipe", *columns, *METRICS], lines)
