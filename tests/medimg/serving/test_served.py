"""The contract over the wire, by a stand-in for TensorFlow Serving: answers, bad inputs, check.py and printed lines."""

import base64
import json
import os
import stat
import subprocess
import urllib.request

import numpy as np
import pytest

from medimg.evaluation.prediction import predict_rows
from medimg.serving.answer import UNREAD
from medimg.serving.config import ExportConfig
from medimg.serving.export import CHECKS, REQUEST, SCRIPT, export, serving_commands
from medimg.serving.images import NO_IMAGE
from medimg.training.train import train
from tests.medimg.serving.stand_in import answers, run_check, served

NAME = "it's a chest, 2nd"


@pytest.fixture(scope="module")
def folder(phantom_run, tmp_path_factory):
    """Of a model whose name and folder a shell and a URL would take apart."""
    out = tmp_path_factory.mktemp("saved models") / NAME
    export(phantom_run, out, ExportConfig(samples=2))
    return out


@pytest.fixture(scope="module")
def server(folder):
    with served(folder, NAME) as addresses:
        yield addresses


def test_the_script_finds_the_exported_model(folder, server, phantom_data):
    image = phantom_data.paths(phantom_data.rows("test"))[0]
    done = run_check(folder, "--rest", server[0], "--grpc", server[1], str(image))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(",")[0] for line in lines[::2]] == [
        f"{way} serving_default: 5 examples" for way in ("REST", "gRPC")
    ]
    assert lines[1].split("png ")[1] == lines[3].split("png ")[1]
    assert not any(word in (folder / SCRIPT).read_text() for word in ("import medimg", "from medimg"))


def test_the_script_finds_another_model(folder, server):
    path = folder / "1" / CHECKS
    before = path.read_text()
    content = json.loads(before)
    content["requests"][0]["probabilities"][0] = [0.25, 0.75]
    path.write_text(json.dumps(content))
    try:
        done = run_check(folder, "--rest", server[0])
    finally:
        path.write_text(before)
    assert done.returncode == 1
    assert "DIFFERS" in done.stdout


def test_the_script_says_that_nobody_answers(folder):
    done = run_check(folder, "--rest", "http://127.0.0.1:9", "--name", "x")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("REST: ")


def test_one_bad_image_fails_alone(server, phantom_data):
    paths = phantom_data.paths(phantom_data.rows("test"))[:2]
    data = [paths[0].read_bytes(), b"", b"\x89PNG\r\n\x1a\n broken", paths[1].read_bytes(), paths[1].read_bytes()[:200]]
    together = ask(server[0], data)
    assert [one["error"] for one in together] == ["", NO_IMAGE, NO_IMAGE, "", NO_IMAGE]
    assert [one["label"] == "" for one in together] == [False, True, True, False, True]
    assert together[1]["probabilities"] == [UNREAD, UNREAD]
    alone = ask(server[0], [data[0]]) + ask(server[0], [data[3]])
    np.testing.assert_allclose(
        [together[i]["probabilities"] for i in (0, 3)], [one["probabilities"] for one in alone], atol=1e-6
    )
    assert [one["error"] for one in ask(server[0], [b"nothing", b"good"])] == [NO_IMAGE] * 2


def ask(address, images):
    body = {"instances": [{"image_bytes": {"b64": base64.b64encode(data).decode()}} for data in images]}
    url = f"{address}/v1/models/{urllib.request.quote(NAME)}:predict"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, json.dumps(body).encode(), timeout=30) as answer:
        return json.load(answer)["predictions"]


def test_a_shell_reads_the_printed_lines_as_they_are_meant(folder, server, phantom_data, tmp_path):
    """`docker` and `python` are programs that print what they are given; curl is the real one where there is one."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for program in ("docker", "python"):
        (programs / program).write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
        (programs / program).chmod(stat.S_IRWXU)
    (tmp_path / "image.png").write_bytes(phantom_data.paths(phantom_data.rows("test"))[0].read_bytes())
    environment = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "no_proxy": "*"}

    def shell(line):
        done = subprocess.run(
            ["sh", "-c", line], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    docker, curl, python = serving_commands(folder, NAME)
    given = shell(docker).splitlines()
    assert f"MODEL_NAME={NAME}" in given
    # A field with a comma is quoted, as Docker's reader of mounts wants it.
    assert given[given.index("--mount") + 1] == f'type=bind,"source={folder}","target=/models/{NAME}"'
    assert shell(python).splitlines()[0] == str(folder / SCRIPT)
    answer = json.loads(shell(curl.replace("http://localhost:8501", server[0])))
    assert answer["predictions"][0]["label"] in ("normal", "opacity")


@pytest.mark.slow
def test_a_table_over_the_wire(small_table, tmp_path):
    from medimg.config import TrainConfig

    run = train(small_table.root, tmp_path / "run", TrainConfig(model="logistic", epochs=1))
    export(run, tmp_path / "out", ExportConfig(samples=2))
    (row,) = json.loads((tmp_path / "out" / "1" / REQUEST).read_text())["instances"]
    with served(tmp_path / "out", "out") as addresses:
        done = run_check(tmp_path / "out", "--rest", addresses[0], "--grpc", addresses[1])
        assert done.returncode == 0, done.stdout
        body = json.dumps({"instances": [row, {**row, "day": "2020-02-30"}]}).encode()
        with urllib.request.urlopen(f"{addresses[0]}/v1/models/out:predict", body, timeout=30) as answer:
            good, bad = json.load(answer)["predictions"]
        raw = small_table.rows("test").head(3)
        raw.to_csv(tmp_path / "rows.csv", index=False)
        done = run_check(tmp_path / "out", "--rest", addresses[0], "--grpc", addresses[1], str(tmp_path / "rows.csv"))
    assert done.returncode == 0, done.stdout
    expected = predict_rows(run.model(), raw, run.description(), small_table.root)
    for way in ("REST", "gRPC"):
        np.testing.assert_allclose([one["probabilities"] for _, one in answers(done, way)], expected, atol=1e-5)
    assert good["error"] == ""
    assert "no such day" in bad["error"]
    assert bad["probabilities"] == [UNREAD, UNREAD]
