"""The proof that an exported model is the Run's: asked in a process that has TensorFlow or ONNX Runtime and
none of this project.

The questions are patients' images or rows. They go to that process through a pipe and never touch a disk, so nothing
of them stays behind however the proof ends.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING

import numpy as np

from medimg.errors import InputError

if TYPE_CHECKING:
    from medimg.serving.requests import Request

# Runs where TensorFlow is and this project is not: any import of ours fails, and that of JAX, which TensorFlow would
# take half a second to import for converters. A line in, a line out; what libraries print goes to the error stream, so
# that it can't be taken for an answer.
_LOADER = """
import os, sys
for name in ("medimg", "explain", "federated", "synthetic", "cli", "keras", "jax"):
    sys.modules[name] = None
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
import base64, json
{load}
for line in sys.stdin:
    print(json.dumps(ask(json.loads(line))), file=answers, flush=True)
"""
CLIENT = Path(__file__).with_name("onnx_client.py")
_LOADERS = {
    "TensorFlow": """
import tensorflow as tf
served = tf.saved_model.load(sys.argv[1]).signatures
def tensor(values, dtype):
    if dtype == "float32":
        return tf.constant(values, tf.float32)
    return tf.constant([base64.b64decode(value) for value in values] if dtype == "bytes" else values, tf.string)
def ask(request):
    inputs = {name: tensor(one["values"], one["dtype"]) for name, one in request["inputs"].items()}
    return served[request["signature_name"]](**inputs)["probabilities"].numpy().tolist()
""",
    "ONNX Runtime": """
sys.modules["tensorflow"] = None
import importlib.util, pathlib
spec = importlib.util.spec_from_file_location("onnx_client", sys.argv[2])
client = importlib.util.module_from_spec(spec)
spec.loader.exec_module(client)
model = client.OnnxModel(pathlib.Path(sys.argv[1]))
def ask(request):
    return [answer["probabilities"] for answer in model.answers(request)]
""",
}


def parity(folder: Path, requests: "Iterable[Request]", expected: np.ndarray, runtime: str = "TensorFlow") -> float:
    """Largest difference of probabilities between the exported model in a fresh process and the Run.

    Args:
        folder: of the version.
        requests: what to ask; the answers in this order are the rows of `expected`.
        expected: float32 (N, classes).
        runtime: what answers: `TensorFlow`, or `ONNX Runtime` by the client that travels with the model.

    Raises:
        InputError: the fresh process can't load or run the model.
    """
    folder = Path(folder).resolve()
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", _LOADER.format(load=_LOADERS[runtime]), folder, CLIENT],
        cwd=folder,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    # Read as it comes: a full pipe would stop the child.
    last: deque[bytes] = deque(maxlen=1)
    reader = Thread(target=last.extend, args=(child.stderr,), daemon=True)
    reader.start()
    try:
        answers = [_answer(child, request) for request in requests]
    except (BrokenPipeError, EOFError) as error:
        child.wait()
        reader.join()
        message = last[0].decode(errors="replace").strip() if last else "no message"
        raise InputError(f"{folder.parent}: not exported: {runtime} alone can't load the model ({message})") from error
    finally:
        _end(child, reader)
    return float(np.abs(np.concatenate(answers) - expected).max())


def _answer(child: subprocess.Popen, request: "Request") -> np.ndarray:
    """float32 (rows, classes)."""
    child.stdin.write(json.dumps(request.to_dict()).encode() + b"\n")
    child.stdin.flush()
    line = child.stdout.readline()
    if not line:
        raise EOFError
    return np.array(json.loads(line), np.float32)


def _end(child: subprocess.Popen, reader: Thread) -> None:
    """Also when the proof was interrupted: no process and no open pipe stays."""
    child.kill()
    child.wait()
    reader.join()
    for pipe in (child.stdin, child.stdout, child.stderr):
        # What a dead child did not take is still in our end.
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
