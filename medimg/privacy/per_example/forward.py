"""The forward pass of a functional model, layer by layer, with what per-example gradients need."""

import zlib

import tensorflow as tf

from medimg.errors import InputError
from medimg.privacy.draws.keyed import dropped, fold_tensor
from medimg.privacy.per_example.any_layer import in_training
from medimg.privacy.per_example.contribution import Call, Kind
from medimg.privacy.per_example.kinds import kind_of


def kinds(model: tf.keras.Model) -> dict[str, Kind]:
    """The kind of every trainable layer, by name.

    Raises:
        InputError: the model is not functional, or a layer can't be trained privately.
    """
    shapes: dict[str, list] = {}
    for node in _nodes(model):
        if node.layer.trainable_weights:
            shapes.setdefault(node.layer.name, []).append(_input_shape(node))
    layers = {layer.name: layer for layer in model.layers}
    return {name: kind_of(layers[name], of_calls) for name, of_calls in shapes.items()}


def forward(model: tf.keras.Model, x, watch, chosen: dict[str, Kind], keys=None) -> tuple[tf.Tensor, dict]:
    """Run the model in training mode.

    Args:
        model: functional, one output.
        x: its input, or a list in the order of `model.inputs`.
        watch: called with every tap before it is used.
        chosen: of `kinds`.
        keys: uint64 (B,), what each example draws by (`medimg.privacy.draws.keyed`); None: nothing may be drawn.

    Returns:
        The output (B, ...), and the calls of each trainable layer by its name.

    Raises:
        InputError: a layer masks its output, or draws at random by other means than the examples' keys.
    """
    tensors = x if isinstance(x, (list, tuple)) else [x]
    values = {
        str(id(reference)): [tf.cast(tensor, reference.dtype)] * model._tensor_usage_count[str(id(reference))]
        for reference, tensor in zip(model.inputs, tensors, strict=True)
    }
    calls: dict[str, list[Call]] = {name: [] for name in chosen}
    for node in _nodes(model):
        arguments, named = node.map_arguments(values)
        layer = node.layer
        if layer.name in chosen:
            output, call = chosen[layer.name].forward(layer, arguments[0], watch)
            calls[layer.name].append(call)
        elif isinstance(layer, tf.keras.layers.Dropout):
            output = _dropout(layer, arguments[0], keys)
        else:
            output = in_training(layer, *arguments, **named)
        _refuse_masks(layer, output)
        for key, tensor in zip(node.flat_output_ids, tf.nest.flatten(output), strict=True):
            values[key] = [tensor] * model._tensor_usage_count[key]
    return values[str(id(model.outputs[0]))].pop(), calls


def _dropout(layer, values, keys):
    """By the examples' keys: by place in the batch, one patient's absence would change everybody's mask."""
    if not layer.rate:
        return values
    if keys is None:
        raise InputError(
            f"layer {layer.name} ({type(layer).__name__}): draws at random, and no example has a key to draw by; give "
            "the examples' keys, or set its rate to 0"
        )
    of_layer = fold_tensor(keys, zlib.crc32(layer.name.encode()))
    return dropped(values, of_layer, layer.rate, layer.noise_shape)


def _nodes(model: tf.keras.Model) -> list:
    """The uses of layers, each after those that it needs.

    Keras 2 has no public way to them: TensorFlow Privacy reads the same attribute, as do Keras' own tools.
    """
    by_depth = getattr(model, "_nodes_by_depth", None)
    if by_depth is None or len(model.outputs) != 1:
        raise InputError(f"model {model.name}: must be functional with one output for private training")
    depths = sorted(by_depth, reverse=True)
    return [node for depth in depths for node in by_depth[depth] if not node.is_input]


def _input_shape(node) -> tuple:
    alone = len(node.call_args) == 1 and tf.keras.backend.is_keras_tensor(node.call_args[0])
    if not alone or any(map(tf.is_tensor, tf.nest.flatten(node.call_kwargs))):
        raise InputError(
            f"layer {node.layer.name} ({type(node.layer).__name__}): has several inputs, which private training "
            "does not cover; freeze it or use another model"
        )
    return tuple(node.call_args[0].shape)


def _refuse_masks(layer, output) -> None:
    if any(getattr(tensor, "_keras_mask", None) is not None for tensor in tf.nest.flatten(output)):
        raise InputError(
            f"layer {layer.name}: masks its output, which private training does not pass on; set mask_zero=False"
        )
