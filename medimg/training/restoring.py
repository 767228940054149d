"""Variables read from a checkpoint: those of the model and the optimizer, each of its kind and shape, and nothing else.

TensorFlow's own restoring also keeps what nothing asks for until something of its name comes, makes variables of it,
and calls savers that the file names.
"""

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import trackable_object_graph_pb2

from medimg.untrusted.printable import printable
from medimg.untrusted.tensor_bundle import Stored, check_text, read_bundle

_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
_VALUE = "VARIABLE_VALUE"


def restore(path: Path, **trackables) -> None:
    """Give every variable its value.

    Args:
        path: of the checkpoint, without `.index`.
        **trackables: models and optimizers, all of whose variables exist.

    Raises:
        OSError: a file can't be read.
        ValueError, tf.errors.OpError: it is damaged, or lacks a variable, or has one of another kind or shape.
    """
    stored = read_bundle(path)
    if _GRAPH not in stored:
        raise ValueError("it does not say whose its variables are")
    check_text(_GRAPH, stored[_GRAPH])
    reader = tf.train.load_checkpoint(str(path))
    nodes = _nodes(reader.get_tensor(_GRAPH))
    root = tf.train.Checkpoint(**trackables)
    found = [(variable, _key(variable, node, stored)) for variable, node in _variables(nodes, root)]
    for variable, key in found:
        variable.assign(reader.get_tensor(key))


def _nodes(content: bytes) -> list:
    """Of the objects that were saved."""
    graph = trackable_object_graph_pb2.TrackableObjectGraph()
    try:
        graph.ParseFromString(content)
    except DecodeError as error:
        raise ValueError("what says whose its variables are is not readable") from error
    return list(graph.nodes)


def _variables(nodes: list, root: tf.train.Checkpoint) -> Iterator[tuple]:
    """Each variable below the root, and what was saved in its place; None: nothing was."""
    view = tf.train.TrackableView(root)
    waiting, unnamed = deque([(root, nodes[0] if nodes else None)]), [root]
    seen = {id(root)}
    for here, node in _taken(waiting, unnamed, seen):
        if isinstance(here, tf.Variable):
            yield here, node
            continue
        if node is not None and node.attributes:
            raise ValueError("it holds the state of what has none")
        numbers = {} if node is None else {child.local_name: child.node_id for child in node.children}
        for name, child in view.children(here).items():
            # Kept, so that none that comes later has its id.
            unnamed.append(child)
            number = numbers.get(name, -1)
            if 0 <= number < len(nodes) and id(child) not in seen:
                seen.add(id(child))
                waiting.append((child, nodes[number]))


def _taken(waiting: deque, unnamed: list, seen: set[int]) -> Iterator[tuple]:
    """What waits, then all that nothing was saved for by any of its names."""
    while waiting:
        yield waiting.popleft()
    for child in unnamed:
        if id(child) not in seen:
            seen.add(id(child))
            yield child, None


def _key(variable: tf.Variable, node, stored: dict[str, Stored]) -> str:
    """Name of the tensor that is the variable's value."""
    name = printable(variable.name)
    keys = [] if node is None else [one.checkpoint_key for one in node.attributes if one.name == _VALUE]
    if len(keys) != 1 or keys[0] not in stored:
        raise ValueError(f"it holds nothing for '{name}'")
    one = stored[keys[0]]
    if (one.dtype, one.shape) != (variable.dtype, tuple(variable.shape)):
        raise ValueError(
            f"'{name}' is {variable.dtype.name} of {tuple(variable.shape)}, and {one.dtype.name} of {one.shape} in it"
        )
    return keys[0]
