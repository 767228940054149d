"""Two devices, or two processes on loopback, train what one does; one whose other is killed ends with one line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medimg.errors import InputError
from medimg.training.cluster import out_of
from medimg.training.distribution import distributed
from tests.command import medimg
from tests.ports import free_ports

ROOT = Path(__file__).parents[3]
# Every batch is of an odd number of images, the last of three: shares are unequal.
OPTIONS = [
    "--image-size",
    "32",
    "--model-arg",
    "width=4",
    "--model-arg",
    "stages=1",
    "--norm",
    "group",
    "--dropout",
    "0",
    "--augment",
    "light",
    "--batch-size",
    "7",
    "--patience",
    "0",
    "--seed",
    "4",
]
TWO_DEVICES = (
    "import sys, tensorflow as tf; cpu = tf.config.list_physical_devices('CPU')[0]; "
    "tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2); "
    "import cli; cli.medimg(sys.argv[1:])"
)


def started(data: Path, out: Path, *options: str, code: str = "", index: int = 0, ports=()) -> subprocess.Popen:
    words = ["train", str(data), "--out", str(out), *OPTIONS, *options]
    environment = dict(os.environ, PYTHONPATH=str(ROOT), TF_CPP_MIN_LOG_LEVEL="3")
    if ports:
        workers = [f"127.0.0.1:{port}" for port in ports]
        config = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        environment["TF_CONFIG"] = json.dumps(config)
    command = [sys.executable, "-c", code or "import sys, cli; cli.medimg(sys.argv[1:])", *words]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )


def ended(process: subprocess.Popen) -> None:
    _, told = process.communicate(timeout=300)
    assert process.returncode == 0, told[-2000:]


def weights(out: Path) -> list[np.ndarray]:
    from medimg.run import Run

    return Run.load(out).model().get_weights()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mirrored", "multi-worker"])
def test_two_are_as_one(kind, noise, tmp_path):
    options = ("--epochs", "2", "--distribute", kind)
    if kind == "mirrored":
        processes = [started(noise.root, tmp_path / "two", *options, code=TWO_DEVICES)]
    else:
        ports = free_ports(2)
        processes = [started(noise.root, tmp_path / "two", *options, index=i, ports=ports) for i in range(2)]
    one = medimg("train", noise.root, "--out", tmp_path / "one", *OPTIONS, "--epochs", 2)
    assert one.exit_code == 0, one.output
    for process in processes:
        ended(process)
    for own, other in zip(weights(tmp_path / "two"), weights(tmp_path / "one"), strict=True):
        np.testing.assert_allclose(own, other, atol=1e-5)
    # The second worker writes nothing here.
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}


@pytest.mark.slow
def test_a_dead_worker_ends_the_other_with_one_line(noise, tmp_path):
    ports = free_ports(2)
    options = ("--epochs", "2000", "--distribute", "multi-worker")
    first, second = (started(noise.root, tmp_path / "run", *options, index=i, ports=ports) for i in range(2))
    try:
        deadline = time.monotonic() + 240
        while not (tmp_path / "run" / "history.csv").is_file() and time.monotonic() < deadline:
            assert first.poll() is None, first.communicate()[1][-2000:]
            time.sleep(0.1)
        second.kill()
        _, told = first.communicate(timeout=240)
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()
    assert first.returncode == 2, told[-2000:]
    (line,) = [line for line in told.splitlines() if line.startswith("medimg: error: ")]
    assert "another worker is gone" in line
    assert "Traceback" not in told


@pytest.mark.slow
@pytest.mark.parametrize("fate", ["never comes", "is refused"])
def test_a_worker_that_does_not_train_ends_the_wait_of_the_other(fate, noise, tmp_path):
    ports = free_ports(2)
    options = ("--epochs", "2", "--distribute", "multi-worker")
    hurried = "import medimg.training.others as others; others._COMES = {}; import sys, cli; "
    hurried += "cli.medimg(sys.argv[1:])"
    code = hurried.format(5 if fate == "never comes" else 60)
    processes = [started(noise.root, tmp_path / "run", *options, code=code, ports=ports)]
    if fate == "is refused":
        shutil.copytree(noise.root, tmp_path / "data")
        rows = noise.manifest.assign(label=noise.classes[0])
        replace(noise, root=tmp_path / "data", manifest=rows).save()
        # It joins, and then finds that its own data have one class.
        second = started(tmp_path / "data", tmp_path / "run", *options, code=hurried.format(60), index=1, ports=ports)
        processes.append(second)
    try:
        _, words = processes[0].communicate(timeout=240)
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert processes[0].returncode == 2, words[-2000:]
    (line,) = [line for line in words.splitlines() if line.startswith("medimg: error: ")]
    if fate == "never comes":
        assert f"worker 127.0.0.1:{ports[1]} has not come" in line
    else:
        # TensorFlow's word where it waits for the other's data, ours where it would wait for the other itself.
        assert "another worker is gone" in line or f"worker 127.0.0.1:{ports[1]} does not answer" in line
    assert "Traceback" not in words


@pytest.mark.slow
def test_a_worker_that_waits_ends_by_a_signal(noise, tmp_path):
    process = started(noise.root, tmp_path / "run", "--distribute", "multi-worker", ports=free_ports(2))
    time.sleep(25)
    process.terminate()
    try:
        assert process.wait(20) == -signal.SIGTERM
    finally:
        process.kill()
        process.communicate()


def test_a_worker_knows_its_number(monkeypatch):
    """Where a scheduler fills it in, it may be text."""
    cluster = {"worker": ["a:1", "b:1"]}
    for index, out in (("0", "RUN"), (0, "RUN")):
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}))
        assert out_of("RUN", "multi-worker") == out
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": "1"}}))
    assert out_of("RUN", "multi-worker") != "RUN"


_CHIEF = '{"cluster": {"chief": ["c:1"], "worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}'
_SECOND = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}'


@pytest.mark.parametrize("config", ["", "{", "[]", '{"cluster": {"worker": ["a:1"]}}', _CHIEF, _SECOND])
def test_a_cluster_that_is_none_is_refused(config, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(InputError, match="TF_CONFIG"), distributed("multi-worker"):
        pass
