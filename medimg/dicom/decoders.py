"""A process for each thread that decodes: pydicom's plugins hold Python's lock, so that threads alone wait in turn."""

import io
import json
import math
import subprocess
import sys
import threading
from typing import BinaryIO

import numpy as np

from medimg.dicom import pixels

_KINDS = {name: np.dtype(name) for name in ("uint8", "uint16")}
_LONGEST_LINE = 4096  # bytes of an answer's first line


class Decoders:
    """`pixels.read_frame`, called in a process that belongs to the calling thread and ends with it."""

    def __init__(self):
        self._own = threading.local()

    def __call__(self, file: str | BinaryIO, index=None, window=None, megapixels: float = 100) -> np.ndarray:
        """As `pixels.read_frame`."""
        for _ in range(2):
            if not hasattr(self._own, "process"):
                self._own.process = _Process()
            try:
                answer = self._own.process.ask(file, index, window, megapixels)
                break
            except (OSError, EOFError, KeyError, TypeError, json.JSONDecodeError):
                # A decoder that a file has brought down takes no other file with it.
                del self._own.process
        else:
            raise ValueError("truncated or broken pixel data")
        if isinstance(answer, str):
            raise ValueError(answer)
        return answer


class _Process:
    def __init__(self):
        # The file alone, not the package: it starts in half the time, and never runs the caller's own script again.
        command = [sys.executable, pixels.__file__]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def ask(self, file: str | BinaryIO, index, window, megapixels: float) -> np.ndarray | str:
        """Pixels, or why there are none. The decoder reads what strangers made: nothing that it says is trusted."""
        content = file.getvalue() if isinstance(file, io.BytesIO) else None
        request = {
            "path": None if content is not None else str(file),
            "bytes": None if content is None else len(content),
        }
        request |= {"index": index, "window": window, "megapixels": megapixels}
        self._process.stdin.write(json.dumps(request).encode() + b"\n" + (content or b""))
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline(_LONGEST_LINE))
        if "error" in answer:
            return str(answer["error"])
        shape, kind = tuple(map(int, answer["shape"])), _KINDS[answer["dtype"]]
        size = math.prod(shape) * kind.itemsize
        if (
            len(shape) not in (2, 3)
            or min(shape) < 1
            or math.prod(shape[:2]) > megapixels * 1e6
            or shape[2:] not in ((), (3,))
        ):
            raise EOFError("no image")
        raw = self._process.stdout.read(size)
        if len(raw) < size:
            raise EOFError("cut off")
        return np.frombuffer(raw, kind).reshape(shape)

    def __del__(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
