"""Peak resident memory of prepare and train at 1,000 and 10,000 images of 96 px, with the cache on disk.

Images are drawn quickly, shades with noise and in half of them a disc, each of a patient, as files in class folders.
`python -m benchmarks.memory 224 10000,100000`: of 224 px, at other numbers.
"""

import multiprocessing
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from benchmarks.material import table

_GIVEN = dict(enumerate(sys.argv[1:]))
SIZE = int(_GIVEN.get(0, 96))
SMALL, LARGE = (int(number) for number in _GIVEN.get(1, "1000,10000").split(","))


def _draw(folder: Path, numbers: range) -> None:
    for number in numbers:
        draw, has_disc = np.random.default_rng(number), number % 2
        image = cv2.resize(
            draw.uniform(60, 160, (6, 6)).astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC
        )
        if has_disc:
            cv2.circle(image, draw.integers(SIZE // 4, 3 * SIZE // 4, 2).tolist(), SIZE // 8, 220.0, -1)
        image += draw.standard_normal((SIZE, SIZE), np.float32) * 4
        cv2.imwrite(str(folder / ("disc" if has_disc else "none") / f"p{number}.png"), np.clip(image, 0, 255))


def _drawn(folder: Path, images: int) -> Path:
    """Class folders of so many images."""
    for name in ("disc", "none"):
        (folder / name).mkdir(parents=True)
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        parts = [range(first, min(first + 1000, images)) for first in range(0, images, 1000)]
        list(pool.map(_draw, [folder] * len(parts), parts))
    return folder


def _prepare(folder: Path, images: int) -> None:
    from medimg.config import PrepareConfig
    from medimg.preparation.prepare import prepare

    source = folder.with_name(f"source{images}")
    prepare("folder", str(source), folder, PrepareConfig(image_size=SIZE, patient_pattern=r"(p\d+)"))


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
        for n in (SMALL, LARGE):
            _drawn(Path(name) / f"source{n}", n)
        for label, task in (("prepare", _prepare), ("train", _train)):
            small, large = (peak(task, Path(name) / f"data{n}", n) for n in (SMALL, LARGE))
            rows.append([label, small[0], large[0], large[0] / small[0] - 1.0, "< 0.10", large[1]])
    at = [f"MiB at {number:,}" for number in (SMALL, LARGE)]
    table([f"command, {SIZE} px", *at, "growth", "promise", f"seconds at {LARGE:,}"], rows)
