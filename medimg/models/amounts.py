"""How much a stranger's `.keras` file may ask for: no more numbers than it brings, and no endless calls.

A configuration of a kilobyte can describe a layer of a billion units, whose weights Keras would draw at random before
it looks for them in the file; or models nested so that each calls the one below twice.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf

from medimg.errors import InputError

# Calls of layers, those of nested models as often as they are called; EfficientNetB4 has 480.
MOST_CALLS = 5_000
# Numbers that one layer gives of one image: 1 GB. 64 channels of 1024 x 1024 pixels are a quarter of it.
MOST_ANSWERS = 1 << 28
# Variables that no file holds, such as the state of a generator of random numbers.
_SPARE = 1_000


def check_calls(config: dict) -> None:
    """See that building a model ends.

    Args:
        config: of config.json, each layer in it known to be a mapping.

    Raises:
        InputError: it asks for more than MOST_CALLS calls of layers.
    """
    if _calls(config) > MOST_CALLS:
        raise InputError(
            f"its configuration asks for more than {MOST_CALLS:,} calls of layers; the file was not opened: get the "
            "file that medimg wrote"
        )


def _calls(config: dict) -> int:
    options = config.get("config")
    layers = options.get("layers", ()) if isinstance(options, dict) else ()
    total = 1
    for layer in layers:
        nodes = layer.get("inbound_nodes")
        # Being built is a call as well.
        times = 1 + (len(nodes) if isinstance(nodes, list) else 1)
        total += times * _calls(layer)
    return total


@contextmanager
def numbers_at_most(most: int) -> Iterator[None]:
    """Within it, models' variables of more than `most` numbers together are refused before one of them takes memory.

    Args:
        most: numbers that the file of weights holds.

    Raises:
        InputError: in the block, where it is passed.
    """
    total = 0

    def create(following, **options):
        nonlocal total
        shape = options.get("shape")
        if shape is not None and tf.TensorShape(shape).is_fully_defined():
            total += math.prod(tf.TensorShape(shape).as_list())
        if total > most + _SPARE:
            raise InputError(
                f"its configuration asks for {total:,} numbers or more and its weights are {most:,}; it was not "
                "opened: get the file that medimg wrote"
            )
        return following(**options)

    with tf.variable_creator_scope(create):
        yield


def check_answers(model: tf.keras.Model) -> None:
    """See that no layer of a model makes more of one image than memory has room for.

    Raises:
        InputError: a layer gives more than MOST_ANSWERS numbers.
    """
    for layer in model._flatten_layers():
        for node in layer.inbound_nodes:
            for shape in _shapes(node.output_shapes):
                size = math.prod(side for side in shape if side is not None)
                if size > MOST_ANSWERS:
                    raise InputError(
                        f"its layer '{layer.name}' gives {size:,} numbers of one image, more than {MOST_ANSWERS:,}; "
                        "get the file that medimg wrote"
                    )


def _shapes(shapes) -> Iterator[tuple]:
    """One shape, or lists and mappings of such."""
    if isinstance(shapes, tf.TensorShape):
        yield () if shapes.rank is None else tuple(shapes.as_list())
    elif isinstance(shapes, tuple) and all(side is None or isinstance(side, int) for side in shapes):
        yield shapes
    elif isinstance(shapes, dict):
        yield from _shapes(list(shapes.values()))
    elif isinstance(shapes, list | tuple):
        for shape in shapes:
            yield from _shapes(shape)
