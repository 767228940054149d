"""The proof that an exported model is the Run's: asked in a process that has TensorFlow and none of this project."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import tensorflow as tf

from medimg.errors import InputError
from medimg.served_requests import Request

# Runs where TensorFlow is and this project is not: any import of ours fails.
_LOADER = """
import sys
for name in ("medimg", "explain", "federated", "synthetic", "cli", "keras"):
    sys.modules[name] = None
import json, numpy, tensorflow as tf
folder, requests, answer = sys.argv[1:]
served = tf.saved_model.load(folder).signatures
answers = []
for signature, inputs in json.load(open(requests)):
    tensors = {name: tf.io.parse_tensor(tf.io.read_file(file), dtype) for name, (file, dtype) in inputs.items()}
    answers.append(served[signature](**tensors)["probabilities"])
numpy.save(answer, numpy.concatenate(answers))
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
    with tempfile.TemporaryDirectory() as scratch:
        listed, answer = Path(scratch) / "requests.json", Path(scratch) / "answer.npy"
        written = [_write(request, Path(scratch), i) for i, request in enumerate(requests)]
        listed.write_text(json.dumps(written), encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-I", "-c", _LOADER, folder.resolve(), listed, answer],
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
        return float(np.abs(np.load(answer, allow_pickle=False) - expected).max())


def _write(request: Request, scratch: Path, number: int) -> tuple[str, dict]:
    inputs = {}
    for i, (name, value) in enumerate(request.inputs.items()):
        tensor, file = tf.convert_to_tensor(value), scratch / f"{number}-{i}"
        file.write_bytes(tf.io.serialize_tensor(tensor).numpy())
        inputs[name] = (str(file), tensor.dtype.name)
    return request.signature, inputs
