"""Paradigms on a share of the labels against supervised training on it, and on all labels; needs the real samples.

The paradigm is chosen by its AUROC on validation, whose labels all trainings have; the test part is the official one.
"""

import os
import sys
import tempfile
from pathlib import Path

import pandas as pd

from benchmarks.material import table

DATA = Path(os.environ.get("MEDIMG_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
SEEDS = int(os.environ.get("SEEDS", "3"))
# An epoch of few images is few steps: those that go through labelled images alone get more epochs.
FEW = {"epochs": 150, "patience": 30, "plateau_patience": 10}
OWN = {"pseudo-label": {"pseudo_rounds": 1}}
PARADIGMS = ("supervised", "pseudo-label", "fixmatch", "mean-teacher", "simclr")
METRICS = ("val_auroc", "auroc", "balanced_accuracy")
WHOLE = "supervised, all labels"


def pneumonia_mnist(folder: Path):
    from medimg.config import PrepareConfig
    from medimg.preparation.prepare import prepare

    file = DATA / "medmnist" / "pneumoniamnist.npz"
    data = prepare("medmnist", str(file), folder, PrepareConfig(split="official", on_duplicates="drop"))
    options = {"image_size": 28, "epochs": 30, "augment": "standard", "dropout": 0.5, "patience": 8}
    return data, {**options, "plateau_patience": 3}, {"pretrain_epochs": 15}, (0.05, 0.1)


def kermany(folder: Path):
    from medimg.config import PrepareConfig
    from medimg.preparation.prepare import prepare

    options = {"split": "official", "image_size": 96, "patient_pattern": r"(person\d+|(?:NORMAL2-)?IM-\d+)"}
    data = prepare("folder", str(DATA / "kermany_chest_xray_224" / "chest_xray"), folder, PrepareConfig(**options))
    weights = DATA.parent / "weights" / "mobilenet_7_5_224_tf_no_top.h5"
    frozen = {"model": "mobilenet", "model_arg": {"alpha": "0.75"}, "weights": str(weights), "freeze": "backbone"}
    training = {"image_size": 96, "epochs": 30, "augment": "light", "views": 2, "dropout": 0.5}
    return data, {**frozen, **training}, {"pretrain_epochs": 2}, (0.3,)


SETS = {"pneumoniamnist": pneumonia_mnist, "kermany": kermany}


def measured(data, out: Path, options: dict) -> dict:
    """Of one training: its best AUROC on validation, and what the test part says."""
    from medimg.config import TrainConfig
    from medimg.evaluation.config import EvaluateConfig
    from medimg.evaluation.evaluate import evaluate
    from medimg.training.train import train

    run = train(data.root, out, TrainConfig(**options))
    history = run.history()
    last = history[history["phase"] == history["phase"].iloc[-1]]
    metrics = evaluate(run, EvaluateConfig(bootstrap=0))["metrics"]
    test_metrics = {name: metrics[name]["value"] for name in METRICS[1:]}
    return {"val_auroc": float(last.loc[last["val_loss"].idxmin(), "val_auroc"]), **test_metrics}


def rows(name: str, folder: Path) -> list[list]:
    from medimg.studies.over_seeds import summary

    data, options, simclr, fractions = SETS[name](folder / "data")
    results = []
    for seed in range(SEEDS):
        for fraction in (*fractions, 1.0):
            for paradigm in PARADIGMS if fraction < 1 else ("supervised",):
                few = {} if fraction == 1 or paradigm in ("fixmatch", "mean-teacher") else FEW
                of_paradigm = simclr if paradigm == "simclr" else OWN.get(paradigm, {})
                options_of_run = {**options, **few, **of_paradigm, "seed": seed, "paradigm": paradigm}
                if fraction < 1:
                    options_of_run["labelled_fraction"] = fraction
                metrics = measured(data, folder / f"{seed}-{fraction}-{paradigm}", options_of_run)
                label = paradigm if fraction < 1 else WHOLE
                results.append({"fraction": fraction, "paradigm": label, "seed": seed, **metrics})
                print(results[-1], file=sys.stderr, flush=True)
    summaries = summary(pd.DataFrame(results), ["fraction", "paradigm"], METRICS, "supervised")
    lines = []
    for row in summaries.to_dict("records"):
        gain = _text(row, "auroc_less_supervised", "+") if row["paradigm"] not in ("supervised", WHOLE) else ""
        lines.append(
            [name, row["fraction"], row["paradigm"], *(_text(row, metric) for metric in METRICS), gain, row["seeds"]]
        )
    return lines


def _text(row: dict, name: str, sign: str = "") -> str:
    return f"{row[name]:{sign}.3f} [{row[f'{name}_low']:{sign}.3f}, {row[f'{name}_high']:{sign}.3f}]"


if __name__ == "__main__":
    lines = []
    for name in sys.argv[1:] or SETS:
        with tempfile.TemporaryDirectory() as folder:
            lines += rows(name, Path(folder))
    columns = ["data", "labels", "paradigm", "AUROC, validation", "AUROC", "balanced accuracy", "AUROC gained", "seeds"]
    table(columns, lines)
