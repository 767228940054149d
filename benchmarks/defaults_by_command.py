"""Defaults of private and federated trainings beside those before them, by the commands themselves; needs the samples.

Heart's four hospitals are split anew eight times (patients by `data prepare --seed`); on each split the same command
runs without options and with the options that were its defaults before. Nothing is chosen here: the test part of each
split is read once a command. Differences are paired by split, with Student's interval of their mean: the splits share
patients, so it is somewhat too narrow.

`MEDIMG_TEST_DATA=FOLDER python -m benchmarks.defaults_by_command`
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
from click.testing import CliRunner

import cli
from benchmarks.heart import DATA
from benchmarks.material import table
from medimg.evaluation.intervals import Measured
from medimg.studies.over_seeds import mean_interval
from medimg.style.words import interval, signed_interval

SPLITS = 8
PRIVATE = ("--dp-delta", 1e-5, "--optimizer", "adam", "--batch-size", 32, "--epochs", 200)
# Title; command and what it needs; the options before.
COMMANDS = (
    ("train --model logistic --dp-epsilon 1", (*PRIVATE, "--learning-rate", 0.01)),
    ("train --model logistic --dp-epsilon 3", (*PRIVATE, "--learning-rate", 0.01)),
    ("train --model mlp --dp-epsilon 3", (*PRIVATE, "--learning-rate", 0.001)),
    ("federate --model logistic", ("--client-optimizer", "adam", "--learning-rate", 0.01)),
    ("federate --model mlp", ("--client-optimizer", "adam", "--learning-rate", 0.002)),
)


def medimg(*words: object) -> None:
    """A command, as a user types it."""
    result = CliRunner().invoke(cli.medimg, [str(word) for word in words])
    if result.exit_code:
        raise SystemExit(f"medimg {' '.join(map(str, words))}: {result.output[-1000:]} {result.exception!r}")


def measured(data: Path, out: Path, command: str, options: tuple) -> tuple[float, float, float]:
    """AUROC and Brier score of the test part, and seconds."""
    name, *words = command.split()
    started = time.perf_counter()
    medimg(name, data, "--out", out, *words, *options)
    seconds = time.perf_counter() - started
    medimg("evaluate", out, "--bootstrap", 20)
    metrics = json.loads((out / "metrics.json").read_text())["metrics"]
    return metrics["auroc"]["value"], metrics["brier"]["value"], seconds


def mean(values: np.ndarray) -> dict:
    """With Student's interval."""
    return Measured.of(*mean_interval(values))._asdict()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        root, rows = Path(folder), []
        for split in range(SPLITS):
            prepared = ("--out", root / f"heart-{split}", "--seed", split)
            medimg("data", "prepare", "heart", DATA / "heart_disease", *prepared)
        for command, before in COMMANDS:
            values = np.empty((2, SPLITS, 3))
            # The delta is no default but a promise: the same on both sides.
            promised = before[:2] if before[0] == "--dp-delta" else ()
            for split in range(SPLITS):
                for number, options in enumerate((promised, before)):
                    out = root / f"{len(rows)}-{split}-{number}"
                    values[number, split] = measured(root / f"heart-{split}", out, command, options)
            now, then = values
            gains = [signed_interval(mean(now[:, i] - then[:, i])) for i in range(2)]
            each = [interval(mean(one[:, 0])) for one in (then, now)]
            rows.append([command, *each, *gains, now[:, 2].mean() / then[:, 2].mean()])
    columns = [
        "command",
        "AUROC before",
        "AUROC now",
        "AUROC now less before",
        "Brier score now less before",
        "seconds now / before",
    ]
    table(columns, rows)
