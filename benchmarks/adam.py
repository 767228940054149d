"""Keras' Adam against ours: processor seconds to the first step of a small CNN (tracing), and of three epochs after it.

Both sides in turn in one process, three times; medians. `python -m benchmarks.adam`
"""

import statistics
import time

import numpy as np
import tensorflow as tf

from benchmarks.material import table
from medimg.models.build import build
from medimg.training import adam

IMAGES, SIZE, BATCH, EPOCHS, TIMES = 512, 32, 16, 3, 3
SIDES = {"Keras": tf.keras.optimizers.Adam, "medimg": adam.Adam}


def seconds(kind, images: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Of the processor: to the first step's end, and of the epochs."""
    model = build("baseline_cnn", SIZE, 1, 2, model_arg={"width": "8"})
    model.compile(kind(1e-3), tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    data = tf.data.Dataset.from_tensor_slices((images, targets)).batch(BATCH)
    began = time.process_time()
    model.fit(data.take(1), verbose=0)
    traced = time.process_time()
    model.fit(data, epochs=EPOCHS, verbose=0)
    return traced - began, time.process_time() - traced


def main() -> None:
    draw = np.random.default_rng(0)
    images = draw.uniform(0, 255, (IMAGES, SIZE, SIZE, 1)).astype(np.float32)
    targets = draw.integers(0, 2, IMAGES)
    found = {name: [] for name in SIDES}
    # The first of all pays for what a process does once.
    seconds(SIDES["Keras"], images, targets)
    for _ in range(TIMES):
        for name, kind in SIDES.items():
            found[name].append(seconds(kind, images, targets))
    medians = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in found.items()}
    ratios = [ours / keras for ours, keras in zip(medians["medimg"], medians["Keras"], strict=True)]
    rows = [[name, *values] for name, values in medians.items()]
    rows.append(["ratio (promise < 0.8 to the first step)", *ratios])
    table(["Adam", "to the first step, s", f"{EPOCHS} epochs, s"], rows)


if __name__ == "__main__":
    main()
