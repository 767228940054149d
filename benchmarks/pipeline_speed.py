"""Images/s of the first and second epoch against tf.keras.utils.image_dataset_from_directory(...).cache()."""

import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks.material import class_folders, phantom, table
from medimg.balance import epoch_order
from medimg.pipeline import PixelCache, training_batches

IMAGES, BATCH = 2400, 32


def consume(stream) -> float:
    started = time.perf_counter()
    for pixels, _ in stream:
        pixels.shape  # noqa: B018  the batch is there
    return time.perf_counter() - started


def keras_epochs(folder: Path, size: int, channels: int) -> tuple[float, float]:
    started = time.perf_counter()
    stream = tf.keras.utils.image_dataset_from_directory(
        folder,
        image_size=(size, size),
        color_mode="grayscale" if channels == 1 else "rgb",
        batch_size=BATCH,
        shuffle=True,
    )
    stream = stream.cache().prefetch(tf.data.AUTOTUNE)
    consume(stream)
    first = time.perf_counter() - started
    return first, consume(stream)


def our_epochs(
    dataset, size: int, channels: int, budget: float, folder: Path
) -> tuple[float, float]:
    rows = dataset.rows("train")
    started = time.perf_counter()
    cache = PixelCache.build(dataset.paths(rows), size, channels, budget, folder, "train")
    order, targets = epoch_order(len(rows), 0), dataset.targets(rows)
    consume(training_batches(cache, targets, order, BATCH, (0, 1)))
    first = time.perf_counter() - started
    second = consume(training_batches(cache, targets, order, BATCH, (1, 2)))
    cache.close()
    return first, second


if __name__ == "__main__":
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for stored, size, channels in ((96, 96, 1), (224, 224, 3), (320, 224, 3)):
            root = folder / f"data{stored}"
            if not root.exists():
                dataset = phantom(root, IMAGES, stored)
            classes = class_folders(dataset, folder / f"classes{stored}-{size}-{channels}")
            n = len(dataset.rows("train"))
            keras_epochs(classes, size, channels)
            for where, budget in (("RAM", 8.0), ("disk", 0.0)):
                pairs = [
                    (
                        keras_epochs(classes, size, channels),
                        our_epochs(dataset, size, channels, budget, folder / "c"),
                    )
                    for _ in range(3)
                ]
                theirs, ours = (np.median([p[i] for p in pairs], axis=0) for i in (0, 1))
                label = f"{stored} -> {size} px, {channels} ch, cache in {where}"
                for epoch, promise in ((0, ">= 1.2"), (1, ">= 1.0")):
                    rows.append(
                        [
                            label,
                            epoch + 1,
                            n / theirs[epoch],
                            n / ours[epoch],
                            float(theirs[epoch] / ours[epoch]),
                            promise,
                        ]
                    )
    table(["images", "epoch", "Keras images/s", "medimg images/s", "ratio", "promise"], rows)
