"""The proof that an exported model is the Run's: asked in a process that has TensorFlow and none of this project.

The questions are patients' images or rows. They go to that process through a pipe and never touch a disk, so nothing
of them stays behind however the proof ends.
"""

import base64
import contextlib
import json
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from threading import Thread

import numpy as np
import tensorflow as tf

from medimg.errors import InputError
from medimg.serving.requests import Request

# Runs where TensorFlow is and this project is not: any import of ours fails. A line in, a line out; what libraries
# print goes to the error stream, so that it can't be taken for an answer.
_LOADER = """
import os, sys
for name in ("medimg", "explain", "federated", "synthetic", "cli", "keras"):
    sys.modules[name] = None
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
import base64, json, tensorflow as tf
served = tf.saved_model.load(sys.argv[1]).signatures
for line in sys.stdin:
    signature, inputs = json.loads(line)
    tensors = {name: tf.io.parse_tensor(base64.b64decode(data), dtype) for name, (data, dtype) in inputs.items()}
    rows = served[signature](**tensors)["probabilities"].numpy().tolist()
    print(json.dumps(rows), file=answers, flush=True)
"""


def parity(folder: Path, requests: Iterable[Request], expected: np.ndarray) -> float:
    """Largest difference of probabilities between the SavedModel in a fresh process and the Run.

    Args:
        folder: of the SavedModel.
        requests: what to ask; the answers in this order are the rows of `expected`.
        expected: float32 (N, classes).

    Raises:
        InputError: the fresh process can't load or run the model.
    """
    folder = Path(folder).resolve()
    child = subprocess.Popen(
        [sys.executable, "-I", "-c", _LOADER, folder],
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
        raise InputError(f"{folder.parent}: not exported: TensorFlow alone can't load the model ({message})") from error
    finally:
        _end(child, reader)
    return float(np.abs(np.concatenate(answers) - expected).max())


def _answer(child: subprocess.Popen, request: Request) -> np.ndarray:
    """float32 (rows, classes)."""
    inputs = {}
    for name, value in request.inputs.items():
        tensor = tf.convert_to_tensor(value)
        data = base64.b64encode(tf.io.serialize_tensor(tensor).numpy()).decode()
        inputs[name] = (data, tensor.dtype.name)
    child.stdin.write(json.dumps([request.signature, inputs]).encode() + b"\n")
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
