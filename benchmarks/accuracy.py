"""The README's Kermany and PneumoniaMNIST results, from `prepare` to `report.html`; needs the real samples."""

import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.material import table

MEDIMG = Path(sys.executable).with_name("medimg")
DATA = Path(os.environ.get("MEDIMG_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
WEIGHTS = DATA.parent / "weights" / "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"

KERMANY_DATA = shlex.split(r"--split official --image-size 160 --patient-pattern '(person\d+|(?:NORMAL2-)?IM-\d+)'")
KERMANY_TRAINING = shlex.split(
    "--model mobilenet_v2 --model-arg alpha=0.35 --image-size 160 --freeze backbone --epochs 10 --fine-tune-epochs 12 "
    "--fine-tune-blocks 16 --fine-tune-learning-rate 2e-4 --augment standard --views 3 --dropout 0.5 --patience 6"
)
MNIST_TRAINING = shlex.split(
    "--model baseline_cnn --image-size 28 --epochs 30 --augment standard --dropout 0.5 --patience 8 "
    "--plateau-patience 3"
)
RECIPES = {
    "Kermany, mobilenet_v2 0.35, 160 px": (
        ["folder", DATA / "kermany_chest_xray_224" / "chest_xray", *KERMANY_DATA],
        [*KERMANY_TRAINING, "--weights", WEIGHTS],
        ["youden", "sensitivity=0.9"],
        "AUROC >= 0.97, balanced accuracy >= 0.87, 12 min",
    ),
    "PneumoniaMNIST, baseline_cnn, 28 px": (
        ["medmnist", DATA / "medmnist" / "pneumoniamnist.npz", "--split", "official", "--on-duplicates", "drop"],
        MNIST_TRAINING,
        ["youden"],
        "AUROC >= 0.95, 10 min",
    ),
}


def medimg(*words) -> None:
    subprocess.run([MEDIMG, *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def measured(folder: Path, preparing: list, training: list, rules: list[str]) -> list[list]:
    import json

    started = time.perf_counter()
    medimg("data", "prepare", *preparing, "--out", folder / "data")
    medimg("train", folder / "data", *training, "--out", folder / "run")
    rows = []
    for rule in rules:
        medimg("evaluate", folder / "run", "--threshold", rule)
        minutes = (time.perf_counter() - started) / 60
        metrics = json.loads((folder / "run" / "metrics.json").read_text())["metrics"]
        values = (metrics[name] for name in ("auroc", "balanced_accuracy"))
        rows.append([rule, *(f"{v['value']:.4f} [{v['low']:.3f}, {v['high']:.3f}]" for v in values), minutes])
    return rows


if __name__ == "__main__":
    lines = []
    for name, (preparing, training, rules, promise) in RECIPES.items():
        with tempfile.TemporaryDirectory() as folder:
            lines += [[name, *row, promise] for row in measured(Path(folder), preparing, training, rules)]
    table(["recipe", "threshold on validation", "AUROC", "balanced accuracy", "minutes", "promise"], lines)
