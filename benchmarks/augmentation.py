"""Images/s of an augmented epoch against torchvision's ImageFolder and DataLoader with the same operations.

`TORCHVISION=python-of-an-environment-with-it python -m benchmarks.augmentation`; without it torchvision's columns stay
empty. Both sides have two threads or processes; medimg's epoch is one after the first, whose pixels are cached, and
torchvision's decodes each time, as it does.
"""

import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.material import class_folders, phantom, table
from medimg.pipeline.augmentation import STRENGTHS, Augmentation
from medimg.pipeline.balance import epoch_order
from medimg.pipeline.batches import training_batches
from medimg.pipeline.pixels import PixelCache

IMAGES, BATCH, EPOCHS, TRIALS = 600, 32, 3, 2
PEER = Path(__file__).parent / "peers" / "torchvision_augmentation.py"


def rate(dataset, size: int, channels: int) -> float:
    """Images/s of the median epoch after the first."""
    rows = dataset.rows("train")
    cache = PixelCache.in_memory(dataset.paths(rows), size, channels, 8)
    augmentation = Augmentation.seeded(STRENGTHS["standard"], len(rows), 0)
    order, targets, seconds = epoch_order(len(rows), 0), dataset.targets(rows), []
    for epoch in range(EPOCHS + 1):
        started = time.perf_counter()
        for pixels, _ in training_batches(cache, targets, order, BATCH, (epoch, epoch + 1), augmentation=augmentation):
            pixels.shape  # noqa: B018  the batch is there
        seconds.append(time.perf_counter() - started)
    return len(rows) / statistics.median(seconds[1:])


def peer(folder: Path) -> float:
    """torchvision's, NaN without it."""
    python = os.environ.get("TORCHVISION")
    if not python:
        return float("nan")
    return float(subprocess.run([python, PEER, folder], check=True, capture_output=True, text=True).stdout.split()[-1])


if __name__ == "__main__":
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for size, channels in ((96, 1), (224, 3)):
            dataset = phantom(Path(name) / f"data{size}", IMAGES, size)
            classes = class_folders(dataset, Path(name) / f"classes{size}")
            pairs = [(rate(dataset, size, channels), peer(classes)) for _ in range(TRIALS)]
            ours, theirs = (statistics.median(one) for one in zip(*pairs, strict=True))
            ratio = statistics.median(a / b for a, b in pairs)
            rows.append([f"{size} px, {channels} ch", ours, theirs, ratio, ">= 1.0"])
    table(["images", "medimg images/s", "torchvision images/s", "ratio", "promise"], rows)
