"""The tunnels of docs/workers, run as they stand there but for paths and ports."""

import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "docs" / "workers"


@contextmanager
def running(example: str, folder: Path, authority, changes: dict[str, str], ports: list[int]):
    """Run an example of docs/workers.

    Args:
        example: its file.
        folder: for the changed file.
        authority: whose folder has the certificates.
        changes: further texts to replace, each of which must be there.
        ports: that it listens on when it is ready.
    """
    program = example.split("-", maxsplit=1)[0]
    if shutil.which(program, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin") is None:
        pytest.skip(f"{program} is not installed")
    text = (EXAMPLES / example).read_text()
    paths = {"/etc/medimg/federation-ca.pem": str(authority.path)}
    for host in ("site-a", "site-b", "coordinator"):
        for kind in ("pem", "key"):
            paths[f"/etc/medimg/{host}.{kind}"] = str(authority.folder / f"{host}.example.org.{kind}")
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    for old, new in paths.items():
        text = text.replace(old, new)
    folder.mkdir(exist_ok=True)
    path = folder / example
    path.write_text(text)
    command = [program, *(["-e", "stderr", "-p", str(folder), "-c"] if program == "nginx" else [])]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, str(path)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        for port in ports:
            _wait_for(port, process, folder / "log")
        yield process
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError(log.read_text())
