"""Images of a generator: as files, and as a grid for the eye."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from medimg.data.imaging import write_png
from synthetic.images.classes import ClassMix
from synthetic.images.networks import Gan
from synthetic.images.noise import generator_inputs, seed_of

AT_ONCE = 64
GRID_ROWS, GRID_COLUMNS = 8, 12


def draw(gan: Gan, conditions: np.ndarray, seed: np.ndarray) -> np.ndarray:
    """Images of the averaged generator.

    Args:
        gan: trained.
        conditions: (N, classes).
        seed: int32 (2,).

    Returns:
        uint8 (N, S, S, C).
    """
    inputs = generator_inputs(gan, tf.constant(conditions, tf.float32), seed)
    pixels = gan.average(inputs, training=False).numpy()
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def write_images(
    gan: Gan, mix: ClassMix, count: int, folder: Path, seed: int, step: Callable[[str, int, int], None]
) -> tuple[list[str], list[str]]:
    """Draw images in the classes' shares and write them as PNG.

    Args:
        gan: trained.
        mix: labels and shares.
        count: images.
        folder: of the Dataset; they go into its `images/`.
        seed: of the noise.
        step: is told how far it is.

    Returns:
        Paths relative to the folder, and labels.
    """
    classes = np.repeat(np.arange(len(mix.labels)), mix.counts(count))
    images = []
    for start in range(0, count, AT_ONCE):
        part = classes[start : start + AT_ONCE]
        pixels = draw(gan, mix.conditions[part], seed_of(seed, "images", start))
        for number, image in enumerate(pixels, start + 1):
            name = f"images/synthetic-{number:06d}.png"
            write_png(folder / name, image[:, :, 0] if image.shape[2] == 1 else image)
            images.append(name)
        step("images", min(start + AT_ONCE, count), count)
    return images, [mix.labels[i] for i in classes]


def write_grid(gan: Gan, mix: ClassMix, path: Path, seed: int) -> None:
    """Samples in rows of one label each, the most frequent first, from the same noise at every call."""
    order = np.argsort(-mix.shares, kind="stable")[:GRID_ROWS]
    rows = np.repeat(order, max(1, GRID_ROWS // 2 // len(order)))
    conditions = mix.conditions[np.repeat(rows, GRID_COLUMNS)]
    pixels = draw(gan, conditions, seed_of(seed, "grid"))
    height, width, channels = pixels.shape[1:]
    grid = pixels.reshape(len(rows), GRID_COLUMNS, height, width, channels)
    grid = grid.transpose(0, 2, 1, 3, 4).reshape(len(rows) * height, -1, channels)
    # Small images are shown larger: nobody sees 28 pixels.
    grid = grid.repeat(max(1, 96 // height), axis=0).repeat(max(1, 96 // width), axis=1)
    write_png(path, grid[:, :, 0] if channels == 1 else grid)
