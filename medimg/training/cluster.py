"""Who this process is among the workers of TF_CONFIG, told without TensorFlow."""

import json
import os
import tempfile
from pathlib import Path

from medimg.errors import InputError

WORKERS = "multi-worker"


def workers() -> list[str]:
    """Their addresses; none without TF_CONFIG."""
    return _config().get("cluster", {}).get("worker", [])


def out_of(out: str, distribute: str) -> str:
    """Where this process writes: the Run, or of a worker that is not the first a folder that nobody needs."""
    if distribute != WORKERS or _config().get("task", {}).get("index", 0) == 0:
        return out
    return str(Path(tempfile.mkdtemp(prefix="medimg-worker-")) / "run")


def _config() -> dict:
    try:
        return json.loads(os.environ.get("TF_CONFIG") or "{}")
    except ValueError as error:
        raise InputError(f"TF_CONFIG: not readable as JSON ({error})") from error
