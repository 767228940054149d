"""Looks through a folder for anything of a Dataset's patients: files, pixels, rows, names; plain or inside requests."""

from pathlib import Path

import cv2
import numpy as np
import tensorflow as tf

from medimg.data.dataset import Dataset
from medimg.pipeline.pixels import load_image
from medimg.serving.requests import WARMUP
from medimg.tables.preprocessing import Preprocessing

# Drawn smooth noise and a patient's picture agree by less; the same picture, resized or recoded, by more.
ALIKE = 0.8
SIDE = 16  # pixels, at which pictures are compared


def traces(folder: Path, dataset: Dataset, description: dict) -> list[str]:
    """What of the patients is in the folder, empty when there is nothing.

    Args:
        folder: any; every file in it is read.
        dataset: whose patients. Identifiers have to be long enough not to be met by chance.
        description: of the Run.
    """
    found = []
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
    marks = _marks(dataset, description)
    for path in files:
        content = path.read_bytes()
        for name, mark in marks.items():
            # Medians are constants of a table's graph, and one may be a row's value.
            if mark in content and not (name.startswith("float") and path.suffix == ".pb"):
                found.append(f"{path.name}: {name}")
    warmup = Path(folder) / WARMUP
    if warmup.is_file():
        found += _in_requests(warmup, dataset, description)
    return found


def requests(warmup: Path):
    """The PredictRequests of a warm-up log with their inputs as arrays."""
    from tensorflow_serving.apis import prediction_log_pb2

    for record in tf.data.TFRecordDataset(str(warmup)):
        request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
        yield request, {key: tf.make_ndarray(value) for key, value in request.inputs.items()}


def _marks(dataset: Dataset, description: dict) -> dict[str, bytes]:
    rows = dataset.manifest
    names = ["row", "patient"] if dataset.is_table else ["image", "patient"]
    names += [feature.name for feature in dataset.features or () if feature.type == "identifier"]
    marks = {f"{name} {value}": value.encode() for name in names for value in rows[name]}
    if dataset.is_table:
        for feature in dataset.inputs:
            if feature.type == "continuous":
                for value in rows[feature.name].dropna():
                    marks[f"{feature.name} {value}"] = str(value).encode()
                    marks[f"{feature.name} {value:.6f}"] = f"{value:.6f}".encode()
                    marks[f"float64 {feature.name} {value}"] = np.float64(value).tobytes()
            if feature.type == "date":
                marks |= {f"{feature.name} {day}": day.encode() for day in rows[feature.name]}
        return marks
    for path in dataset.paths(rows):
        data, pixels = path.read_bytes(), cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        marks[f"file {path.name}"] = data[60:124]
        marks[f"uint8 pixels {path.name}"] = pixels.tobytes()[:64]
        taken = load_image(path, description["image_size"], description["channels"])
        marks[f"float32 pixels {path.name}"] = taken.tobytes()[:64]
    return marks


def _in_requests(warmup: Path, dataset: Dataset, description: dict) -> list[str]:
    sent = [inputs for _, inputs in requests(warmup)]
    if dataset.is_table:
        return _rows_in(sent, dataset, description)
    pictures = [cv2.imdecode(np.frombuffer(data, np.uint8), -1) for s in sent for data in _bytes(s)]
    pictures += [pixels for s in sent for pixels in s.get("pixels", ())]
    assert pictures
    theirs = {path.name: _small(cv2.imread(str(path), -1)) for path in dataset.paths(dataset.manifest)}
    return [
        f"request {number} shows {name}"
        for number, picture in enumerate(pictures)
        for name, own in theirs.items()
        if abs(np.corrcoef(_small(picture), own)[0, 1]) > ALIKE
    ]


def _bytes(inputs: dict) -> list[bytes]:
    return list(inputs.get("image_bytes", ()))


def _small(image: np.ndarray) -> np.ndarray:
    """(SIDE * SIDE,) of its brightness."""
    grey = image.astype(np.float64)
    grey = grey.mean(axis=-1) if grey.ndim == 3 else grey
    return cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).ravel()


def _rows_in(sent: list[dict], dataset: Dataset, description: dict) -> list[str]:
    preprocessing = Preprocessing.from_dict(description["preprocessing"])
    encoded = preprocessing.transform(dataset.manifest)
    numbers = [f.name for f in dataset.inputs if f.type == "continuous"]
    known = {name: np.float32(dataset.manifest[name].dropna()) for name in numbers}
    found = []
    for number, inputs in enumerate(sent):
        if "features" in inputs:
            gaps = np.abs(inputs["features"][:, None] - encoded[None]).max(axis=-1)
            found += [f"request {number} is a row's features"] * bool((gaps < 1e-4).any())
            continue
        for name in numbers:
            if np.isin(np.float32(inputs[name]), known[name]).any():
                found.append(f"request {number} has a row's {name}")
    return found
