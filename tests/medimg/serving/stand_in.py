"""A stand-in for TensorFlow Serving: the servicer and messages of tensorflow-serving-api, over gRPC and REST.

It is not TensorFlow Serving, which is a C++ program of its own and not to be had from a package registry: it loads the
highest version of one model by `tf.saved_model.load` and follows the documented contract of `Predict` and of the REST
API's `:predict` (row format) and model status. What it can't show: batching, warm-up, and the C++ server's JSON.
"""

import ast
import base64
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from medimg.serving.export import SCRIPT


class Model:
    """The highest version in a folder."""

    def __init__(self, folder: Path, name: str):
        self.name = name
        self.version = max(int(path.name) for path in folder.iterdir() if path.name.isdigit())
        self.loaded = tf.saved_model.load(str(folder / str(self.version)))

    def ask(self, signature: str, inputs: dict) -> dict[str, np.ndarray]:
        function = self.loaded.signatures[signature]
        specs = function.structured_input_signature[1]
        tensors = {name: tf.constant(value, specs[name].dtype) for name, value in inputs.items()}
        return {name: value.numpy() for name, value in function(**tensors).items()}


class Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, model: Model):
        self.model = model

    def Predict(self, request, context):  # noqa: N802 - the servicer's name
        if request.model_spec.name != self.model.name:
            context.abort(grpc.StatusCode.NOT_FOUND, f"Servable not found: {request.model_spec.name}")
        try:
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            outputs = self.model.ask(request.model_spec.signature_name or "serving_default", inputs)
        except (tf.errors.OpError, KeyError, ValueError) as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        answer = predict_pb2.PredictResponse()
        answer.model_spec.CopyFrom(request.model_spec)
        for name, value in outputs.items():
            answer.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return answer


def handler(model: Model) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if unquote(self.path) == f"/v1/models/{model.name}":
                state = {"version": str(model.version), "state": "AVAILABLE"}
                return self.send(200, {"model_version_status": [state]})
            return self.send(404, {"error": "Malformed request"})

        def do_POST(self):
            if unquote(self.path) != f"/v1/models/{model.name}:predict":
                return self.send(404, {"error": f"Malformed request: POST {self.path}"})
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                rows = body["instances"]
                inputs = {name: [decoded(row[name]) for row in rows] for name in rows[0]}
                outputs = model.ask(body.get("signature_name", "serving_default"), inputs)
            except (tf.errors.OpError, KeyError, TypeError, ValueError) as error:
                return self.send(400, {"error": str(error)})
            texts = {name: values.tolist() for name, values in outputs.items()}
            columns = [dict(zip(texts, row, strict=True)) for row in zip(*texts.values(), strict=True)]
            return self.send(200, {"predictions": columns})

        def send(self, code: int, content: dict):
            # Strict: many readers of JSON know no NaN.
            data = json.dumps(content, default=bytes.decode, allow_nan=False).encode()
            self.send_response(code)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    return Handler


def decoded(value):
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value


@contextmanager
def served(folder: Path, name: str):
    """(REST address, gRPC address) of a server that runs until the end of the block."""
    model = Model(folder, name)
    rest = ThreadingHTTPServer(("127.0.0.1", 0), handler(model))
    Thread(target=rest.serve_forever, daemon=True).start()
    server = grpc.server(ThreadPoolExecutor(2))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Predictions(model), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"http://127.0.0.1:{rest.server_port}", f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
        rest.shutdown()
        rest.server_close()


def run_check(folder, *arguments):
    """check.py where medimg can't be imported: in isolated mode, from another folder."""
    # No proxy: a test speaks to itself.
    clean = {name: value for name, value in os.environ.items() if "proxy" not in name.lower() and name != "PYTHONPATH"}
    command = [sys.executable, "-I", str(folder / SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", env=clean, check=False)


def answers(done: subprocess.CompletedProcess, way: str) -> list[tuple[str, dict]]:
    """What check.py printed by REST or gRPC: (name of the file or row, answer)."""
    found = re.findall(rf"^{way} (.*?) (\{{.*\}})$", done.stdout, re.MULTILINE)
    return [(name, ast.literal_eval(answer)) for name, answer in found]
