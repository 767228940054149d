"""A client's rows as the model takes them: written as records for its training, or held for a central evaluation."""

from pathlib import Path

import numpy as np
import pandas as pd

from federated.clients.plan import ClientPlan
from federated.engine import records
from federated.engine.records import ClientData
from federated.statistics import Schema, agreed, require_inputs
from federated.statistics import training_rows as of_training
from medimg.data.dataset import Dataset
from medimg.listener import Progress
from medimg.pipeline.balance import class_weights
from medimg.pipeline.pixels import PixelCache, as_pixels
from medimg.tables.preprocessing import Preprocessing
from medimg.training import features


def training_rows(dataset: Dataset, plan: ClientPlan) -> pd.DataFrame:
    """The client's labelled rows in train; with `--missing drop-rows` those complete in all columns that count."""
    drops = plan.is_table and plan.config.missing == "drop-rows"
    return of_training(dataset, plan.known) if drops else dataset.rows("train", labelled=True)


def prepare(
    dataset: Dataset, plan: ClientPlan, folder: Path, name: str, progress: Progress | None = None
) -> ClientData:
    """Write the records that a client trains on.

    Args:
        dataset: of the client.
        plan: of the federation.
        folder: for the records.
        name: of the client.
        progress: called with images done and images in all.

    Raises:
        InputError: an image or value can't be read, or the folder can't be written.
    """
    if plan.is_table:
        dataset = agreed(dataset, Schema.from_dict(plan.schema))
        require_inputs(dataset, Preprocessing.from_dict(plan.description["preprocessing"]).inputs)
    rows = training_rows(dataset, plan)
    source = inputs(dataset, rows, plan, folder, progress)
    targets = dataset.targets(rows)
    kind = plan.layout.target_type
    weights = None
    if plan.config.balance == "class-weight":
        weights = class_weights(targets, len(dataset.classes))[targets]
    units = rows["patient"] if plan.private else None
    try:
        slices = _Slices(source, plan.layout.input_type)
        return records.write(folder, name, slices, targets.astype(kind), weights, units)
    finally:
        if isinstance(source, PixelCache):
            source.close()


def inputs(
    dataset: Dataset, rows: pd.DataFrame, plan: ClientPlan, folder: Path, progress: Progress | None = None
) -> PixelCache | np.ndarray:
    """What the trained part of the model takes of some rows, in their order.

    Args:
        dataset: where the rows are from.
        rows: of its manifest.
        plan: of the federation.
        folder: for pixels that do not fit in `--cache-budget`.
        progress: called with images done and images in all.

    Returns:
        A table's preprocessed columns or a backbone's features, float32 (N, F), or pixels.
    """
    if plan.is_table:
        return Preprocessing.from_dict(plan.description["preprocessing"]).transform(rows)
    config, description = plan.config, plan.description
    cache = PixelCache.build(
        dataset.paths(rows),
        description["image_size"],
        description["channels"],
        config.cache_budget,
        folder,
        "pixels",
        progress,
    )
    if not plan.on_features:
        return cache
    forward = features.forward_function(features.extractor(plan.model))
    try:
        return features.compute(forward, cache, config.batch_size)[0]
    finally:
        cache.close()


class _Slices:
    """Some rows at a time, in the records' type."""

    def __init__(self, source: PixelCache | np.ndarray, kind: str):
        self._source, self._kind = source, kind

    def __getitem__(self, rows: slice) -> np.ndarray:
        if not isinstance(self._source, PixelCache):
            return self._source[rows].astype(self._kind)
        start, stop, _ = rows.indices(len(self._source))
        raw = self._source.take(np.arange(start, stop))
        return raw if self._kind == "uint8" else as_pixels(raw)
