"""Wide and long tables: seconds and peak memory of `prepare` and `train`, each in a process of its own."""

import multiprocessing
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.material import table
from medimg.config import PrepareConfig, TrainConfig


def wide(path: Path, rows: int = 100, columns: int = 20_000) -> None:
    """Gene expression: a few columns tell the label."""
    draw = np.random.default_rng(0)
    label = np.arange(rows) % 2
    values = draw.normal(8, 2, (rows, columns)).round(4)
    values[:, :20] += label[:, None] * 2
    frame = pd.DataFrame(values, columns=[f"gene{i}" for i in range(columns)])
    frame.insert(0, "label", np.where(label, "tumour", "normal"))
    frame.to_csv(path, index=False)


def long(path: Path, rows: int = 1_000_000, columns: int = 20) -> None:
    """Laboratory values of a large hospital, written in blocks."""
    draw = np.random.default_rng(0)
    for start in range(0, rows, 100_000):
        n = min(100_000, rows - start)
        values = draw.normal(100, 15, (n, columns - 2)).round(2)
        frame = pd.DataFrame(values, columns=[f"value{i}" for i in range(columns - 2)])
        frame.insert(0, "label", np.where(values[:, 0] + draw.normal(0, 10, n) > 100, "yes", "no"))
        frame.insert(1, "ward", draw.choice(["A", "B", "C"], n))
        frame.to_csv(path, index=False, mode="a", header=start == 0)


def _prepare(source: Path, out: Path) -> None:
    from medimg.preparation.prepare import prepare

    prepare("table", source, out, PrepareConfig())


def _train(data: Path, out: Path) -> None:
    from medimg.training.train import train

    train(data, out, TrainConfig(model="logistic"))


def _train_selected(data: Path, out: Path) -> None:
    from medimg.training.train import train

    train(data, out, TrainConfig(model="logistic", select="anova"))


def _train_one_epoch(data: Path, out: Path) -> None:
    from medimg.training.train import train

    train(data, out, TrainConfig(model="logistic", epochs=1, batch_size=1024))


def _measured(task, source: Path, out: Path, result) -> None:
    started = time.perf_counter()
    task(source, out)
    # ru_maxrss is in KiB on Linux.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result.put((time.perf_counter() - started, peak))


def measured(task, source: Path, out: Path) -> list:
    """Seconds and MiB at the peak."""
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    process = context.Process(target=_measured, args=(task, source, out, result))
    process.start()
    values = result.get()
    process.join()
    return list(values)


if __name__ == "__main__":
    lines = []
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        wide(root / "wide.csv")
        long(root / "long.csv")
        for what, task, source, out, promise in (
            ("prepare 100 x 20,000", _prepare, "wide.csv", "wide", ""),
            ("train logistic, all columns", _train, "wide", "wide-all", "< 120 s, < 4096 MiB"),
            ("train logistic, --select anova", _train_selected, "wide", "wide-anova", ""),
            ("prepare 1,000,000 x 20", _prepare, "long.csv", "long", "bounded"),
            ("train logistic, 1 epoch of 700,000", _train_one_epoch, "long", "long-run", ""),
        ):
            lines.append([what, *measured(task, root / source, root / out), promise])
        lines.append(["(long.csv itself)", "", (root / "long.csv").stat().st_size / 2**20, ""])
    table(["command", "seconds", "peak MiB", "promise"], lines)
