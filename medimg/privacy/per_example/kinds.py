"""Which kind a layer is of, and what can't be trained privately at all."""

import tensorflow as tf

from medimg.errors import InputError
from medimg.privacy.per_example import any_layer, convolution, depthwise, embedding, linear, normalization
from medimg.privacy.per_example.contribution import Kind

_layers = tf.keras.layers
# By exact type: a subclass may compute something else (Conv2DTranspose is a subclass of Conv2D).
KINDS = {
    _layers.Dense: linear.DENSE,
    _layers.Conv2D: convolution.KIND,
    _layers.DepthwiseConv2D: depthwise.DEPTHWISE,
    _layers.SeparableConv2D: depthwise.SEPARABLE,
    _layers.GroupNormalization: normalization.GROUP,
    _layers.LayerNormalization: normalization.LAYER,
    _layers.Embedding: embedding.KIND,
}
_ANY_SIZE = (_layers.Dense, _layers.Embedding)
_BATCH_NORM = (
    _layers.BatchNormalization,
    _layers.experimental.SyncBatchNormalization,
    tf.compat.v1.keras.layers.BatchNormalization,
)
_RATES = ("rate", "dropout", "recurrent_dropout", "stddev")


def kind_of(layer: tf.keras.layers.Layer, shapes: list[tuple]) -> Kind:
    """The kind of a trainable layer, by its type and the shapes (None, ...) of its input in every call.

    Raises:
        InputError: its examples' gradients can't be had.
    """
    kind = KINDS.get(type(layer))
    if kind is None or _unusual(layer, shapes):
        require_repeatable(layer)
        return any_layer.KIND
    return kind


def _unusual(layer, shapes: list) -> bool:
    """Whether a layer of a known type is set in a way that only running it again covers."""
    # A layer given as activation may have weights of its own.
    if isinstance(getattr(layer, "activation", None), tf.keras.layers.Layer):
        return True
    if type(layer) in _ANY_SIZE:
        return False
    unknown = any(size is None for shape in shapes for size in shape[1:])
    channels_first = getattr(layer, "data_format", None) == "channels_first"
    last = len(shapes[0]) - 1
    other_axis = type(layer) is _layers.GroupNormalization and layer.axis not in (-1, last)
    return unknown or channels_first or other_axis


def require_repeatable(layer) -> None:
    """Refuse what draws at random otherwise than by the examples' keys, as `forward` has Dropout do.

    Raises:
        InputError: names the layer.
    """
    for part in (layer, *layer.submodules):
        if not isinstance(part, tf.keras.__internal__.layers.BaseRandomLayer):
            continue
        rates = [getattr(part, name) for name in _RATES if hasattr(part, name)]
        if not rates or any(rates):
            raise InputError(
                f"layer {layer.name} ({type(layer).__name__}): draws at random by the place in the batch, which one "
                "patient's absence shifts; set its dropout to 0, or use a layer Dropout"
            )


def check(model: tf.keras.Model) -> None:
    """Refuse what makes one example's gradient depend on the others, or hides part of the loss.

    A layer of the user's own that mixes the examples of a batch can't be recognised and must not be used.

    Raises:
        InputError: names the layer and the remedy.
    """
    for layer in model.layers:
        for part in (layer, *layer.submodules):
            if isinstance(part, tf.keras.layers.Layer) and part.trainable:
                _check_part(layer, part)
        if not layer.trainable_weights and not isinstance(layer, _layers.Dropout):
            require_repeatable(layer)
    if not model.trainable_variables:
        raise InputError(f"model {model.name}: no layer is trainable; use --freeze none or backbone")
    if model.losses:
        raise InputError(
            f"model {model.name}: has regularisation losses, which private training leaves out; use the "
            "weight decay of the optimizer (--optimizer adamw)"
        )


def _check_part(layer, part) -> None:
    where = f"layer {layer.name} ({type(part).__name__})"
    if isinstance(part, _BATCH_NORM):
        raise InputError(
            f"{where}: mixes the examples of a batch, so no example's influence can be bounded; use --norm group "
            "or freeze the backbone"
        )
    if getattr(part, "activity_regularizer", None) is not None:
        raise InputError(f"{where}: activity_regularizer is not covered; remove it")
    if part.trainable_weights and part.compute_dtype not in ("float32", "float64"):
        raise InputError(f"{where}: computes in {part.compute_dtype}; private training needs float32")
    fixed = isinstance(part, _layers.Normalization)
    if part.non_trainable_weights and not fixed and not isinstance(part, tf.keras.Model):
        raise InputError(
            f"{where}: keeps statistics of the data that no noise protects; freeze it or use another model"
        )
