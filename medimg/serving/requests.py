"""What a served model is asked: patients' images or rows by its parity proof, drawn ones by its warm-up.

The proof's requests are for the moment only. The warm-up's travel with the model, so they are made from the model's
description alone: no function that writes them is given a Dataset.
"""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.serving.drawn_images import drawn_images, drawn_pixels
from medimg.serving.table_columns import example_row, hard_rows, inputs_of, served_columns
from medimg.tables.preprocessing import Preprocessing

WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"


class Request(NamedTuple):
    """A signature's name and its inputs, each an array or list with a batch axis first."""

    signature: str
    inputs: dict

    def to_dict(self) -> dict:
        """For JSON: `signature_name`, and of each input its `dtype` (float32, string or bytes) and `values`."""
        return {
            "signature_name": self.signature,
            "inputs": {name: _tensor(name, values) for name, values in self.inputs.items()},
        }


def sample(dataset: Dataset, description: dict, count: int) -> pd.DataFrame:
    """Real rows of the manifest, of the test part when there is one, spread over the classes.

    Of a table also rows that preprocessing finds hard: all missing, categories never seen, untidy text.

    Raises:
        InputError: an image is gone.
    """
    rows = dataset.rows("test")
    rows = rows if len(rows) else dataset.manifest
    order = rows.groupby("label").cumcount().sort_values(kind="stable").index
    rows = rows.loc[order[:count]]
    if dataset.is_table:
        hard = hard_rows(Preprocessing.from_dict(description["preprocessing"]))
        return pd.concat([rows, hard], ignore_index=True)
    missing = [path for path in dataset.paths(rows) if not path.is_file()]
    if missing:
        raise InputError(f"{missing[0]}: missing; the export proves itself on the Run's own images")
    return rows


def raw_requests(dataset: Dataset, rows: pd.DataFrame, description: dict) -> Iterator[Request]:
    """A request to `serving_default` for each row."""
    if dataset.is_table:
        yield from _row_requests(rows, Preprocessing.from_dict(description["preprocessing"]))
        return
    columns = None
    if "metadata" in description:
        columns = list(_row_requests(rows, Preprocessing.from_dict(description["metadata"])))
    for i, path in enumerate(dataset.paths(rows)):
        yield Request("serving_default", {"image_bytes": [path.read_bytes()], **(columns[i].inputs if columns else {})})


def warmup_requests(description: dict, count: int) -> Iterator[Request]:
    """Requests for both signatures, of drawn images or rows.

    Args:
        description: the Run's description.
        count: images; a table's rows are four, an ordinary one and three that preprocessing finds hard.
    """
    seed = 0
    if "preprocessing" in description:
        preprocessing = Preprocessing.from_dict(description["preprocessing"])
        rows = [example_row(preprocessing, seed), hard_rows(preprocessing, seed)]
        yield from _row_requests(pd.concat(rows, ignore_index=True), preprocessing)
        # Not the row above as preprocessing makes it: beside that row, it would tell means and scales.
        features = np.random.default_rng(seed).normal(size=(1, len(preprocessing.columns)))
        yield Request("features", {"features": features.astype(np.float32)})
        return
    size, channels = description["image_size"], description["channels"]
    beside, features = [{}], {}
    if "metadata" in description:
        preprocessing = Preprocessing.from_dict(description["metadata"])
        rows = pd.concat([example_row(preprocessing, seed), hard_rows(preprocessing, seed)], ignore_index=True)
        beside = [request.inputs for request in _row_requests(rows, preprocessing)]
        drawn = np.random.default_rng(seed).normal(size=(2, len(preprocessing.columns)))
        features = {"features": drawn.astype(np.float32)}
    for i, image in enumerate(drawn_images(count, size, seed)):
        yield Request("serving_default", {"image_bytes": [image], **beside[i % len(beside)]})
    yield Request("pixels", {"pixels": drawn_pixels(2, size, channels, seed), **features})


def _tensor(name: str, values) -> dict:
    if name == "image_bytes":
        return {"dtype": "bytes", "values": [base64.b64encode(value).decode() for value in values]}
    is_number = np.asarray(values).dtype.kind == "f"
    return {
        "dtype": "float32" if is_number else "string",
        "values": np.asarray(values, None if is_number else str).tolist(),
    }


def _row_requests(rows: pd.DataFrame, preprocessing: Preprocessing) -> Iterator[Request]:
    inputs = inputs_of(rows, served_columns(preprocessing))
    for i in range(len(rows)):
        row = {name: values[i : i + 1] for name, values in inputs.items()}
        yield Request("serving_default", row)


def write_warmup(folder: Path, name: str, requests: Iterator[Request]) -> None:
    """Requests that TF Serving replays before it takes traffic.

    Args:
        folder: of the SavedModel.
        name: that the model is served under.
        requests: what to replay.
    """
    from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

    path = folder / WARMUP
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for request in requests:
            record = predict_pb2.PredictRequest(
                model_spec=model_pb2.ModelSpec(name=name, signature_name=request.signature)
            )
            for key, value in request.inputs.items():
                record.inputs[key].CopyFrom(tf.make_tensor_proto(value))
            log = prediction_log_pb2.PredictLog(request=record)
            writer.write(prediction_log_pb2.PredictionLog(predict_log=log).SerializeToString())
