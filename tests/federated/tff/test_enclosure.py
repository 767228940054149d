"""A worker is reached at 127.0.0.1 alone, and reaches nothing."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from federated.tff.worker import NotIsolatedError, Worker


@pytest.fixture(scope="module")
def worker():
    running = Worker(isolated=True)
    yield running
    running.stop()


def family(worker) -> list[psutil.Process]:
    main = psutil.Process(worker.process.pid)
    return [main, *main.children(recursive=True)]


def test_nothing_of_it_listens_but_at_the_loopback(worker):
    processes = {process.pid for process in family(worker)}
    heard = [
        c.laddr for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN and c.pid in processes | {None}
    ]
    assert ("127.0.0.1", worker.port) in heard
    assert not [address for address in heard if address.port == worker.port and address[0] != "127.0.0.1"]


def test_open_worker_listens_everywhere():
    # What the enclosure is for; were it not so, the test above would show nothing.
    worker = Worker(isolated=False)
    try:
        process = psutil.Process(worker.process.pid)
        for _ in range(500):
            heard = [c.laddr.ip for c in process.net_connections("tcp")]
            if heard:
                break
            with pytest.raises(subprocess.TimeoutExpired):
                worker.process.wait(0.02)
        assert set(heard) & {"::", "0.0.0.0"}
    finally:
        worker.stop()


def test_has_no_privilege_left(worker):
    status = Path(f"/proc/{worker.process.pid}/status").read_text()
    for kind in ("CapPrm", "CapEff", "CapBnd"):
        assert f"{kind}:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status


def test_network_of_its_own_has_the_loopback_alone(worker):
    devices = Path(f"/proc/{worker.process.pid}/net/dev").read_text().splitlines()[2:]
    assert [line.split(":")[0].strip() for line in devices] == ["lo"]


def test_stops_with_all_its_processes():
    worker = Worker(isolated=True)
    processes = family(worker)
    assert len(processes) == 2
    worker.stop()
    assert not psutil.wait_procs(processes, timeout=5)[1]


REFUSED = """
from federated.tff.worker import NotIsolatedError, Worker
try:
    Worker(isolated=True)
except NotIsolatedError as error:
    print("refused:", error)
worker = Worker()
print(worker.isolated, worker.running())
worker.stop()
"""


def test_system_that_does_not_allow_it():
    # Inside namespaces in which no more may be made: the limit is there, and touches nothing outside.
    inside = f'echo 0 > /proc/sys/user/max_user_namespaces && exec {sys.executable} -c "$0"'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", inside, REFUSED],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.splitlines() == ["refused: unshare: No space left on device", "False True"]
    assert NotIsolatedError.__name__ in REFUSED
