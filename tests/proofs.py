"""Exports are proved in processes forked from one that has TensorFlow loaded and none of this project, as a fresh one
would have: it takes the seconds of that import once. Tests of the proof itself take `fresh_proofs`.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys

_SERVER = """
import os, signal, socket, sys
for name in ("medimg", "explain", "federated", "synthetic", "cli", "keras", "jax"):
    sys.modules[name] = None
import tensorflow
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
asked = socket.socket(fileno=int(sys.argv[1]))
while True:
    words, files, _, _ = socket.recv_fds(asked, 1 << 20, 4)
    if not words:
        os._exit(0)
    pid = os.fork()
    if pid:
        asked.sendall(pid.to_bytes(8, "big"))
        for file in files:
            os.close(file)
        continue
    asked.close()
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
        os.close(file)
    cwd, code, *sys.argv[1:] = words.decode().split(chr(0))
    os.chdir(cwd)
    try:
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)
"""
_servers: list[socket.socket] = []


def _server() -> socket.socket:
    """Ends with this process, whose end of the pair it waits at."""
    if not _servers:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-I", "-c", _SERVER, str(theirs.fileno())]
        subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
        theirs.close()
        _servers.append(ours)
    return _servers[0]


class Forked:
    """What `parity` uses of a `subprocess.Popen`."""

    def __init__(self, code: str, arguments: list, cwd):
        ends = [os.pipe() for _ in range(4)]
        theirs = [ends[0][0], ends[1][1], ends[2][1], ends[3][1]]
        words = chr(0).join([str(cwd), code, *map(str, arguments)])
        server = _server()
        socket.send_fds(server, [words.encode()], theirs)
        for file in theirs:
            os.close(file)
        self.pid = int.from_bytes(server.recv(8), "big")
        self.stdin = os.fdopen(ends[0][1], "wb")
        self.stdout, self.stderr, self._alive = (os.fdopen(ends[i][0], "rb") for i in (1, 2, 3))

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        self._alive.read()


def begun(command: list, **named):
    """A `Popen` of `parity`: forked where TensorFlow answers, a process of its own where ONNX Runtime does."""
    code, *arguments = command[command.index("-c") + 1 :]
    if "import tensorflow as tf" not in code:
        return subprocess.Popen(command, **named)
    return Forked(code, arguments, named["cwd"])
