"""An exported MobileNet (a quarter of the width, 224 px): the SavedModel with its weights as constants against the same
with variables, as it was exported before, and against its ONNX export in ONNX Runtime.

The three take turns in one process, so that what else the machine does weighs on all alike; each has its default
threads. Times are the tenth percentile.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from benchmarks.material import table
from medimg.models.build import build
from medimg.serving import onnx_model
from medimg.serving.drawn_images import drawn_images, drawn_pixels
from medimg.serving.images import Served
from medimg.serving.onnx_client import OnnxModel

SIZE, CHANNELS = 224, 3
TRIALS = {1: 150, 32: 15}
PROMISES = {("pixels", 1): "<= 0.5 to variables", ("pixels", 32): "<= 1.3 to ONNX"}
ABOUT = {"task": "binary", "classes": ["no", "yes"], "image_size": SIZE, "channels": CHANNELS}


class WithVariables(Served):
    """The model as it was trained, its variables beside the graph."""

    def __init__(self, model: tf.keras.Model):
        super().__init__(model, ABOUT, [0.5, 0.5])
        self._forward = model
        self.held = tf.Module()
        self.held.all_variables = list(model.variables)


def exported(folder: Path) -> dict:
    """Signatures of the two SavedModels, and the ONNX model."""
    tf.keras.utils.set_random_seed(0)
    model = build("mobilenet", SIZE, CHANNELS, 2, model_arg={"alpha": "0.25"})
    signatures = {}
    for name, served in (("variables", WithVariables(model)), ("constants", Served(model, ABOUT, [0.5, 0.5]))):
        tf.saved_model.save(served, str(folder / name), signatures=served.signatures())
        signatures[name] = tf.saved_model.load(str(folder / name)).signatures
    onnx_model.save(served, ABOUT, folder)
    return {**signatures, "onnx": OnnxModel(folder)._model}


def times(tasks: list, trials: int) -> list[float]:
    """Milliseconds of each task, in turns."""
    milliseconds = np.empty((trials, len(tasks)))
    for trial in range(-3, trials):
        for place, task in enumerate(tasks):
            started = time.perf_counter()
            task()
            milliseconds[trial, place] = 1e3 * (time.perf_counter() - started)
    return np.quantile(milliseconds, 0.1, axis=0).tolist()


if __name__ == "__main__":
    rows = []
    with tempfile.TemporaryDirectory() as name:
        models = exported(Path(name))
        for batch, trials in TRIALS.items():
            pixels = drawn_pixels(batch, SIZE, CHANNELS)
            images = [drawn_images(4, SIZE, seed)[3] for seed in range(batch)]
            requests = {"pixels": {"pixels": pixels}, "serving_default": {"image_bytes": images}}
            for signature, request in requests.items():
                inputs = {name: tf.constant(values) for name, values in request.items()}
                kinds = [models[kind][signature] for kind in ("variables", "constants")]
                tasks = [lambda kind=kind, inputs=inputs: kind(**inputs)["probabilities"].numpy() for kind in kinds]
                if signature == "pixels":
                    tasks.append(lambda pixels=pixels: models["onnx"].run(["probabilities"], {"pixels": pixels}))
                before, now, *onnx = times(tasks, trials)
                ratio = now / onnx[0] if onnx else ""
                promise = PROMISES.get((signature, batch), "")
                rows.append([signature, batch, before, now, *(onnx or [""]), now / before, ratio, promise])
    table(
        ["signature", "batch", "variables ms", "constants ms", "ONNX Runtime ms", "to variables", "to ONNX", "promise"],
        rows,
    )
