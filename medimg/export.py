"""export(): a Run -> `saved_models/NAME/<version>/`, proved against the Run before it gets its name."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf

from medimg import atomic
from medimg.config import ExportConfig
from medimg.dataset import Dataset
from medimg.errors import InputError
from medimg.model_card import model_card
from medimg.pipeline import load_image
from medimg.prediction import predict
from medimg.run import Run
from medimg.serving import Served

WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"

# Runs where TensorFlow is and this project is not: any import of ours fails.
_LOADER = """
import sys
for name in ("medimg", "explain", "federated", "synthetic", "cli", "keras"):
    sys.modules[name] = None
import json, numpy, tensorflow as tf
folder, request, answer = sys.argv[1:]
served = tf.saved_model.load(folder).signatures["serving_default"]
images = [open(name, "rb").read() for name in json.load(open(request))]
numpy.save(answer, numpy.concatenate([served(image_bytes=tf.constant([i]))["probabilities"] for i in images]))
"""


def export(
    run: Run,
    out: Path,
    config: ExportConfig,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write a SavedModel with its warm-up requests and model card under the next version number.

    Args:
        run: a finished training.
        out: saved_models/NAME.
        config: options.
        progress: called with steps done and steps in all.

    Returns:
        out/<version>.

    Raises:
        InputError: `out` can't be written, the Run's images are gone, or the exported model's probabilities differ
            from the Run's; nothing is left behind.
    """
    step = progress or (lambda done, total: None)
    dataset, description, model = run.dataset(), run.description(), run.model()
    rows = _sample(dataset, config.samples)
    expected = predict(model, dataset, rows, description)
    step(1, 4)
    out = Path(out)
    created = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".exporting-", dir=out))
    except OSError as error:
        raise atomic.cannot_write(out, error) from error
    try:
        served = Served(model, description, thresholds(run, description))
        _save(served, temporary)
        step(2, 4)
        difference = parity(temporary, dataset.paths(rows), expected)
        step(3, 4)
        if not difference <= config.tolerance:
            raise InputError(
                f"{out}: not exported: reloaded, the model's probabilities differ by {difference:.2e} from the Run's "
                f"(--tolerance {config.tolerance:g}) on {len(rows)} images"
            )
        _write_warmup(temporary, out.name, dataset.paths(rows), description)
        card = model_card(run, dataset, difference, len(rows))
        (temporary / "model_card.md").write_text(card, encoding="utf-8")
        step(4, 4)
        return _name(temporary, out)
    except OSError as error:
        raise atomic.cannot_write(out, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if created and out.is_dir() and not any(out.iterdir()):
            out.rmdir()


def thresholds(run: Run, description: dict) -> list[float]:
    """Per class, from the Run's evaluation on its own test part; 0.5 before one."""
    classes = description["classes"]
    path = run.root / "metrics.json"
    value = json.loads(path.read_text())["threshold"]["value"] if path.is_file() else None
    if isinstance(value, dict):
        return [float(value[name]) for name in classes]
    if isinstance(value, list):
        return [float(v) for v in value]
    return [0.5 if value is None else float(value)] * len(classes)


def parity(folder: Path, files: list[Path], expected: np.ndarray) -> float:
    """Largest difference of probabilities between the SavedModel in a fresh process and `expected` (N, classes).

    Raises:
        InputError: the fresh process can't load or run the model.
    """
    with tempfile.TemporaryDirectory() as scratch:
        request, answer = Path(scratch) / "request.json", Path(scratch) / "answer.npy"
        request.write_text(json.dumps([str(file.resolve()) for file in files]))
        done = subprocess.run(
            [sys.executable, "-I", "-c", _LOADER, folder.resolve(), request, answer],
            cwd=scratch,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise InputError(
                f"{folder.parent}: not exported: TensorFlow alone can't load the model ({last})"
            )
        return float(np.abs(np.load(answer) - expected).max())


def serving_commands(out: Path, name: str) -> list[str]:
    """Shell lines that serve the export with Docker and ask it about an image."""
    folder = Path(out).resolve()
    return [
        f"docker run --rm -p 8501:8501 -e MODEL_NAME={name} -v {folder}:/models/{name} tensorflow/serving:2.14.1",
        f'printf \'{{"instances": [{{"image_bytes": {{"b64": "%s"}}}}]}}\' "$(base64 -w0 image.png)" '
        f"| curl -s -d @- http://localhost:8501/v1/models/{name}:predict",
    ]


def _sample(dataset: Dataset, count: int) -> pd.DataFrame:
    """Real images, of the test part when there is one, spread over the classes."""
    rows = dataset.rows("test")
    rows = rows if len(rows) else dataset.manifest
    order = rows.groupby("label").cumcount().sort_values(kind="stable").index
    rows = rows.loc[order[:count]]
    missing = [path for path in dataset.paths(rows) if not path.is_file()]
    if missing:
        raise InputError(f"{missing[0]}: missing; the export proves itself on the Run's own images")
    return rows


def _save(served: Served, folder: Path) -> None:
    try:
        tf.saved_model.save(served, str(folder), signatures=served.signatures())
    except tf.errors.OpError as error:
        raise InputError(
            f"{folder.parent}: can't be written ({error.message.splitlines()[0]})"
        ) from error


def _write_warmup(folder: Path, name: str, files: list[Path], description: dict) -> None:
    """Requests that TF Serving replays before it takes traffic, for both signatures."""
    from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

    def record(signature: str, key: str, value) -> bytes:
        request = predict_pb2.PredictRequest(
            model_spec=model_pb2.ModelSpec(name=name, signature_name=signature)
        )
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        log = prediction_log_pb2.PredictLog(request=request)
        return prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString()

    path = folder / WARMUP
    path.parent.mkdir(exist_ok=True)
    size, channels = description["image_size"], description["channels"]
    with tf.io.TFRecordWriter(str(path)) as writer:
        for file in files:
            writer.write(record("serving_default", "image_bytes", [file.read_bytes()]))
        pixels = np.stack([load_image(file, size, channels) for file in files[:2]])
        writer.write(record("pixels", "pixels", pixels))


def _name(temporary: Path, out: Path) -> Path:
    """Rename to the next free version number; another export may take one at the same time."""
    temporary.chmod(0o755)
    while True:
        taken = [int(folder.name) for folder in out.iterdir() if folder.name.isdigit()]
        folder = out / str(max(taken, default=0) + 1)
        try:
            temporary.rename(folder)
        except FileExistsError:
            continue
        return folder
