"""Every model that `--model` names: its builder, preprocessing, smallest image and block boundaries."""

from collections.abc import Callable
from dataclasses import dataclass

from medimg.errors import InputError
from medimg.style.words import did_you_mean


@dataclass(frozen=True)
class Family:
    """What medimg knows of a backbone.

    Attributes:
        name: as `--model` takes it.
        application: class name in tf.keras.applications, or None for our own.
        mode: preprocessing (`medimg.models.preprocessing.MODES`).
        minimum_size: smallest image side in pixels.
        block: regular expression whose groups tell a layer's block from its name; layers without a match
            belong to the block before them.
        arguments: what `--model-arg` may set, with its type.
        fixed: arguments that we set ourselves.
        imagenet: whether Keras offers ImageNet weights.
        native_size: side of the images that the family's ImageNet weights were learnt from.
        colour: of our own, whether ImageNet weights are read into it.
    """

    name: str
    application: str | None
    mode: str
    minimum_size: int
    block: str
    arguments: dict[str, Callable] | None = None
    fixed: dict | None = None
    imagenet: bool = True
    native_size: int = 224
    colour: bool = False

    @property
    def takes_colour(self) -> bool:
        """It is given three channels, whatever the images have: its ImageNet weights are of three."""
        return self.colour or self.application is not None


# Of EfficientNet-Lite: scales of width and depth, and the side of the images that its weights were learnt from.
SCALES = {"efficientnet_lite0": (1.0, 1.0, 224), "efficientnet_lite2": (1.1, 1.2, 260)}
_EFFICIENTNET_BLOCK = r"^block(\d+)([a-z])"

FAMILIES = {
    family.name: family
    for family in (
        Family("baseline_cnn", None, "symmetric", 16, r"^stage(\d+)_", {"width": int, "stages": int}, imagenet=False),
        Family(
            "attention_cnn",
            None,
            "symmetric",
            16,
            r"^stage(\d+)_",
            {"width": int, "stages": int},
            {"attention": "cbam"},
            imagenet=False,
        ),
        Family("alexnet", None, "symmetric", 32, r"^stage(\d+)_", imagenet=False),
        Family("resnet50", "ResNet50", "caffe", 32, r"^conv(\d)_block(\d+)"),
        # Keras' EfficientNets scale inside; see `build.neutralise_normalization`.
        *(
            Family(f"efficientnet_b{i}", f"EfficientNetB{i}", "none", 32, _EFFICIENTNET_BLOCK, native_size=size)
            for i, size in enumerate((224, 240, 260, 300, 380, 456, 528, 600))
        ),
        Family(
            "efficientnet_v2_b0",
            "EfficientNetV2B0",
            "torch",
            32,
            _EFFICIENTNET_BLOCK,
            fixed={"include_preprocessing": False},
        ),
        *(
            Family(name, None, "lite", 32, r"^block(\d+)_", imagenet=False, native_size=size, colour=True)
            for name, (_, _, size) in SCALES.items()
        ),
        Family("vgg16", "VGG16", "caffe", 32, r"^block(\d)_"),
        Family("vgg19", "VGG19", "caffe", 32, r"^block(\d)_"),
        Family("inception_v3", "InceptionV3", "symmetric", 75, r"^mixed(\d+)$", native_size=299),
        Family("densenet121", "DenseNet121", "torch", 32, r"^conv(\d)_block(\d+)"),
        Family("mobilenet", "MobileNet", "symmetric", 32, r"^conv_dw_(\d+)", {"alpha": float}),
        Family("mobilenet_v2", "MobileNetV2", "symmetric", 32, r"^block_(\d+)", {"alpha": float}),
    )
}

# Models of tables: what `--model-arg` may set, with type and default. The penalty is that of scikit-learn's C = 1 at a
# few hundred rows.
ARGUMENTS: dict[str, dict[str, tuple[Callable, float]]] = {
    "logistic": {"l2": (float, 1e-3)},
    "mlp": {"width": (int, 64), "layers": (int, 2), "l2": (float, 1e-3)},
}


def family(name: str) -> Family:
    """Look a model up.

    Raises:
        InputError: no such model; names the nearest and all that exist.
    """
    if name not in FAMILIES:
        raise InputError(f"--model {name}: not known{did_you_mean(name, FAMILIES)}; known are {', '.join(FAMILIES)}")
    return FAMILIES[name]


# Arguments of every model: what each may be, its usual value first.
OF_EVERY_MODEL = {"pool": ("avg", "max"), "attention": ("none", "cbam", "se")}


def parse_arguments(chosen: Family, values: dict) -> dict:
    """Types of `--model-arg` values.

    Raises:
        InputError: the model has no such argument or the value is not of its type.
    """
    types = chosen.arguments or {}
    parsed = {}
    for key, value in values.items():
        if key in OF_EVERY_MODEL:
            if value not in OF_EVERY_MODEL[key]:
                raise InputError(f"--model-arg {key}={value}: must be {' or '.join(OF_EVERY_MODEL[key])}")
            parsed[key] = value
            continue
        if key not in types:
            offers = ", ".join((*types, *OF_EVERY_MODEL))
            raise InputError(f"--model-arg {key}: {chosen.name} has no such argument (it has {offers})")
        try:
            parsed[key] = types[key](value)
        except ValueError:
            raise InputError(f"--model-arg {key}={value}: must be {types[key].__name__}") from None
        if parsed[key] <= 0:
            raise InputError(f"--model-arg {key}={value}: must be more than 0")
    return parsed
