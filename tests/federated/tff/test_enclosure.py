"""A worker is reached at 127.0.0.1 alone, and reaches nothing but its own folder."""

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from federated.tff.worker import NotIsolatedError, Worker, listening


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worker")
    for name in ("spool", "root"):
        (folder / name).mkdir()
    (folder / "spool" / "mine.txt").write_text("mine")
    (folder / "theirs.txt").write_text("theirs")
    running = Worker(folder=folder, isolated=True)
    running.folder = folder
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


@pytest.mark.slow
def test_graph_sees_the_spool_and_nothing_else(worker):
    import grpc
    import numpy as np
    import tensorflow as tf
    import tensorflow_federated as tff

    from federated.tff.execution import Execution

    @tff.tensorflow.computation(np.str_)
    def read(path):
        return tf.io.read_file(path)

    @tff.tensorflow.computation(np.str_)
    def write(path):
        with tf.control_dependencies([tf.io.write_file(path, "x")]):
            return tf.constant(True)

    with Execution(worker.address) as execution:
        assert execution.run(read, "mine.txt") == b"mine"
        assert execution.run(write, "new.txt")
        hidden = [str(worker.folder / "theirs.txt"), "../theirs.txt", __file__, "/etc/passwd"]
        for path in (*hidden, f"/proc/{worker.process.pid}/root/etc/passwd"):
            with pytest.raises(grpc.RpcError):
                execution.run(read, path)
        for path in ("/new.txt", "/usr/lib/new.txt", str(worker.folder / "new.txt")):
            with pytest.raises(grpc.RpcError):
                execution.run(write, path)
    assert (worker.folder / "spool" / "new.txt").read_text() == "x"


def test_stops_with_all_its_processes(tmp_path):
    worker = Worker(isolated=True)
    processes = family(worker)
    assert len(processes) == 2
    worker.stop()
    assert not psutil.wait_procs(processes, timeout=5)[1]


def test_taken_port_is_told():
    with listening("127.0.0.1", 0) as taken, pytest.raises(OSError, match="in use"):
        Worker(port=taken.getsockname()[1])


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
