"""PneumoniaMNIST by DCGAN: a small CNN trained on made images beside the same CNN, with as many steps, on real ones.

`EPOCHS=N` shortens the generator's training; `EPSILONS="1 3 10"` adds private ones; `OUT=FOLDER` keeps what was made.
"""

import contextlib
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.material import table
from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.pipeline.pixels import PixelCache
from medimg.preparation.prepare import prepare
from synthetic.config import SynthesizeConfig
from synthetic.synthesize import synthesize

DATA = Path(os.environ.get("MEDIMG_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
SIZE, STEPS, BATCH, SEEDS = 28, 700, 64, (0, 1, 2)


def arrays(dataset: Dataset, split: str) -> tuple[np.ndarray, np.ndarray]:
    rows = dataset.rows(split)
    cache = PixelCache.in_memory(dataset.paths(rows), SIZE, 1)
    return cache.take(np.arange(len(rows))).astype(np.float32), dataset.targets(rows)


def auroc(train: tuple, test: tuple, seed: int) -> float:
    """Of a CNN of three convolutions, trained for a fixed number of steps with light augmentation."""
    import tensorflow as tf

    tf.keras.utils.set_random_seed(seed)
    layers = tf.keras.layers
    model = tf.keras.Sequential([layers.Rescaling(1 / 255)])
    model.add(layers.RandomTranslation(0.1, 0.1, fill_mode="nearest"))
    model.add(layers.RandomContrast(0.2))
    for width in (16, 32, 64):
        model.add(layers.Conv2D(width, 3, padding="same", activation="relu"))
        model.add(layers.MaxPool2D())
    model.add(layers.Flatten())
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(1))
    model.compile("adam", tf.keras.losses.BinaryCrossentropy(from_logits=True))
    batches = tf.data.Dataset.from_tensor_slices(train).shuffle(len(train[1]), seed).repeat()
    model.fit(batches.batch(BATCH), steps_per_epoch=STEPS, epochs=1, verbose=0)
    return roc_auc_score(test[1], model.predict(test[0], verbose=0)[:, 0])


def mean_auroc(train: tuple, test: tuple) -> tuple[float, str]:
    """Mean over seeds, and the seeds' own."""
    values = [auroc(train, test, seed) for seed in SEEDS]
    return float(np.mean(values)), ", ".join(f"{value:.3f}" for value in values)


def diversity(synthetic: tuple, real: tuple) -> str:
    """Standard deviation of pixels within each class over that of the real ones: 0 is a collapse."""
    ratios = [
        np.std(synthetic[0][synthetic[1] == k], axis=0).mean() / np.std(real[0][real[1] == k], axis=0).mean()
        for k in (0, 1)
    ]
    return ", ".join(f"{ratio:.2f}" for ratio in ratios)


def row(data: Dataset, out: Path, real: tuple, test: tuple, on_real: float, **options) -> list:
    """Make images and judge them."""
    started = time.monotonic()
    synthesize(data.root, out, SynthesizeConfig(model="dcgan", **options))
    seconds = time.monotonic() - started
    synthetic = Dataset.load(out)
    images = arrays(synthetic, "train")
    on_synthetic, values = mean_auroc(images, test)
    return [
        f"{options.get('dp_epsilon') or 'none'}",
        synthetic.preparation["settings"]["epochs"],
        f"{seconds:.0f}",
        f"{on_synthetic:.3f} ({values})",
        f"{on_synthetic / on_real:.3f}",
        diversity(images, real),
    ]


if __name__ == "__main__":
    epochs = int(os.environ["EPOCHS"]) if "EPOCHS" in os.environ else None
    kept = os.environ.get("OUT")
    with contextlib.nullcontext(kept) if kept else tempfile.TemporaryDirectory() as name:
        root = Path(name)
        data = prepare(
            "medmnist",
            DATA / "medmnist" / "pneumoniamnist.npz",
            root / "data",
            PrepareConfig(split="official", on_duplicates="drop"),
        )
        real, test = arrays(data, "train"), arrays(data, "test")
        on_real, real_values = mean_auroc(real, test)
        rows = [["real images", "", "", f"{on_real:.3f} ({real_values})", 1.0, "1.00, 1.00"]]
        rows.append(row(data, root / "made", real, test, on_real, epochs=epochs))
        for epsilon in os.environ.get("EPSILONS", "").split():
            out = root / f"epsilon-{epsilon}"
            # Size and colour are known of the set, not read off its patients.
            private = {"dp_epsilon": float(epsilon), "image_size": 28, "channels": 1}
            rows.append(row(data, out, real, test, on_real, **private))
        table(
            [
                "epsilon",
                "epochs",
                "seconds (< 1800)",
                "AUROC on real test (>= 0.85)",
                "over trained on real (>= 0.9)",
                "spread of pixels over real, by class",
            ],
            rows,
        )
