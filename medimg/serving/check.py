"""Ask an exported model, or a TensorFlow Serving server of it, what it answered when it was exported, and compare.

An ONNX model is run here: `python check.py [FILE ...]`, with `onnx_client.py` beside this file, which needs
onnxruntime, NumPy and, for images, OpenCV. A server of a SavedModel is asked:
`python check.py --rest http://HOST:8501 --grpc HOST:8500 [FILE ...]`, from the model's folder or any other. It needs
no medimg: REST needs Python alone, gRPC the package tensorflow-serving-api. It ends with code 0 when every answer is
the exported model's within the tolerance, with 1 when one is not or no server answers. The requests are drawn: they
show no patient.

FILEs are sent as well, and what is answered is printed: images, or a CSV with the columns that the model takes and, of
a model of images, `image`, their paths from the CSV's folder. DICOM files are decoded here, as training did, by
`dicom_pixels.py` beside this file, which needs pydicom and NumPy (and a decoder such as pylibjpeg-openjpeg or
python-gdcm for compressed ones), and each frame is sent as PNG; `dicom_text.py`, which needs OpenCV, tells of text that
may be burned in, and makes it black where training did.
"""

import argparse
import base64
import csv
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

SECONDS = 60


def newest(folder: Path) -> Path:
    """The model's highest version."""
    return max((path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name))


def by_rest(server: str, name: str, request: dict) -> list[dict]:
    """The answer to each example: `label`, `probabilities` and `error`."""
    columns = {key: _listed(tensor) for key, tensor in request["inputs"].items()}
    instances = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    body = {"signature_name": request["signature_name"], "instances": instances}
    url = f"{server.rstrip('/')}/v1/models/{urllib.parse.quote(name)}:predict"
    sent = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(sent, timeout=SECONDS) as answer:
        return json.load(answer)["predictions"]


def by_grpc(server: str, name: str, request: dict) -> list[dict]:
    """As `by_rest`."""
    import grpc
    import numpy as np
    import tensorflow as tf
    from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_service_pb2_grpc

    spec = model_pb2.ModelSpec(name=name, signature_name=request["signature_name"])
    message = predict_pb2.PredictRequest(model_spec=spec)
    for key, tensor in request["inputs"].items():
        values = tensor["values"]
        if tensor["dtype"] == "bytes":
            values = [base64.b64decode(value) for value in values]
        kind = tf.float32 if tensor["dtype"] == "float32" else tf.string
        message.inputs[key].CopyFrom(tf.make_tensor_proto(values, kind))
    with grpc.insecure_channel(server) as channel:
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(message, timeout=SECONDS)
    arrays = {key: tf.make_ndarray(tensor) for key, tensor in answer.outputs.items()}
    texts = {key: np.vectorize(bytes.decode)(values) for key, values in arrays.items() if values.dtype == object}
    arrays = {key: values.tolist() for key, values in {**arrays, **texts}.items()}
    return [dict(zip(arrays, values, strict=True)) for values in zip(*arrays.values(), strict=True)]


def _listed(tensor: dict) -> list:
    return [{"b64": value} for value in tensor["values"]] if tensor["dtype"] == "bytes" else tensor["values"]


def requests_of(path: Path, content: dict, columns: list[dict]):
    """Of an image, or of each row of a CSV, what it is called and the inputs of a request.

    Args:
        path: of the image or the CSV.
        content: of check.json.
        columns: that the model takes, of columns.json.

    Raises:
        ValueError: names the column or the cell that can't be sent.
    """
    look = content.get("dicom", {})
    has_image = "image_bytes" in content["requests"][0]["inputs"]
    if path.suffix.lower() != ".csv":
        if columns:
            names = [column["column"] for column in columns] + ["image"] * has_image
            raise ValueError(f"{path}: the model takes columns: give a CSV with {', '.join(names)}")
        yield str(path), {"image_bytes": encoded(path, look)}
        return
    for number, row in enumerate(csv.DictReader(path.read_text(encoding="utf-8-sig").splitlines(True)), 1):
        name, inputs = f"row {number}", {}
        if has_image:
            name = cell(row, {"column": "image"}, path, number, content)
            file = (path.parent / name).resolve()
            if not file.is_relative_to(path.parent.resolve()):
                raise ValueError(f"{path}: row {number}: {name} lies outside the CSV's folder")
            inputs["image_bytes"] = encoded(file, look)
        # Each frame of a file has the columns of its row.
        count = len(inputs["image_bytes"]["values"]) if has_image else 1
        of_input = {}
        for column in columns:
            of_input.setdefault(column["input"], []).append(cell(row, column, path, number, content))
        for column in columns:
            values = of_input[column["input"]]
            one = values if "position" in column else values[0]
            inputs[column["input"]] = {"dtype": column["dtype"], "values": [one] * count}
        yield name, inputs


def cell(row: dict, column: dict, path: Path, number: int, content: dict) -> str | float:
    """What a CSV's row says in a column, NaN for a number that is missing."""
    name = column["column"]
    if (text := row.get(name)) is None:
        raise ValueError(f"{path}: row {number} lacks '{name}'")
    if column.get("dtype") != "float32":
        return text
    try:
        return float("nan" if text.strip().lower() in content["missing"] else text)
    except ValueError:
        raise ValueError(f"{path}: row {number}: '{name}' is no number") from None


def encoded(path: Path, look: dict) -> dict:
    """What is sent of a file, itself or of DICOM a PNG of each frame."""
    return {"dtype": "bytes", "values": [base64.b64encode(data).decode() for data in sent(path, look)]}


def sent(path: Path, look: dict) -> list[bytes]:
    """The bytes of an image, or of a DICOM file's frames as PNG; text that they may show is told.

    Args:
        path: of the file.
        look: how training looked at DICOM files, of check.json.
    """
    data = path.read_bytes()
    if data[128:132] != b"DICM" and path.suffix.lower() not in (".dcm", ".dicom", ".ima"):
        return [data]
    import dicom_pixels

    images, is_flagged = dicom_pixels.looked_at(str(path), look.get("window"), look.get("neighbours", 0))
    mask, warnings = look.get("mask_text", False), ["burned-in annotation, by its header"] * is_flagged
    try:
        import dicom_text
    except ImportError:
        if mask:
            raise ValueError(f"{path}: training made text black, which needs OpenCV here") from None
        warnings.append("not looked at for burned-in text, which needs OpenCV")
    else:
        looked_over = [dicom_text.checked(image, is_flagged, mask) for image in images]
        images, warnings = [image for image, _ in looked_over], [line for _, lines in looked_over for line in lines]
    for line in dict.fromkeys(warnings):
        print(f"{path}: {line}")
    return [dicom_pixels.png(image) for image in images]


def difference(request: dict, answers: list[dict]) -> float:
    """Largest difference of probabilities; infinite where a label differs."""
    if [answer["label"] for answer in answers] != request["labels"]:
        return float("inf")
    pairs = zip(request["probabilities"], (answer["probabilities"] for answer in answers), strict=True)
    return max(abs(a - b) for expected, answered in pairs for a, b in zip(expected, answered, strict=True))


def compare(kind: str, ask, content: dict) -> bool:
    """Print a line a request; whether all agree."""
    fine = True
    for request in content["requests"]:
        gap = difference(request, ask(request))
        agrees = gap <= content["tolerance"]
        fine &= agrees
        count = len(request["labels"])
        print(
            f"{kind} {request['signature_name']}: {count} examples, largest difference {gap:.1e}",
            "agrees" if agrees else "DIFFERS from the exported model",
        )
    return fine


def main() -> int:
    """Exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", metavar="FILE", type=Path, help="images or CSVs to ask about as well")
    parser.add_argument("--rest", metavar="URL", help="default, without --grpc: http://localhost:8501")
    parser.add_argument("--grpc", metavar="HOST:PORT")
    parser.add_argument("--name", help="that the model is served under (default: of this folder)")
    arguments = parser.parse_args()
    folder = Path(__file__).resolve().parent
    extra = newest(folder) / "assets.extra"
    content = json.loads((extra / "check.json").read_text(encoding="utf-8"))
    described = extra / "columns.json"
    columns = json.loads(described.read_text(encoding="utf-8"))["inputs"] if described.is_file() else []
    name = arguments.name or folder.name
    ways = {}
    if (extra.parent / "model.onnx").is_file():
        import onnx_client

        ways["ONNX Runtime"] = onnx_client.OnnxModel(extra.parent).answers
    elif arguments.rest or not arguments.grpc:
        ways["REST"] = lambda request: by_rest(arguments.rest or "http://localhost:8501", name, request)
    if arguments.grpc:
        ways["gRPC"] = lambda request: by_grpc(arguments.grpc, name, request)
    fine = True
    for kind, ask in ways.items():
        try:
            fine &= compare(kind, ask, content)
            for path in arguments.files:
                for what, inputs in requests_of(path, content, columns):
                    for answer in ask({"signature_name": "serving_default", "inputs": inputs}):
                        print(kind, what, answer)
        except (
            Exception
        ) as error:  # Whatever a server, a network or a missing package says: one line, and the next way.
            message = error.read().decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else error
            print(f"{kind}: {str(message).strip().splitlines()[0] if str(message).strip() else type(error).__name__}")
            fine = False
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
