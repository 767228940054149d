"""Blocks of a backbone, for freezing the lower and fine-tuning the upper ones."""

import re

import tensorflow as tf

from medimg.errors import InputError
from medimg.models.head import is_head
from medimg.models.registry import family


def blocks(model: tf.keras.Model) -> list[list[tf.keras.layers.Layer]]:
    """The backbone's layers by block, from the input up; the stem and what follows a block are part of it."""
    pattern = re.compile(family(model.name).block)
    grouped, current = [[]], None
    for layer in model.layers:
        if is_head(layer.name):
            continue
        match = pattern.match(layer.name)
        if match and match.groups() != current:
            # The layers before the first block are the stem, the first entry.
            current = match.groups()
            grouped.append([])
        grouped[-1].append(layer)
    grouped = [group for group in grouped if group]
    # Inception names its blocks by their last layer, so what follows the last one is no block of its own.
    if len(grouped) > 1 and not any(layer.weights for layer in grouped[-1]):
        grouped[-2].extend(grouped.pop())
    return grouped


def freeze(model: tf.keras.Model, lower: int | None) -> None:
    """Freeze the first `lower` blocks (None: the whole backbone), train the rest.

    BatchNorm of a partly frozen backbone stays in inference mode throughout: batches of a small set would
    overwrite the statistics that the frozen part was trained with (the Keras transfer-learning guide).

    Raises:
        InputError: more blocks than the model has.
    """
    grouped = blocks(model)
    if lower is not None and lower > len(grouped):
        raise InputError(f"--freeze {lower}: {model.name} has {len(grouped)} blocks; use --freeze backbone")
    frozen = len(grouped) if lower is None else lower
    for number, group in enumerate(grouped):
        for layer in group:
            norm = isinstance(layer, tf.keras.layers.BatchNormalization)
            fixed = isinstance(layer, tf.keras.layers.Normalization) or layer.name == "preprocessing"
            layer.trainable = not (fixed or number < frozen or (norm and frozen > 0))
    for layer in model.layers:
        layer.trainable = layer.trainable or is_head(layer.name)
