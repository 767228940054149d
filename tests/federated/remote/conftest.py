"""Workers in processes of their own, as `medimg federate worker` starts them, and a table that three sites hold."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.datasets import write_table

SERVE = """
import json, sys
from federated.remote.serve import serve
given = json.loads(sys.argv[1])
try:
    serve(**given, log=lambda line: print(line, flush=True))
except ValueError as error:
    print("refused:", error, flush=True)
"""


class ServedSite:
    """A site's worker.

    Args:
        data: folder of the Dataset.
        spool: folder for its temporary files.
        options: of `serve`.
    """

    def __init__(self, data: Path, spool: Path, **options):
        import json

        spool.mkdir(exist_ok=True)
        given = json.dumps({"data": str(data), "port": 0, **options})
        self.temporary = spool
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, given],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "TMPDIR": str(spool)},
        )
        self.first = self.process.stdout.readline()
        found = re.search(r":(\d+)$", self.first.strip())
        self.port = int(found[1]) if found else None
        self.family = psutil.Process(self.process.pid).children(recursive=True)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def end(self, number: int = signal.SIGTERM) -> str:
        """Send a signal, wait, and return what it had said."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        said, _ = self.process.communicate(timeout=20)
        return self.first + said

    def leftovers(self) -> list[psutil.Process]:
        """Processes of it that are still there some seconds after its end."""
        return psutil.wait_procs(self.family, timeout=5)[1]


@pytest.fixture(scope="session", autouse=True)
def namespaces():
    """A worker is shut into namespaces of its own; where the system forbids them it does not start."""
    allowed = subprocess.run(["unshare", "-Urn", "true"], capture_output=True, check=False)
    if allowed.returncode:
        pytest.skip("user namespaces are not allowed here")


@pytest.fixture(scope="module")
def table_data(tmp_path_factory):
    dataset = write_table(tmp_path_factory.mktemp("table") / "data", n=240)
    return dataset.root


@pytest.fixture(scope="module")
def serve(table_data, tmp_path_factory):
    """Start workers of the table; all are ended afterwards."""
    started = []

    def start(**options) -> ServedSite:
        spool = options.pop("spool", None) or tmp_path_factory.mktemp("spool")
        started.append(ServedSite(table_data, spool, **options))
        return started[-1]

    yield start
    for site in started:
        if site.process.poll() is None:
            site.end()
