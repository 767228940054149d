"""The examples of docs/workers let the coordinator's certificate through, and nothing else."""

import socket
import ssl
from contextlib import ExitStack

import pytest

from federated.tff.worker import Worker, free_port
from tests.federated.remote.certificates import Authority
from tests.federated.remote.tunnels import running

# An HTTP/2 client's first words; TFF's worker answers with its settings.
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SETTINGS = 4


@pytest.fixture(scope="module")
def authorities(tmp_path_factory):
    ours, foreign = (Authority(tmp_path_factory.mktemp(name)) for name in ("ours", "foreign"))
    for authority in (ours, foreign):
        for host in ("site-a", "coordinator"):
            authority.issue(f"{host}.example.org")
    # Of our authority, but not the coordinator.
    ours.issue("site-b.example.org")
    return ours, foreign


@pytest.fixture(scope="module")
def worker():
    running_worker = Worker()
    yield running_worker
    running_worker.stop()


@pytest.fixture(scope="module", params=["stunnel-site.conf", "nginx-site.conf"])
def port(request, authorities, worker, tmp_path_factory):
    outside = free_port()
    folder = tmp_path_factory.mktemp("tunnel")
    changes = {"0.0.0.0:8443": f"127.0.0.1:{outside}", "127.0.0.1:8500": worker.address}
    if request.param.startswith("nginx"):
        changes["/run/medimg-nginx.pid"] = str(folder / "pid")
    with running(request.param, folder, authorities[0], changes, [outside]):
        yield outside


def first_answer(port: int, context: ssl.SSLContext | None) -> bytes:
    """What comes back for an HTTP/2 client's first words; nothing where the connection is refused."""
    with ExitStack() as stack:
        try:
            line = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            if context:
                line = stack.enter_context(context.wrap_socket(line, server_hostname="site-a.example.org"))
            line.sendall(PREFACE)
            return line.recv(64)
        except (ssl.SSLError, ConnectionError):
            return b""


def presenting(authorities, certificate: str | None, of: int = 0) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authorities[0].path)
    if certificate:
        folder = authorities[of].folder
        context.load_cert_chain(folder / f"{certificate}.pem", folder / f"{certificate}.key")
    return context


def is_workers(answer: bytes) -> bool:
    return len(answer) >= 9 and answer[3] == SETTINGS


def test_coordinator_is_let_through(port, authorities):
    context = presenting(authorities, "coordinator.example.org")
    assert is_workers(first_answer(port, context))


def test_worker_itself_answers_without_tls(worker):
    # Else the refusals below would show nothing.
    assert is_workers(first_answer(worker.port, None))


def test_plain_connection_is_refused(port):
    assert not is_workers(first_answer(port, None))


@pytest.mark.parametrize(
    ("certificate", "of"),
    [(None, 0), ("coordinator.example.org", 1), ("site-b.example.org", 0)],
    ids=["none", "foreign authority", "not the coordinator"],
)
def test_other_certificates_are_refused(port, authorities, certificate, of):
    assert first_answer(port, presenting(authorities, certificate, of)) == b""


def test_older_tls_is_refused(port, authorities):
    context = presenting(authorities, "coordinator.example.org")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert first_answer(port, context) == b""
