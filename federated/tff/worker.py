"""TFF's worker process, started and ended by us.

TFF's default context starts one of its own, which outlives the process that started it and holds on to its output, so
that pipes, continuous integration and pytest hang.
"""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

# Linux ends the worker when the thread that started it ends, however it ended (prctl 1 is PR_SET_PDEATHSIG). It is
# set by a small process that then becomes the worker: code run between fork and exec of this process, which has many
# threads, may deadlock. A parent that is gone already would never be noticed, hence the comparison.
_END_WITH_PARENT = """
import ctypes, os, signal, sys
parent, *command = sys.argv[1:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit(0)
os.execv(command[0], command)
"""
_PATIENCE = 3.0
_HOST = "127.0.0.1"
_PYTHON = (sys.executable, "-I", "-S")


class NotIsolatedError(RuntimeError):
    """This system can't give the worker a network of its own; the message is the system's reason."""


class Worker:
    """A running `worker_binary`; ends with `stop()`, with the process, or with the thread that started it.

    By itself it listens on every interface of the machine, unencrypted, to whoever wants to compute here. It is
    therefore shut off from the network (`federated.tff.enclosure`), and reached at 127.0.0.1 alone.

    Args:
        concurrent: clients computed at once; -1: as many as there are.
        isolated: True: or not at all; False: not shut off, on every interface; None: where the system allows it.

    Raises:
        NotIsolatedError: `isolated` is True and the system does not allow it.
    """

    def __init__(self, concurrent: int = -1, isolated: bool | None = None):
        self._concurrent = concurrent
        self.isolated = isolated is not False
        with _listening() as listener:
            self.port = listener.getsockname()[1]
            if self.isolated:
                refusal = self._start_isolated(listener)
                self.isolated = refusal is None
                if refusal and isolated:
                    raise NotIsolatedError(refusal)
        if not self.isolated:
            self._start_open()
        atexit.register(self.stop)

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{_HOST}:{self.port}"

    def running(self) -> bool:
        """Whether the process is there."""
        return self.process.poll() is None

    def stop(self) -> None:
        """End the process; does nothing when it has ended."""
        atexit.unregister(self.stop)
        if not self.running():
            return
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _command(self) -> list[str]:
        return [str(binary()), f"--port={self.port}", f"--max_concurrent_computation_calls={self._concurrent}"]

    def _start_isolated(self, listener: socket.socket) -> str | None:
        """Start it in a network of its own; the system's reason where that is not allowed."""
        if sys.platform != "linux":
            return f"{sys.platform} has no network namespaces"
        readable, report = os.pipe()
        settings = {
            "parent": os.getpid(),
            "listener": listener.fileno(),
            "report": report,
            "port": self.port,
            "command": self._command(),
        }
        script = str(Path(__file__).with_name("enclosure.py"))
        try:
            self._start([*_PYTHON, script, json.dumps(settings)], (listener.fileno(), report))
        finally:
            os.close(report)
        with os.fdopen(readable, encoding="utf-8") as pipe:
            answer = pipe.read()
        if answer == "ok":
            return None
        self.process.wait()
        return answer or f"the enclosure ended with {self.process.returncode}"

    def _start_open(self) -> None:
        self._start([*_PYTHON, "-c", _END_WITH_PARENT, str(os.getpid()), *self._command()])

    def _start(self, command: list[str], descriptors: tuple[int, ...] = ()) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=descriptors,
            # Ctrl-C is for us: we then end the worker between two rounds, not the terminal in the middle of one.
            start_new_session=True,
        )


def binary() -> Path:
    """TFF's worker, as installed; found without importing TFF."""
    return Path(find_spec("tensorflow_federated").origin).parent / "data" / "worker_binary"


def _listening() -> socket.socket:
    """A socket that listens at any free port."""
    listener = socket.socket()
    try:
        listener.bind((_HOST, 0))
        listener.listen()
    except BaseException:
        listener.close()
        raise
    return listener
