"""A served model as ONNX, by tf2onnx: from pixels and raw columns to calibrated probabilities and decisions.

ONNX has no operators that decode images, clean text or read dates: `medimg.serving.onnx_client`, which travels with
the model, does it.
"""

import json
import logging
from pathlib import Path

import tensorflow as tf

from medimg.data.dates import DATE, FORM
from medimg.data.schema import MISSING, WHOLE_NUMBER
from medimg.errors import InputError
from medimg.serving.answer import ServedAnswer
from medimg.serving.both import ServedBoth
from medimg.serving.images import as_pixels
from medimg.serving.tables import ServedTable

MODEL, PREPARE = "model.onnx", "prepare.onnx"
# The newest that tf2onnx 1.17 was tested with.
OPSET = 18


def save(served: ServedAnswer, description: dict, folder: Path) -> None:
    """Write `model.onnx` and, of a model of images, `prepare.onnx`.

    `model.onnx` takes `pixels` float32 (B, S, S, C) in 0..255 and `columns` float64 (B, columns): numbers, codes of
    categories (-1: never seen), days since 1970-01-01, NaN for missing; one of them, or both. It answers
    `probabilities` float32 (B, classes), `decided` bool (B, classes) and, unless the task is multiclass, `threshold`
    float32 (classes,). Its metadata `medimg` tells the classes and the columns. `prepare.onnx` takes a decoded `image`
    int64 (H, W, 1 to 4) and what of it is white, `full`, 255 or 65535, and answers `pixels`.

    Args:
        served: the model behind its signatures.
        description: the Run's description, with `prepared_size`.
        folder: of the version.

    Raises:
        InputError: the model has an operation that can't be converted.
    """
    form = [description.get(name) for name in ("image_size", "channels", "white", "prepared_size")]
    columns = [column.to_dict() for column in served.columns] if isinstance(served, ServedTable) else []
    about = {
        "classes": list(description["classes"]),
        "task": served.task,
        "columns": columns,
        "pixels": [form[0], form[0], form[1]] if form[0] else None,
        **{"missing": MISSING, "whole_number": WHOLE_NUMBER, "date": DATE, "date_form": FORM},
    }
    inputs = []
    if form[0]:
        inputs.append(tf.TensorSpec((None, *about["pixels"]), tf.float32, name="pixels"))
        image = tf.TensorSpec((None, None, None), tf.int64, name="image")
        full = tf.TensorSpec((), tf.int64, name="full")
        _write(lambda image, full: {"pixels": as_pixels(image, full, *form)}, [image, full], folder / PREPARE, about)
    if columns:
        inputs.append(tf.TensorSpec((None, len(columns)), tf.float64, name="columns"))
    _write(lambda *tensors: _answer(served, tensors), inputs, folder / MODEL, about)


def _answer(served: ServedAnswer, tensors: tuple) -> dict:
    if isinstance(served, ServedBoth):
        tensors = [tensors[0], served.encoded(tensors[1])]
    elif isinstance(served, ServedTable):
        tensors = served.encoded(tensors[0])
    else:
        tensors = tensors[0]
    probabilities = served.probabilities(tensors)
    if served.task == "multiclass":
        decided = tf.one_hot(tf.argmax(probabilities, axis=1), probabilities.shape[1]) > 0
        return {"probabilities": probabilities, "decided": decided}
    decided = probabilities >= served.thresholds
    if served.task == "binary":
        decided = tf.stack([~decided[:, 1], decided[:, 1]], axis=1)
    return {"probabilities": probabilities, "decided": decided, "threshold": tf.constant(served.thresholds)}


def _write(function, inputs: list[tf.TensorSpec], path: Path, about: dict) -> None:
    import onnx
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    try:
        model, _ = tf2onnx.convert.from_function(tf.function(function), inputs, opset=OPSET)
    except (ValueError, RuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"--format onnx: the model can't be converted ({reason}); use savedmodel") from error
    onnx.helper.set_model_props(model, {"medimg": json.dumps(about)})
    onnx.save(model, str(path))
