"""What a served model is asked: the requests of its parity proof and of its warm-up."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import tensorflow as tf

from medimg.dataset import Dataset
from medimg.errors import InputError
from medimg.pipeline import load_image
from medimg.tables.preprocessing import Preprocessing
from medimg.tables.served_columns import example_row, hard_rows, inputs_of, served_columns

WARMUP = Path("assets.extra") / "tf_serving_warmup_requests"


class Request(NamedTuple):
    """A signature's name and its inputs, each an array or list with a batch axis first."""

    signature: str
    inputs: dict


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
    if not dataset.is_table:
        for path in dataset.paths(rows):
            yield Request("serving_default", {"image_bytes": [path.read_bytes()]})
        return
    columns = served_columns(Preprocessing.from_dict(description["preprocessing"]))
    inputs = inputs_of(rows, columns)
    for i in range(len(rows)):
        row = {name: values[i : i + 1] for name, values in inputs.items()}
        yield Request("serving_default", row)


def warmup_requests(dataset: Dataset, rows: pd.DataFrame, description: dict) -> Iterator[Request]:
    """Requests for both signatures; of a table on made-up rows, since patients' values need not travel with a model."""
    if dataset.is_table:
        preprocessing = Preprocessing.from_dict(description["preprocessing"])
        example = example_row(preprocessing)
        made_up = pd.concat([example, hard_rows(preprocessing)], ignore_index=True)
        yield from raw_requests(dataset, made_up, description)
        yield Request("features", {"features": preprocessing.transform(example)})
        return
    yield from raw_requests(dataset, rows, description)
    size, channels = description["image_size"], description["channels"]
    pixels = np.stack([load_image(path, size, channels) for path in dataset.paths(rows)[:2]])
    yield Request("pixels", {"pixels": pixels})


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
