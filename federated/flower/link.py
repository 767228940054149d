"""The link: Flower's SuperLink as a process of ours, with TLS, and with the keys of the sites that may connect.

Ports are in Flower's order: P - 1 for the coordinator's messages, P for the sites, P + 1 for its control. Only P
listens outside this machine; the other two have no key of their own.
"""

import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from federated.flower import certificates, child
from federated.flower.keys import Party
from medimg.errors import InputError

LOOPBACK = "127.0.0.1"
_PATIENCE = 60.0  # seconds for it to listen
_ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # By itself glibc gives each of gRPC's threads a heap of its own, and what is free in one no other takes.
    "MALLOC_ARENA_MAX": "1",
}


class Link:
    """A running SuperLink.

    Args:
        folder: for certificates, log and state, by which one that was killed goes on.
        port: P.
        bind: address of this machine that sites connect to.
        hosts: names and addresses by which sites reach it, for its certificate.

    Attributes:
        address: HOST:PORT for the coordinator.
        certificate: of the authority, for coordinator and sites.

    Raises:
        InputError: a port is taken, or it ended at once: its log is named.
    """

    def __init__(self, folder: Path, port: int, bind: str = LOOPBACK, hosts: Iterable[str] = ()):
        self.folder, self.port, self.bind = Path(folder).resolve(), port, bind
        certificates.make(self.folder, [bind, *hosts])
        self.certificate = self.folder / certificates.AUTHORITY
        self.address = f"{LOOPBACK}:{port}"
        for number, host in ((port - 1, LOOPBACK), (port, bind), (port + 1, LOOPBACK)):
            require_free(host, number)
        self.process = self._started()
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise

    def _started(self) -> subprocess.Popen:
        words = [
            *("-m", "federated.flower.superlink", "--isolation", "process", "--enable-supernode-auth"),
            *("--fleet-api-address", f"{self.bind}:{self.port}"),
            *("--serverappio-api-address", f"{LOOPBACK}:{self.port - 1}"),
            *("--control-api-address", f"{LOOPBACK}:{self.port + 1}"),
            *("--ssl-ca-certfile", self.folder / certificates.AUTHORITY),
            *("--ssl-certfile", self.folder / certificates.CERTIFICATE),
            *("--ssl-keyfile", self.folder / certificates.KEY),
            *("--database", self.folder / "state.db", "--storage-dir", self.folder / "bundles"),
        ]
        return child.start(words, self.folder / "link.log", {**_ENVIRONMENT, "FLWR_HOME": str(self.folder / "flwr")})

    def _wait(self) -> None:
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            if all(_listens(host, n) for n, host in ((self.port, self.bind), (self.port - 1, LOOPBACK))):
                return
            time.sleep(0.1)
        raise InputError(f"{self.folder / 'link.log'}: the link did not start; its last lines say why")

    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def wait(self) -> None:
        """As long as it runs.

        Raises:
            InputError: it has ended.
        """
        self.process.wait()
        raise InputError(f"{self.folder / 'link.log'}: the link has ended; its last lines say why")

    def register(self, parties: list[Party]) -> None:
        """Let these sites connect, and no others.

        Raises:
            InputError: it can't be reached, or one's key was taken off before.
        """
        from federated.flower.control import control

        with control(self.address, self.certificate) as stub:
            stub.register(parties)

    def stop(self) -> None:
        """End it and what it started."""
        child.stop(self.process)

    def __enter__(self) -> "Link":
        return self

    def __exit__(self, *_) -> None:
        self.stop()


def require_free(host: str, port: int) -> None:
    """Refuse a port on which something listens.

    Raises:
        InputError: names it.
    """
    if not 1 <= port <= 65535:
        raise InputError(f"--port {port}: the link needs it and its two neighbours, all from 1 to 65535")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(f"--port: {host}:{port} is taken or not of this machine; choose another") from error


def free_ports() -> int:
    """P of three ports in a row on which nothing listens."""
    for _ in range(100):
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port = probe.getsockname()[1]
        try:
            for number in (port - 1, port, port + 1):
                require_free(LOOPBACK, number)
        except InputError:
            continue
        return port
    raise InputError("--port: no three free ports in a row were found; give one")


def _listens(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host if host != "0.0.0.0" else LOOPBACK, port), 1):
            return True
    except OSError:
        return False
