"""Peak resident memory of prepare and train at 1,000 and 10,000 images of 96 px, with the cache on disk.

`python -m benchmarks.memory 224 10000,100000`: of 224 px, at other numbers (22 GB of disk, an hour).
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.material import phantom, table

_GIVEN = dict(enumerate(sys.argv[1:]))
SIZE = int(_GIVEN.get(0, 96))
SMALL, LARGE = (int(number) for number in _GIVEN.get(1, "1000,10000").split(","))


def _prepare(folder: Path, images: int) -> None:
    phantom(folder, images, SIZE)


def _train(folder: Path, images: int) -> None:
    from medimg.config import TrainConfig
    from medimg.training.train import train

    config = TrainConfig(image_size=SIZE, epochs=1, cache_budget=0.0, model_arg={"width": "4", "stages": "3"})
    train(folder, folder.with_name(f"run{images}"), config)


def _measured(task, folder: Path, images: int, result) -> None:
    began = time.perf_counter()
    task(folder, images)
    # ru_maxrss is in KiB on Linux.
    result.put((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, time.perf_counter() - began))


def peak(task, folder: Path, images: int) -> tuple[float, float]:
    """MiB at the peak of a process of its own, and its seconds."""
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
            small, large = (peak(task, Path(name) / f"data{n}", n) for n in (SMALL, LARGE))
            rows.append([label, small[0], large[0], large[0] / small[0] - 1.0, "< 0.10", large[1]])
    at = [f"MiB at {number:,}" for number in (SMALL, LARGE)]
    table([f"command, {SIZE} px", *at, "growth", "promise", f"seconds at {LARGE:,}"], rows)
