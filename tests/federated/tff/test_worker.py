import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from federated.tff.worker import Worker, binary


def alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds=10.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def command(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text()


def test_stops_and_stops_again():
    worker = Worker()
    process = worker.process.pid
    assert wait_until(lambda: str(binary()) in command(process).split("\0")[0])
    worker.stop()
    assert not alive(process)
    worker.stop()


PARENT = """
import sys, time
from federated.tff.worker import Worker
worker = Worker()
print(worker.process.pid, flush=True)
{then}
"""


@pytest.mark.parametrize("end", ["killed", "interrupted", "returned", "failed"])
def test_no_worker_outlives_its_parent(end):
    then = {"returned": "pass", "failed": "raise SystemExit(3)"}.get(end, "time.sleep(60)")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.format(then=then)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    process = int(parent.stdout.readline())
    if end in ("killed", "interrupted"):
        # The guard has become the worker: from here on the kernel ends it.
        assert wait_until(lambda: str(binary()) in command(process).split("\0")[0])
        parent.send_signal(signal.SIGKILL if end == "killed" else signal.SIGINT)
    # A worker that kept our output open would hang here.
    parent.communicate(timeout=20)
    assert wait_until(lambda: not alive(process))


def test_worker_that_does_not_answer_is_named_and_ended():
    from federated.tff.execution import Execution, WorkerLostError

    before = {process.pid for process in psutil.Process().children(recursive=True)}
    with pytest.raises(WorkerLostError, match=r"worker 127.0.0.1:\d+: did not answer within 0 s"):
        Execution(patience=0.0)
    assert {process.pid for process in psutil.Process().children(recursive=True)} <= before


def test_a_proxy_in_the_environment_is_not_asked(monkeypatch):
    """Neither is the exception for this machine that some environments have."""
    from federated.tff.execution import Execution

    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.setblocking(False)
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy", "grpc_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.getsockname()[1]}")
        for exception in ("no_proxy", "NO_PROXY", "no_grpc_proxy"):
            monkeypatch.delenv(exception, raising=False)
        with Execution() as execution:
            assert execution.answers(5.0)
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_lost_worker_is_told_not_waited_for():
    import tensorflow as tf
    import tensorflow_federated as tff

    from federated.tff.execution import Execution, WorkerLostError

    @tff.tensorflow.computation
    def one():
        return tf.constant(1)

    with Execution() as execution:
        assert execution.run(one) == 1
        os.kill(execution.worker.process.pid, signal.SIGKILL)
        execution.worker.process.wait()
        with pytest.raises(WorkerLostError, match="has ended"):
            execution.run(one)
