"""Who this process is among the workers of TF_CONFIG, told without TensorFlow."""

import atexit
import json
import os
from contextlib import ExitStack

from medimg.errors import InputError
from medimg.lock import scratch

WORKERS = "multi-worker"


def workers() -> list[str]:
    """Their addresses; none without TF_CONFIG, or where it names a chief or others beside them."""
    cluster = _config("cluster")
    return cluster["worker"] if set(cluster) == {"worker"} else []


def number() -> int:
    """Of this process among the workers, from 0."""
    index = _config("task").get("index", 0)
    try:
        return int(index)
    except (TypeError, ValueError) as error:
        raise InputError(f"TF_CONFIG: the task's index is {index}; it must be a number from 0") from error


def out_of(out: str, distribute: str) -> str:
    """Where this process writes: the Run, or of a worker that is not the first a folder that nobody needs."""
    if distribute != WORKERS or number() == 0:
        return out
    stack = ExitStack()
    atexit.register(stack.close)
    return str(stack.enter_context(scratch("worker")) / "run")


def _config(part: str) -> dict:
    try:
        content = json.loads(os.environ.get("TF_CONFIG") or "{}")
        return dict(content.get(part, {}))
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"TF_CONFIG: not readable as JSON of a cluster and a task ({error})") from error
