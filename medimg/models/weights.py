"""Weights of a file or a Run -> a backbone, checked layer by layer."""

from pathlib import Path

import h5py
import numpy as np
import tensorflow as tf

from medimg.errors import InputError
from medimg.models import hdf5
from medimg.models.head import is_head
from medimg.untrusted.printable import printable
from medimg.untrusted.yaml_file import read_yaml

# Folders of a Run that a file of it may lie in, one in the other: `checkpoints/last-000012`, `sites`.
DEPTH = 3

Layers = list[tuple[str, list[np.ndarray]]]


def is_run(weights: str) -> bool:
    """Whether `--weights` names a Run folder."""
    return Path(weights).is_dir()


def run_of(weights: str) -> Path | None:
    """The Run that made these weights, where they lie in it: a Run folder, or a file in one; None: not known."""
    path = Path(weights).absolute()
    for folder in (path, *path.parents[:DEPTH]):
        if is_config(folder / "config.yaml"):
            return folder
    return None


def is_config(path: Path) -> bool:
    """Whether it is the `config.yaml` of a Run."""
    try:
        content = read_yaml(path) if path.is_file() else None
    except (InputError, OSError):
        # Something else; what is damaged in a Run is told when it is read.
        return False
    return isinstance(content, dict) and {"command", "data", "options"} <= set(content)


def load_backbone(model: tf.keras.Model, weights: str, name: str) -> None:
    """Set the backbone's weights from a `.h5` or `.keras` file or a Run, layer by layer in order.

    Names are not compared: Keras numbers the layers of some families by session (`conv2d_94`).

    Raises:
        InputError: not a weights file, or the first layer whose shapes differ, named on both sides.
    """
    saved = [entry for entry in _read(weights) if not is_head(entry[0])]
    wanted = [layer for layer in model.layers if layer.weights and not is_head(layer.name)]
    for number, (layer, (source, arrays)) in enumerate(zip(wanted, saved, strict=False)):
        have = [tuple(array.shape) for array in arrays]
        need = [tuple(variable.shape) for variable in layer.weights]
        if have != need and _is_top(source):
            saved = saved[:number]
            break
        if have != need:
            raise InputError(
                f"--weights {weights}: does not fit {name}: layer '{layer.name}' needs {need}, "
                f"the file's '{source}' has {have}; check --model, --model-arg, --norm and channels"
            )
    extra = [entry for entry in saved[len(wanted) :] if not _is_top(entry[0])]
    if len(saved) < len(wanted) or extra:
        first = wanted[len(saved)].name if len(saved) < len(wanted) else extra[0][0]
        where = "missing from the file" if len(saved) < len(wanted) else "not in the model"
        raise InputError(
            f"--weights {weights}: does not fit {name}: layer '{first}' is {where} "
            f"({len(saved)} layers with weights in the file, {len(wanted)} in the model)"
        )
    for layer, (_, arrays) in zip(wanted, saved, strict=False):
        layer.set_weights(arrays)


def load_head(model: tf.keras.Model, weights: str) -> None:
    """Take the head's layers over from a Run too where they have the same shape (the same number of classes)."""
    head = {layer.name: layer for layer in model.layers if is_head(layer.name)}
    for source, arrays in _read(weights):
        layer = head.get(source)
        if layer is not None and [a.shape for a in arrays] == [tuple(v.shape) for v in layer.weights]:
            layer.set_weights(arrays)


def _is_top(source: str) -> bool:
    """A classifier on top of the ImageNet backbone, which a no-top build leaves out."""
    return source in ("predictions", "fc1", "fc2", "fc1000", "conv_preds") or source.startswith("dense")


def _read(weights: str) -> Layers:
    path = Path(weights)
    if path.is_dir():
        path = path / "model.keras"
    if not path.is_file():
        raise InputError(f"--weights {weights}: no such file, nor a Run with a model.keras")
    if path.suffix == ".keras":
        from medimg.models.saving import load_model

        # Built by Keras once it has been seen to: its weights' places in the file follow from the model.
        return [(layer.name, layer.get_weights()) for layer in load_model(path).layers if layer.weights]
    try:
        with h5py.File(path, "r") as file:
            entries = _entries(file)
    except InputError as error:
        raise InputError(f"--weights {weights}: {error}") from error
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(
            f"--weights {weights}: neither a Keras .h5 nor a .keras file ({printable(str(error))})"
        ) from error
    return [entry for entry in entries if entry[1]]


def _entries(file: h5py.File) -> Layers:
    """The layers of a file of weights; a model that it may hold as well is not looked at."""
    hdf5.check(file)
    root = file.get("model_weights", file)
    if "layer_names" not in root.attrs:
        raise InputError("an HDF5 file without Keras layers")
    return [(_text(name), _arrays(root[_text(name)])) for name in root.attrs["layer_names"]]


def _arrays(group) -> list[np.ndarray]:
    return [np.asarray(group[_text(name)]) for name in group.attrs["weight_names"]]


def _text(name) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
