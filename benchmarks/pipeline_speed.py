"""Images/s of the first and second epoch against tf.keras.utils.image_dataset_from_directory(...).cache().

Twice: with Keras' cache as it is, which hands out the same float batches in the same order every epoch without touching
a pixel, and with its images reshuffled every epoch, which is what training does and what medimg's pipeline does.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks.material import class_folders, phantom, table
from medimg.pipeline.balance import epoch_order
from medimg.pipeline.batches import training_batches
from medimg.pipeline.pixels import PixelCache

IMAGES, BATCH = 2400, 32


def consume(stream) -> float:
    started = time.perf_counter()
    for pixels, _ in stream:
        pixels.shape  # noqa: B018  the batch is there
    return time.perf_counter() - started


def keras_epochs(folder: Path, size: int, channels: int, reshuffled: bool) -> tuple[float, float]:
    started = time.perf_counter()
    stream = tf.keras.utils.image_dataset_from_directory(
        folder,
        image_size=(size, size),
        color_mode="grayscale" if channels == 1 else "rgb",
        batch_size=BATCH,
        shuffle=True,
    )
    stream = stream.cache()
    if reshuffled:
        stream = stream.unbatch().shuffle(IMAGES, seed=0).batch(BATCH)
    stream = stream.prefetch(tf.data.AUTOTUNE)
    consume(stream)
    first = time.perf_counter() - started
    return first, consume(stream)


def our_epochs(dataset, size: int, channels: int, budget: float, folder: Path) -> tuple[float, float]:
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
    # Keras prints how many files it found.
    tf.keras.utils.disable_interactive_logging()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for stored, size, channels in ((96, 96, 1), (224, 224, 3), (320, 224, 3)):
            root = folder / f"data{stored}"
            if not root.exists():
                dataset = phantom(root, IMAGES, stored)
            classes = class_folders(dataset, folder / f"classes{stored}-{size}-{channels}")
            n = len(dataset.rows("train"))
            keras_epochs(classes, size, channels, False)
            for where, budget in (("RAM", 8.0), ("disk", 0.0)):
                trials = [
                    (
                        our_epochs(dataset, size, channels, budget, folder / "c"),
                        keras_epochs(classes, size, channels, False),
                        keras_epochs(classes, size, channels, True),
                    )
                    for _ in range(3)
                ]
                ours, fixed, shuffled = np.median(np.array(trials), axis=0)
                label = f"{stored} -> {size} px, {channels} ch, cache in {where}"
                for epoch, promise in ((0, ">= 1.2"), (1, ">= 1.0")):
                    rates = [n / seconds[epoch] for seconds in (ours, fixed, shuffled)]
                    ratios = [float(rates[0] / rate) for rate in rates[1:]]
                    rows.append([label, epoch + 1, *rates, *ratios, promise])
    table(
        [
            "images",
            "epoch",
            "medimg images/s",
            "Keras, fixed batches",
            "Keras, reshuffled",
            "ratio to fixed",
            "ratio to reshuffled",
            "promise",
        ],
        rows,
    )
