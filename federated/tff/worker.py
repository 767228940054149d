"""TFF's worker process, started and ended by us.

TFF's default context starts one of its own, which outlives the process that started it and holds on to its output, so
that pipes, continuous integration and pytest hang.
"""

import atexit
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


class Worker:
    """A running `worker_binary`; ends with `stop()`, with the process, or with the thread that started it.

    Args:
        port: to listen on; None: any free one. The worker's channel is not encrypted.
        concurrent: clients computed at once; None: as many as there are.
        log: file for what the worker says; None: nowhere.
    """

    def __init__(
        self, port: int | None = None, concurrent: int | None = None, log: Path | None = None
    ):
        self.port = port or free_port()
        options = [
            f"--port={self.port}",
            f"--max_concurrent_computation_calls={concurrent or -1}",
        ]
        guard = [sys.executable, "-I", "-S", "-c", _END_WITH_PARENT, str(os.getpid())]
        with open(log or os.devnull, "wb") as output:
            self.process = subprocess.Popen(
                [*guard, str(binary()), *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for us: we then end the worker between two rounds, not the terminal in the middle of one.
                start_new_session=True,
            )
        atexit.register(self.stop)

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

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


def binary() -> Path:
    """TFF's worker, as installed; found without importing TFF."""
    return Path(find_spec("tensorflow_federated").origin).parent / "data" / "worker_binary"


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
