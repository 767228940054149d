"""build(): a registry name -> an un-nested functional Keras model."""

import tensorflow as tf

from medimg.errors import InputError
from medimg.models import alexnet, baseline_cnn, efficientnet_lite
from medimg.models.group_norm import with_group_norm
from medimg.models.head import with_head
from medimg.models.preprocessing import ColourWhitening, Preprocessing
from medimg.models.registry import OF_EVERY_MODEL, SCALES, Family, family, parse_arguments
from medimg.pipeline.whitening import Whitening

# Of BatchNorm's moving averages. Keras' 0.99 and 0.999 are for ImageNet's many steps: after the few hundred of a
# medical set the averages still lie near their start, and the model in inference is not the one that was trained.
MOMENTUM = 0.9
# Keras gives EfficientNet's "variance" these standard deviations and divides by their root once more.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_DEVIATION = (0.229, 0.224, 0.225)


def build(
    name: str,
    image_size: int,
    channels: int,
    classes: int,
    weights: str | None = None,
    norm: str = "batch",
    dropout: float = 0.2,
    model_arg: dict | None = None,
    normalize: Whitening | None = None,
    columns: int = 0,
) -> tf.keras.Model:
    """Build a classifier: raw pixels 0..255 float32 (B, S, S, C) in, logits (B, classes) out.

    Args:
        name: a model of the registry.
        image_size: S.
        channels: C, 1 or 3.
        classes: number of outputs.
        weights: None or `none` (random), `imagenet`, a weights file or a Run folder.
        norm: `batch`, or `group`: every BatchNormalization becomes a GroupNormalization.
        dropout: before the last layer.
        model_arg: arguments of the model's own, e.g. {"alpha": 0.35}.
        normalize: what becomes of colours: whitened in the place of the backbone's usual scaling (`ColourWhitening`
            says what ImageNet weights lose by it), brought to the mean and spread of ImageNet's channels, or made grey,
            before it. Not part of `weights`: a Run's weights fit only with the Run's whitening.
        columns: F of a table, float32 (B, F), that are a second input; 0: there is none.

    Raises:
        InputError: unknown model or argument, image too small, weights that don't fit, or a whitening of another
            number of channels.
    """
    from medimg.models import weights as loading

    chosen = family(name)
    arguments = parse_arguments(chosen, model_arg or {})
    pool, attention = (arguments.pop(name, usual[0]) for name, usual in OF_EVERY_MODEL.items())
    _check_size(chosen, arguments, image_size)
    wanted = None if weights in (None, "none") else str(weights)
    if wanted == "imagenet" and not chosen.imagenet:
        raise InputError(f"--weights imagenet: {name} has no ImageNet weights; use --weights none")
    pixels = tf.keras.Input((image_size, image_size, channels), name="pixels")
    if chosen.application is None:
        prepared = _prepared(pixels, chosen, 3 if chosen.takes_colour else channels, normalize)
        features = _of_ours(chosen, prepared, arguments)
    else:
        prepared = _prepared(pixels, chosen, 3, normalize)
        application = _application(chosen, prepared, image_size, arguments, wanted)
        features = application.output
        if wanted and wanted != "imagenet":
            loading.load_backbone(application, wanted, chosen.name)
        if wanted != "imagenet":
            neutralise_normalization(application)
    model = with_head(pixels, features, classes, dropout, pool, chosen.name, attention.replace("none", ""), columns)
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = MOMENTUM
    if norm == "group":
        model = with_group_norm(model)
    if chosen.application is None and wanted:
        loading.load_backbone(model, wanted, chosen.name)
    elif wanted and loading.is_run(wanted):
        loading.load_head(model, wanted)
    return model


def _of_ours(chosen: Family, prepared, arguments: dict):
    """Features of a network that is not of tf.keras.applications."""
    backbones = {"alexnet": alexnet.backbone, **dict.fromkeys(SCALES, efficientnet_lite.backbone)}
    named = {"name": chosen.name} if chosen.name in SCALES else {}
    backbone = backbones.get(chosen.name, baseline_cnn.backbone)
    return backbone(prepared, **arguments, **(chosen.fixed or {}), **named)


def _prepared(pixels, chosen: Family, wanted: int, normalize: Whitening | None):
    """The first layers, from C channels to those that are wanted."""
    # 0..255 minus a mean loses too much in the half of the bits of a training of mixed precision.
    full = {"dtype": tf.float32}
    usual = Preprocessing(chosen.mode, wanted, name="preprocessing", **full)
    if normalize is None:
        return usual(pixels)
    channels = pixels.shape[-1]
    if len(normalize.mean) != channels:
        raise InputError(
            f"--normalize {normalize.method}: is of {len(normalize.mean)} channels, the images have {channels}; use "
            "the same --channels"
        )
    colours = (normalize.mean, normalize.matrix, wanted)
    # Our own networks have no input that they are used to.
    if normalize.method == "pca" or (normalize.method == "standard" and not chosen.application):
        mode = chosen.mode if chosen.application else None
        return ColourWhitening(*colours, mode, name="preprocessing", **full)(pixels)
    mode = "none" if normalize.method == "standard" else None
    return usual(ColourWhitening(*colours, mode, name="colours", **full)(pixels))


def _check_size(chosen: Family, arguments: dict, image_size: int) -> None:
    smallest = chosen.minimum_size
    if "stages" in arguments:
        smallest = 2 ** arguments["stages"]
    if image_size < smallest:
        raise InputError(f"--image-size {image_size}: {chosen.name} needs at least {smallest}")


def _application(chosen: Family, prepared, image_size: int, arguments: dict, wanted: str | None) -> tf.keras.Model:
    constructor = getattr(tf.keras.applications, chosen.application)
    try:
        return constructor(
            include_top=False,
            weights="imagenet" if wanted == "imagenet" else None,
            input_tensor=prepared,
            input_shape=(image_size, image_size, 3),
            **arguments,
            **(chosen.fixed or {}),
        )
    except InputError:
        raise
    except Exception as error:
        if wanted != "imagenet":
            raise InputError(f"--model {chosen.name}: {_first_line(error)}") from error
        raise InputError(
            f"--weights imagenet: the weights of {chosen.name} can't be had here ({_first_line(error)}); "
            "download the no-top .h5 file from the Keras applications page on a machine with internet "
            "and give its path, or use --weights none"
        ) from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]


def neutralise_normalization(application: tf.keras.Model) -> None:
    """Give EfficientNet's inner Normalization the ImageNet mean and standard deviation.

    With `weights="imagenet"` Keras divides by the root of the deviation twice, once in this layer and once in a
    Rescaling that it leaves out of any other build; writing the square here gives the same in one step.
    """
    for layer in application.layers:
        if isinstance(layer, tf.keras.layers.Normalization):
            shape = layer.mean.shape
            layer.set_weights(
                [
                    tf.reshape(tf.constant(_IMAGENET_MEAN), layer.get_weights()[0].shape).numpy(),
                    tf.reshape(tf.square(tf.constant(_IMAGENET_DEVIATION)), layer.get_weights()[1].shape).numpy(),
                    *layer.get_weights()[2:],
                ]
            )
            # The layer reads its constants from these attributes, not from the weights just set.
            layer.mean = tf.reshape(tf.constant(_IMAGENET_MEAN), shape)
            layer.variance = tf.reshape(tf.square(tf.constant(_IMAGENET_DEVIATION)), shape)
