"""Starts TFF's worker where one socket leads to it and, if asked, one folder is all that it sees of the disk.

`worker_binary` listens on every interface of the machine, has no option about it, and computes any TensorFlow graph
that it is sent, file operations included. So it is given a network of its own (Linux namespaces; no privilege is
needed where the system allows users to make them), in which there is nothing but the worker, and from which nothing
can be reached. A small process beside it hands on what arrives at a listening socket that was bound outside.

Run as a script, before the worker, by `federated.tff.worker`; uses Python's standard library alone. It becomes the
worker, so both have one process number. Its one argument is JSON: `parent` (process), `listener` and `report` (file
descriptors; `report` is told `ok`, or why not, and closed), `port`, `command` and `folder` (None: the disk as it is).
"""

import ctypes
import fcntl
import json
import os
import signal
import socket
import stat
import struct
import sys
import threading
import time

# From <sched.h>, <sys/mount.h>, <linux/prctl.h>, <linux/sockios.h>, <net/if.h>.
_NEW_USER, _NEW_NETWORK, _NEW_MOUNTS = 0x10000000, 0x40000000, 0x00020000
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 1, 32, 4096, 16384, 1 << 18
_PARENT_DEATH_SIGNAL, _DROP_CAPABILITY, _NO_NEW_PRIVILEGES = 1, 24, 38
_GET_FLAGS, _SET_FLAGS, _INTERFACE_UP = 0x8913, 0x8914, 1
# (as statvfs tells it, as mount wants it): what a mount may not lose when it becomes read-only.
_LOCKED = ((2, 2), (4, 4), (8, 8), (1024, 1024), (2048, 2048), (4096, 1 << 21))
# What the worker needs besides its own folder: libraries, sources of randomness, facts on processor and memory.
_FOLDERS = ("/usr/lib", "/usr/lib64", "/lib", "/lib64")
_FILES = ("/etc/ld.so.cache", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo")
_START = 30.0  # seconds that a worker may take to listen
_BLOCK = 1 << 20

libc = ctypes.CDLL(None, use_errno=True)


def enter(folder: str | None, program: str) -> None:
    """Leave the machine's network, and its disk where a folder is given.

    Args:
        folder: with subfolders `spool`, which becomes the working folder, and `root`, an empty one.
        program: folder of the worker's program.

    Raises:
        OSError: the system does not allow it.
    """
    user, group = os.getuid(), os.getgid()
    _call("unshare", _NEW_USER | _NEW_NETWORK | (_NEW_MOUNTS if folder else 0))
    for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    _loopback_up()
    if folder:
        _new_root(folder, program)


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
            # Not create_connection: it looks names up, with modules that are no longer in sight.
            inner = socket.socket()
            try:
                inner.connect(("127.0.0.1", port))
                break
            except OSError:
                inner.close()
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


def _new_root(folder: str, program: str) -> None:
    """Make `root` the root of the disk: libraries, program and a few devices read-only, `spool` writable at /spool."""
    root = os.path.join(folder, "root")
    _mount(None, "/", _RECURSIVE | _PRIVATE)
    _mount("tmpfs", root, 0, b"tmpfs")
    for source in (*_FOLDERS, program, *_FILES):
        target = root + source
        if os.path.lexists(target) or not os.path.lexists(source):
            continue
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.islink(source):
            os.symlink(os.readlink(source), target)
            continue
        if stat.S_ISDIR(os.stat(source).st_mode):
            os.mkdir(target)
        else:
            os.close(os.open(target, os.O_CREAT))
        _mount(source, target, _BIND | _RECURSIVE)
        if not source.startswith("/dev/"):
            _mount(None, target, _REMOUNT | _BIND | _READ_ONLY | _locked(target))
    os.mkdir(root + "/spool")
    _mount(os.path.join(folder, "spool"), root + "/spool", _BIND)
    _mount(None, root, _REMOUNT | _BIND | _READ_ONLY | _locked(root))
    os.chroot(root)
    os.chdir("/spool")


def _locked(path: str) -> int:
    mounted = os.statvfs(path).f_flag
    return sum(flag for reported, flag in _LOCKED if mounted & reported)


def _mount(source: str | None, target: str, flags: int, kind: bytes | None = None) -> None:
    _call("mount", source.encode() if source else None, target.encode(), kind, flags, None)


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
    """Root keeps its capabilities inside namespaces of its own otherwise, and could undo the mounts."""
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
        enter(settings["folder"], os.path.dirname(command[0]))
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
