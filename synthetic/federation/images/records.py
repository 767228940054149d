"""A client's images and their classes as records on its own disk, as the rounds read them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from federated.clients.client import Client
from federated.engine import records
from federated.engine.records import ClientData, Layout
from medimg.pipeline.pixels import PixelCache, as_pixels
from synthetic.images.dcgan import CACHE_GB
from synthetic.images.plan import GanPlan


def layout_of(plan: GanPlan, dataset, bits: int) -> Layout:
    """Of a client's images and their classes.

    Args:
        plan: settled.
        dataset: with `task` and `classes`: a Dataset, or a description of those at sites.
        bits: of a pixel; more than eight become fractions of 255, which no integer holds.
    """
    multilabel = dataset.task == "multilabel"
    return Layout(
        input_shape=(plan.image_size, plan.image_size, plan.channels),
        input_type="float32" if bits > 8 else "uint8",
        target_shape=(len(dataset.classes),) if multilabel else (),
        target_type="float32" if multilabel else "int64",
    )


def written(
    client: Client,
    plan: GanPlan,
    layout: Layout,
    folder: Path,
    private: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ClientData:
    """The client's images and classes on its own disk.

    Args:
        client: with the rows that are learnt from alone.
        plan: settled.
        layout: of the images.
        folder: of the records.
        private: by patients.
        progress: called with how many images are read, and of how many.
    """
    dataset = client.dataset
    rows = dataset.manifest
    cache = PixelCache.build(
        dataset.paths(rows),
        plan.image_size,
        plan.channels,
        CACHE_GB,
        folder,
        "pixels",
        progress,
    )
    try:
        pixels = cache.take(np.arange(len(rows)))
        pixels = pixels if layout.input_type == "uint8" else as_pixels(pixels)
        pixels = np.asarray(pixels, layout.input_type)
        targets = dataset.targets(rows).astype(layout.target_type)
        return records.write(folder, client.name, pixels, targets, units=rows["patient"] if private else None)
    finally:
        cache.close()
