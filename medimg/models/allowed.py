"""What a `.keras` file may be made of: checked from the file's own words before Keras builds anything of it.

Keras' safe mode refuses lambdas and nothing else: a configuration may name any class or function of any module that
can be imported, an operation of TensorFlow that writes files, or a layer that reads them; and a file under the name of
`.keras` that is HDF5, or a folder, is opened without safe mode. So the file must be the zip format, hold what Keras
writes and no more, and name only what is listed here. Source: keras 2.14, `saving/serialization_lib.py`.
"""

import io
import json
import zipfile
from pathlib import Path

import h5py

from medimg.errors import InputError
from medimg.models import amounts, hdf5
from medimg.untrusted.printable import printable

_START = b"PK\x03\x04"
_CONFIG, _WEIGHTS = "config.json", "model.weights.h5"
_MEMBERS = {"metadata.json", _CONFIG, _WEIGHTS}
_LARGEST_CONFIG = 8 << 20  # bytes; the largest model of the registry has 0.4 MB

# Layers that compute with what they are given: none reads a file, runs a function that it is told, or holds another.
_KERAS = {
    "keras.layers": """
        Activation Add Average AveragePooling2D BatchNormalization CenterCrop Concatenate Conv2D Conv2DTranspose
        Cropping2D Dense DepthwiseConv2D Dropout ELU Flatten GaussianDropout GaussianNoise GlobalAveragePooling2D
        GlobalMaxPooling2D GroupNormalization InputLayer LayerNormalization LeakyReLU MaxPooling2D Maximum Minimum
        Multiply Normalization PReLU Permute RandomBrightness RandomContrast RandomCrop RandomFlip RandomRotation
        RandomTranslation RandomZoom ReLU Rescaling Reshape Resizing SeparableConv2D Softmax SpatialDropout2D Subtract
        UnitNormalization UpSampling2D ZeroPadding2D
    """,
    "keras.initializers": """
        Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity LecunNormal LecunUniform Ones Orthogonal
        RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
    """,
    "keras.regularizers": "L1 L2 L1L2 OrthogonalRegularizer",
    "keras.constraints": "MaxNorm MinMaxNorm NonNeg UnitNorm",
}
_ACTIVATION = """
    elu exponential gelu hard_sigmoid leaky_relu linear log_softmax mish relu relu6 selu sigmoid silu softmax softplus
    softsign swish tanh
"""
_ACTIVATIONS = frozenset(_ACTIVATION.split())
# (module, class_name, registered_name): a registered name decides over the other two, so all three must be known.
_MODELS = {("keras.src.engine.functional", "Functional", "Functional"), ("keras", "Sequential", None)}
_OWN = {
    (f"medimg.models.{module}", name, f"medimg>{name}")
    for module, names in {
        "preprocessing": "Preprocessing ColourWhitening",
        "resizing": "AtSize",
        "attention": "ChannelPool",
        "ensemble": "SoftVote",
    }.items()
    for name in names.split()
}
ALLOWED = _MODELS | _OWN | {(module, name, None) for module, names in _KERAS.items() for name in names.split()}
# Layers that are made of `x / 255` and the like name any function of TensorFlow, writing files among them: these alone.
_OPERATION = ("keras.src.layers.core.tf_op_layer", "TFOpLambda", "TFOpLambda")
_OPERATIONS = frozenset(("math.add", "math.subtract", "math.multiply", "math.truediv", "math.divide", "math.negative"))
# What says that a mapping is an object, not plain values.
_OBJECT_KEYS = {"class_name", "module", "registered_name", "spec_name"}
# Options that Keras looks up by name where it gets text.
_LOOKED_UP = ("activation", "_initializer", "_regularizer", "_constraint")


def check_file(path: Path) -> int:
    """See that a `.keras` file may be opened; nothing of it is executed.

    Returns:
        How many numbers its weights are: what its configuration may ask for.

    Raises:
        InputError: it is not the zip format, holds more than a model, or names what is not allowed.
    """
    try:
        with Path(path).open("rb") as file:
            start = file.read(len(hdf5.SIGNATURE))
    except OSError as error:
        raise InputError(f"{path}: can't be read ({error.strerror or error})") from error
    if start[: len(_START)] != _START:
        kind = "an HDF5 file" if start == hdf5.SIGNATURE else "another kind of file"
        raise InputError(
            f"{path}: is {kind}, not the zip that a .keras file is; it may run code when it is opened, so it was not: "
            "get the file that medimg wrote"
        )
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(path, archive)
            config = json.loads(archive.read(_CONFIG))
            _check_model(path, config)
            amounts.check_calls(config)
            with h5py.File(io.BytesIO(archive.read(_WEIGHTS)), "r") as weights:
                return hdf5.check(weights)
    except InputError as error:
        raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        # RecursionError and an encrypted member are RuntimeErrors, broken JSON a ValueError.
        raise InputError(f"{path}: not readable as a Keras model ({printable(str(error))})") from error


def _check_members(path: Path, archive: zipfile.ZipFile) -> None:
    names = archive.namelist()
    for name in names:
        if name not in _MEMBERS or names.count(name) > 1:
            raise InputError(
                f"{path}: holds '{printable(name)}', which is no part of a model, or holds it twice; it was not "
                "opened: get the file that medimg wrote"
            )
    for name in (_CONFIG, _WEIGHTS):
        if name not in names:
            raise InputError(f"{path}: '{name}' is missing; it is not a Keras model")
    if archive.getinfo(_CONFIG).file_size > _LARGEST_CONFIG:
        raise InputError(f"{path}: its {_CONFIG} is larger than {_LARGEST_CONFIG >> 20} MB")
    weights = archive.getinfo(_WEIGHTS)
    if weights.file_size > hdf5.LARGEST:
        raise InputError(f"{path}: its weights are larger than {hdf5.LARGEST >> 30} GB")
    # Keras stores them as they are; weights hardly shrink, so what is packed tightly is a bomb.
    if weights.file_size > hdf5.SMALL + hdf5.GROWTH * weights.compress_size:
        raise InputError(
            f"{path}: its weights are {weights.file_size >> 20} MB packed into {weights.compress_size >> 10} KB; it "
            "was not opened: get the file that medimg wrote"
        )


def _check_model(path: Path, config: object) -> None:
    if not isinstance(config, dict) or _named(config) not in _MODELS:
        raise InputError(
            f"{path}: {_words(config)} is not a model of layers; it was not opened: get the file that medimg wrote"
        )
    # The outermost one is never compiled: `load_model(compile=False)`.
    _check(path, {**config, "compile_config": None}, "the model")


def _check(path: Path, value: object, where: str) -> None:
    """Refuse what Keras would look up or build and is not allowed, anywhere below `value`."""
    if isinstance(value, list):
        for item in value:
            _check(path, item, where)
    if not isinstance(value, dict):
        return
    if _OBJECT_KEYS & set(value):
        where = _place(value) or where
        if _named(value) not in ALLOWED and not _is_arithmetic(value):
            raise InputError(
                f"{path}: {where} is {_words(value)}, which medimg's models are not made of and which may run code; "
                "the file was not opened"
            )
        _check_parts(path, value, where)
    for key, content in value.items():
        looked_up = isinstance(content, str) and key.endswith(_LOOKED_UP)
        if looked_up and not (key.endswith("activation") and content in _ACTIVATIONS):
            raise InputError(
                f"{path}: {where} has {printable(key)} '{printable(content)}', which is not known; the file was not "
                "opened"
            )
        _check(path, content, where)


def _check_parts(path: Path, value: dict, where: str) -> None:
    """What an object's mapping holds beside its name."""
    if value.get("compile_config") is not None:
        raise InputError(f"{path}: {where} is compiled inside the model; the file was not opened")
    config = value.get("config")
    if not isinstance(config, dict):
        raise InputError(f"{path}: {where} has no configuration; the file was not opened")
    if value.get("class_name") == "Normalization" and not config.get("mean") is config.get("variance") is None:
        # Keras spreads given ones over as many numbers as the layer's input has: no weights of the file.
        raise InputError(f"{path}: {where} has a mean of its own, not among the weights; the file was not opened")
    layers = config.get("layers", ())
    if not isinstance(layers, list | tuple):
        raise InputError(f"{path}: {where} has no list of layers; the file was not opened")
    for layer in layers:
        if not isinstance(layer, dict) or not layer.get("class_name"):
            raise InputError(f"{path}: {where} has a layer without a class; the file was not opened")


def _named(value: dict) -> tuple:
    names = tuple(value.get(key) for key in ("module", "class_name", "registered_name"))
    # Lists can't be looked up.
    return names if all(isinstance(name, str | None) for name in names) else ()


def _is_arithmetic(value: dict) -> bool:
    config = value.get("config")
    function = config.get("function") if isinstance(config, dict) else None
    return _named(value) == _OPERATION and isinstance(function, str) and function in _OPERATIONS


def _words(value: object) -> str:
    if not isinstance(value, dict):
        return "its configuration"
    name = f"{value.get('module')}.{value.get('class_name')}"
    registered = value.get("registered_name")
    named = f" (registered as {registered})" if registered else ""
    # The name of a function is its configuration, or in it.
    config = value.get("config")
    function = config.get("function") if isinstance(config, dict) else config
    called = f" '{function}'" if isinstance(function, str) else ""
    return printable(name + called + named)


def _place(value: dict) -> str:
    config = value.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    return f"layer '{printable(name)}'" if isinstance(name, str) else ""
