"""Starts TFF's worker where one socket leads to it, and it reaches nothing.

`worker_binary` listens on every interface of the machine, has no option about it, and computes any TensorFlow graph
that it is sent. So it is given a network of its own (Linux namespaces; no privilege is
needed where the system allows users to make them), in which there is nothing but the worker, and from which nothing
can be reached. A small process beside it hands on what arrives at a listening socket that was bound outside.

Run as a script, before the worker, by `federated.tff.worker`; uses Python's standard library alone. It becomes the
worker, so both have one process number. Its one argument is JSON: `parent` (process), `listener` and `report` (file
descriptors; `report` is told `ok`, or why not, and closed), `port` and `command`.
"""

import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import sys
import threading
import time

# From <sched.h>, <linux/prctl.h>, <linux/sockios.h>, <net/if.h>.
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_PARENT_DEATH_SIGNAL, _DROP_CAPABILITY, _NO_NEW_PRIVILEGES = 1, 24, 38
_GET_FLAGS, _SET_FLAGS, _INTERFACE_UP = 0x8913, 0x8914, 1
_START = 30.0  # seconds that a worker may take to listen
_BLOCK = 1 << 20

libc = ctypes.CDLL(None, use_errno=True)


def enter() -> None:
    """Leave the machine's network.

    Raises:
        OSError: the system does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    _call("unshare", _NEW_USER | _NEW_NETWORK)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    _loopback_up()


def forward(listener: socket.socket, port: int) -> None:
    """Hand on connections of a listening socket to a port of this network, for ever."""
    while True:
        outer, _ = listener.accept()
        threading.Thread(target=_join, args=(outer, port), daemon=True).start()


def _join(outer: socket.socket, port: int) -> None:
    """Connect to the worker, which may still be starting, and pass bytes both ways until either side ends."""
    end = time.monotonic() + _START
    with outer:
        while True:
            try:
                inner = socket.create_connection(("127.0.0.1", port))
                break
            except OSError:
                if time.monotonic() > end:
                    return
                time.sleep(0.02)
        with inner:
            back = threading.Thread(target=_pass_on, args=(inner, outer), daemon=True)
            back.start()
            _pass_on(outer, inner)
            back.join()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    sink.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    block = memoryview(bytearray(_BLOCK))
    try:
        while n := source.recv_into(block):
            sink.sendall(block[:n])
    except OSError:
        # Reset by either side: the end of this connection as any other.
        pass
    for end in (source, sink):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue


def _loopback_up() -> None:
    with socket.socket() as any_socket:
        request = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack("16sH22x", fcntl.ioctl(any_socket, _GET_FLAGS, request))[1]
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sH22x", b"lo", flags | _INTERFACE_UP))


def _call(name: str, *arguments) -> None:
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _end_with(parent: int) -> None:
    """Have the kernel end this process with the thread that started it; a parent gone already is not noticed by it."""
    _call("prctl", _PARENT_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _give_up_privileges() -> None:
    """Root keeps its capabilities inside namespaces of its own otherwise."""
    _call("prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    for capability in range(64):
        if libc.prctl(_DROP_CAPABILITY, capability, 0, 0, 0) != 0:
            break


def main(settings: dict) -> None:
    """See the module."""
    command, report = settings["command"], settings["report"]
    os.set_inheritable(settings["listener"], False)
    os.set_inheritable(report, False)
    try:
        enter()
    except OSError as error:
        os.write(report, f"{error.strerror or error}".encode())
        os._exit(1)
    # Signals at a parent's death are forgotten where privileges change: so only now.
    _end_with(settings["parent"])
    worker = os.getpid()
    if os.fork() == 0:
        _end_with(worker)
        os.close(report)
        forward(socket.socket(fileno=settings["listener"]), settings["port"])
    _give_up_privileges()
    os.write(report, b"ok")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
