"""Peak resident memory of prepare and train at 1,000 and 10,000 images, with the cache on disk."""

import multiprocessing
import resource
import tempfile
from pathlib import Path

from benchmarks.material import phantom, table

SIZE = 96


def _prepare(folder: Path, images: int) -> None:
    phantom(folder, images, SIZE)


def _train(folder: Path, images: int) -> None:
    from medimg.config import TrainConfig
    from medimg.training.train import train

    config = TrainConfig(image_size=SIZE, epochs=1, cache_budget=0.0, model_arg={"width": "4", "stages": "3"})
    train(folder, folder.with_name(f"run{images}"), config)


def _measured(task, folder: Path, images: int, result) -> None:
    task(folder, images)
    # ru_maxrss is in KiB on Linux.
    result.put(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def peak(task, folder: Path, images: int) -> float:
    """MiB at the peak of a process of its own."""
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    process = context.Process(target=_measured, args=(task, folder, images, result))
    process.start()
    value = result.get()
    process.join()
    return value


if __name__ == "__main__":
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for label, task in (("prepare", _prepare), ("train", _train)):
            small, large = (peak(task, Path(name) / f"data{n}", n) for n in (1_000, 10_000))
            rows.append([label, small, large, large / small - 1.0, "< 0.10"])
    table(["command", "MiB at 1k", "MiB at 10k", "growth", "promise"], rows)
