"""A process for each thread that decodes: pydicom's plugins hold Python's lock, so that threads alone wait in turn."""

import io
import pickle
import subprocess
import sys
import threading
from typing import BinaryIO

import numpy as np

from medimg.dicom import pixels


class Decoders:
    """`pixels.read_frame`, called in a process that belongs to the calling thread and ends with it."""

    def __init__(self):
        self._own = threading.local()

    def __call__(self, file: str | BinaryIO, *rest) -> np.ndarray:
        """As `pixels.read_frame`."""
        asked = file.getvalue() if isinstance(file, io.BytesIO) else file
        for _ in range(2):
            if not hasattr(self._own, "process"):
                self._own.process = _Process()
            try:
                answer = self._own.process.ask((asked, *rest))
                break
            except (OSError, EOFError, pickle.UnpicklingError):
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

    def ask(self, arguments: tuple):
        pickle.dump(arguments, self._process.stdin, protocol=5)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)

    def __del__(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
