"""medimg train (gate, decode, validation, checkpoints, saving) against model.fit on the same arrays and model."""

import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks.material import phantom, table
from medimg.config import TrainConfig
from medimg.models.build import build
from medimg.pipeline.batches import steady
from medimg.pipeline.pixels import load_image
from medimg.training.train import train

SIZE, EPOCHS, WIDTH = 96, 6, 16


def arrays(dataset, split):
    rows = dataset.rows(split)
    return np.stack([load_image(p, SIZE, 1) for p in dataset.paths(rows)]), dataset.targets(rows)


def bare(dataset) -> float:
    train, validation = arrays(dataset, "train"), arrays(dataset, "val")
    started = time.perf_counter()
    model = build("baseline_cnn", SIZE, 1, 2, model_arg={"width": WIDTH})
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    # The autotuner of tf.data lets the end of a stream wait for it: off on both sides.
    shuffled = tf.data.Dataset.from_tensor_slices(train).shuffle(len(train[1]), seed=0)
    streams = [
        steady(data.batch(32).prefetch(2)) for data in (shuffled, tf.data.Dataset.from_tensor_slices(validation))
    ]
    model.fit(streams[0], epochs=EPOCHS, validation_data=streams[1], verbose=0)
    return time.perf_counter() - started


def ours(dataset, out: Path) -> float:
    config = TrainConfig(
        image_size=SIZE, epochs=EPOCHS, patience=0, model_arg={"width": str(WIDTH)}, plateau_patience=0
    )
    started = time.perf_counter()
    train(dataset.root, out, config)
    return time.perf_counter() - started


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        dataset = phantom(Path(folder) / "data", 1000, SIZE)
        bare(dataset)  # the first use of every kernel is slow for whoever comes first
        rows = []
        for i in range(3):
            a, b = bare(dataset), ours(dataset, Path(folder) / f"run{i}")
            rows.append([i + 1, a, b, b / a])
        rows.append(
            ["median", *np.median(np.array([r[1:3] for r in rows]), axis=0), float(np.median([r[3] for r in rows]))]
        )
        table(["run", "model.fit s", "medimg train s", "ratio (promise <= 1.10)"], rows)
