"""The review page: the answers of `predict`, for its own page alone, whatever is sent to it."""

import base64
import csv
import io
import json
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from starlette.testclient import TestClient

from explain.config import ExplainConfig, ReviewConfig
from explain.explainer import Explainer, heat_of
from explain.review import connection, view
from explain.review.reviewer import Reviewer
from explain.review.server import TOKEN, ReviewSite, bound, server
from explain.review.study import COLUMNS, ReaderStudy
from medimg.config import TrainConfig
from medimg.data.imaging import encode_png
from medimg.dicom import pixels
from medimg.errors import InputError
from medimg.prediction.config import PredictConfig
from medimg.prediction.inputs import Image as Named
from medimg.prediction.predict import predict
from medimg.training.any_model import train_any
from medimg.training.train import train
from medimg.untrusted.csv_cells import read_csv
from tests.command import medimg

HOST = "127.0.0.1:8000"
PAGE = f"http://{HOST}"
SECRET = "s" * 43
ROOT = Path(__file__).parents[3]
JPEG2000 = Path(get_testdata_file("JPEG2000.dcm")).read_bytes()


@pytest.fixture(scope="module")
def reviewer(phantom_run):
    return Reviewer(phantom_run, ReviewConfig(nearest=2, max_megabytes=2, max_megapixels=4))


@pytest.fixture
def study(tmp_path):
    return ReaderStudy(tmp_path / "study.csv")


@pytest.fixture
def client(reviewer, study):
    return TestClient(ReviewSite(reviewer, (HOST,), SECRET, study).app(), base_url=PAGE, raise_server_exceptions=True)


def send(client, data: bytes, name: str = "a.png", **headers):
    return client.post("/answer", content=data, headers={TOKEN: SECRET, "x-medimg-name": name, **headers})


def files(phantom_data) -> dict[str, bytes]:
    """Names that a CSV of predictions tells apart, and contents."""
    paths = phantom_data.paths(phantom_data.rows("test"))[:3]
    found = {path.name: path.read_bytes() for path in paths}
    colour = np.random.default_rng(0).integers(0, 256, (50, 80, 3), np.uint8)
    found["colour.png"] = encode_png(colour)
    turned, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(colour).save(turned, "JPEG", exif=exif)
    found["turned.jpg"] = turned.getvalue()
    for name in ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm"):
        found[name] = Path(get_testdata_file(name)).read_bytes()
    return found


def test_answers_are_those_of_predict(client, reviewer, phantom_run, phantom_data, tmp_path):
    sent = files(phantom_data)
    for name, data in sent.items():
        (tmp_path / name).write_bytes(data)
    predict(phantom_run, tuple(str(tmp_path / name) for name in sent), tmp_path / "out.csv", PredictConfig())
    table = read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert len(table) == len(sent)
    for (name, data), (_, row) in zip(sent.items(), table.iterrows(), strict=True):
        told = send(client, data, name).json()
        assert [one["name"] for one in told["classes"]] == ["normal", "opacity"]
        for one in told["classes"]:
            assert one["p"] == pytest.approx(row[f"p_{one['name']}"], abs=1e-6)
        assert told["classes"][1]["threshold"] == pytest.approx(float(row["threshold"]))
        assert told["decision"] == row["decision"]
        assert "; ".join(told["warnings"]) == row["warnings"]
        far = told["distance"]["value"] > told["distance"]["limit"]
        assert far == ("far from the training set" in row["warnings"])
        assert len(told["nearest"]) == 2
    assert len(table["decision"].unique()) == 2


def picture(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,")))))


def test_the_map_is_that_of_explain(client, reviewer, phantom_run, phantom_data):
    path = phantom_data.paths(phantom_data.rows("test"))[0]
    shown = picture(send(client, path.read_bytes()).json()["map"]["png"])
    inputs = [one[None] for one in reviewer.reader.read(Named(str(path), path))[0]]
    heat, of = heat_of(Explainer(phantom_run, ExplainConfig()), inputs, np.array([0]))
    assert of == 1
    assert shown.shape == (64, 64, 4)
    np.testing.assert_allclose(shown[:, :, 3] / 255, heat[0], atol=1 / 254)


def test_dicom_values_are_sent_for_any_window(client):
    file = Path(get_testdata_file("CT_small.dcm"))
    told = send(client, file.read_bytes(), file.name).json()["view"]
    window = told["window"]
    levels = np.frombuffer(base64.b64decode(told["data"]), "<u2").reshape(told["height"], told["width"])
    values = window["low"] + (window["high"] - window["low"]) * levels / window["full"]
    header = pydicom.dcmread(file)
    expected = pixels.apply_modality_lut(header.pixel_array, header)
    np.testing.assert_allclose(values, expected, atol=1.0)


@pytest.mark.slow
def test_each_member_of_an_ensemble_answers(noise, tmp_path):
    options = {"image_size": 32, "model_arg": {"width": "4", "stages": "1"}, "epochs": 1}
    runs = [train(noise.root, tmp_path / f"run{i}", TrainConfig(seed=i, **options)) for i in range(2)]
    members = tuple(str(run.root) for run in runs)
    voted = train_any(noise.root, tmp_path / "voted", TrainConfig(model="ensemble", member=members))
    data = noise.paths(noise.rows("test"))[0].read_bytes()
    told = Reviewer(voted, ReviewConfig()).answer("a.png", data)
    assert told["nearest"] == []
    for one, run in zip(told["members"], runs, strict=True):
        alone = Reviewer(run, ReviewConfig()).answer("a.png", data)
        np.testing.assert_allclose(one["p"], [c["p"] for c in alone["classes"]], atol=1e-6)
    mean = np.average([one["p"] for one in told["members"]], axis=0, weights=[one["weight"] for one in told["members"]])
    np.testing.assert_allclose([one["p"] for one in told["classes"]], mean, atol=1e-6)


def test_the_page_is_for_who_has_the_token(client):
    page = client.get(f"/?token={SECRET}")
    assert page.status_code == 200
    assert client.get("/").status_code == 403
    assert client.get("/?token=wrong").status_code == 403
    assert client.get("/?token=%FF%00").status_code == 403
    assert client.post("/answer", content=b"x").status_code == 403
    # The address alone lets nobody post: another page's form could have it.
    assert client.post(f"/answer?token={SECRET}", content=b"x").status_code == 403
    for path in ("/../etc/passwd", "/%2e%2e/etc/passwd", "/review.html", "/openapi.json"):
        assert client.get(path, params={"token": SECRET}).status_code in (404, 405)
    assert client.get("/answer", params={"token": SECRET}).status_code == 405


def test_other_pages_and_other_names_are_refused(client):
    for host in ("evil.example", "127.0.0.1:9", "127.0.0.1", "localhost.evil.example:8000", "127.0.0.1:8000.evil"):
        refused = client.get(f"/?token={SECRET}", headers={"host": host})
        assert refused.status_code == 421, host
    assert send(client, b"x", origin="http://evil.example").status_code == 403
    assert send(client, b"x", origin="null").status_code == 403
    assert send(client, b"x", origin=PAGE).status_code == 415


def test_the_page_loads_nothing_but_itself(client):
    page = client.get(f"/?token={SECRET}")
    policy = page.headers["content-security-policy"]
    nonce = policy.split("'nonce-")[1].split("'")[0]
    assert page.text.count(f'nonce="{nonce}"') == 2
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert client.get(f"/?token={SECRET}").headers["content-security-policy"] != policy
    for word in ("http://", "https://", "@import", "url(", SECRET):
        assert word not in page.text
    assert "not for diagnosis" in page.text
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"


def png(width: int, height: int, data: bytes = b"") -> bytes:
    parts = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(data)),
        (b"IEND", b""),
    ]
    chunks = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def bomb(data: bytes) -> bytes:
    """A DICOM file whose JPEG 2000 says that it is of 3.6 gigapixels."""
    place = data.index(b"\xff\x4f\xff\x51") + 8
    return data[:place] + struct.pack(">II", 60_000, 60_000) + data[place + 8 :]


def malformed(draw: np.random.Generator, good: list[bytes]) -> bytes:
    """One of many kinds of files that are none."""
    data, noise = good[draw.integers(len(good))], draw.integers(0, 256, draw.integers(1, 4000), np.uint8).tobytes()
    wide, high = (int(side) for side in draw.integers(2_500, 2**31 - 1, 2))
    kinds = (
        noise,
        data[: draw.integers(1, max(2, len(data) // 2))],
        png(wide, high),
        png(64, 64, bytes(10)),
        b"PK\x03\x04" + data,
        b"\0" * 128 + b"DICM" + noise,
        b"GIF89a" + noise,
        bomb(JPEG2000),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>" + data[:50],
    )
    return kinds[draw.integers(len(kinds))]


def test_what_is_no_image_is_a_4xx(client, phantom_data, reviewer):
    good = list(files(phantom_data).values())
    for data, status in (
        (b"", 400),
        (b"hello", 415),
        (b"PK\x03\x04" + good[0], 415),
        (b"%PDF-1.4", 415),
        (good[0][:200], 422),
        (png(60_000, 60_000), 422),
        (png(2**31 - 1, 2**31 - 1), 422),
        (b"\0" * 128 + b"DICM", 422),
        (good[-1][:3000], 422),
        (b"\0" * 3_000_000, 413),
        (bomb(JPEG2000), 422),
    ):
        refused = send(client, data)
        assert refused.status_code == status, (data[:20], refused.text)
        assert refused.json()["error"]
        assert "medimg-review-" not in refused.text
    for frame in ("1", "9999999"):
        assert send(client, good[-1], **{"x-medimg-frame": frame}).status_code == 422
    for frame in ("-1", "x", "1" * 30, "²"):
        assert send(client, good[-1], **{"x-medimg-frame": frame.encode()}).status_code == 400
    assert send(client, good[0], "..%2F..%2Fetc%2Fpasswd").json()["name"] == "../../etc/passwd"
    draw = np.random.default_rng(0)
    for _ in range(40):
        assert 400 <= send(client, malformed(draw, good)).status_code < 500
    assert send(client, good[0]).status_code == 200


@pytest.mark.parametrize("slope", ["1e308", "1e-320", "-1", "nan"])
@pytest.mark.parametrize("intercept", ["1e308", "-1e308", "0"])
def test_numbers_of_a_header_that_no_json_has(client, slope, intercept):
    held, told = pydicom.dcmread(get_testdata_file("CT_small.dcm")), io.BytesIO()
    for name, value in (("RescaleSlope", slope), ("RescaleIntercept", intercept), ("WindowWidth", "1e308")):
        text = value.encode() + b" " * (len(value) % 2)
        held._dict[Tag(name)] = RawDataElement(Tag(name), "DS", len(text), text, 0, False, True)
    held.save_as(told)
    answer = send(client, told.getvalue())
    assert answer.status_code in (200, 422), answer.text
    assert answer.json()


@pytest.mark.slow
def test_readers_judge_at_once_and_each_answer_once(client, study, phantom_data):
    data = phantom_data.paths(phantom_data.rows("test"))[0].read_bytes()
    told = [send(client, data, "=cmd.png").json() for _ in range(16)]

    def judge(i: int):
        said = {
            "reading": told[i]["reading"],
            "reader": f"Dr {i}",
            "answer": ("agree", "disagree")[i % 2],
            "seconds": i,
        }
        return client.post("/reading", content=json.dumps(said), headers={TOKEN: SECRET}).status_code

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(judge, range(16))) == [200] * 16
        assert list(pool.map(judge, range(16))) == [409] * 16
    with study.path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert {row["reader"]: row["answer"] for row in rows} == {
        f"Dr {i}": ("agree", "disagree")[i % 2] for i in range(16)
    }
    assert {row["file"] for row in rows} == {"'=cmd.png"}
    assert {float(row["p"]) for row in rows} == {told[0]["classes"][1]["p"]}
    for wrong in (b"", b"[]", b"{}", b"null", b"[" * 4000, b"x" * 5000, b"\xff", json.dumps({"reading": 1}).encode()):
        assert client.post("/reading", content=wrong, headers={TOKEN: SECRET}).status_code in (400, 413)
    for change in ({"answer": "maybe"}, {"reader": " "}, {"reader": "x" * 101}, {"seconds": -1}, {"seconds": "nan"}):
        said = {"reading": "x", "reader": "Dr", "answer": "agree", **change}
        assert client.post("/reading", content=json.dumps(said), headers={TOKEN: SECRET}).status_code == 400


def test_two_processes_write_one_study(tmp_path):
    row = dict.fromkeys(COLUMNS[1:], "x")
    studies = [ReaderStudy(tmp_path / "s.csv") for _ in range(2)]
    threads = [threading.Thread(target=lambda s=s: [s.add(row) for _ in range(20)]) for s in studies * 2]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert len(lines) == 81
    assert {line.count(",") for line in lines} == {len(COLUMNS) - 1}
    (tmp_path / "other.csv").write_text("mine\n1\n")
    with pytest.raises(InputError, match="is no reader study"):
        ReaderStudy(tmp_path / "other.csv")
    assert (tmp_path / "other.csv").read_text() == "mine\n1\n"


def rows_of(path: Path) -> list[dict]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_reading_that_finds_no_room_leaves_nothing_of_itself(study):
    row = dict.fromkeys(COLUMNS[1:], "x")
    study.add(row)
    before = study.path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As on a full disk the first bytes of the line still find room.
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, limits[1]))
    try:
        with pytest.raises(InputError, match="File too large"):
            study.add({**row, "reader": "lost"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert study.path.read_bytes() == before
    study.add({**row, "reader": "Dr B"})
    assert [entry["reader"] for entry in rows_of(study.path)] == ["x", "Dr B"]


def test_a_line_that_was_broken_off_takes_no_reading_with_it(study):
    with study.path.open("a") as file:
        file.write("2026-01-01,Dr A,a.p")
    again = ReaderStudy(study.path)
    for name in ("Dr B", "Dr C"):
        again.add({**dict.fromkeys(COLUMNS[1:], "x"), "reader": name})
    assert [entry["reader"] for entry in rows_of(study.path)] == ["Dr A", "Dr B", "Dr C"]


@pytest.mark.parametrize("name", ["BitsStored", "RescaleSlope", "WindowCenter"])
def test_a_header_without_a_number_has_no_window_or_none_of_its_own(tmp_path, name):
    header = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    header.WindowCenter, header.WindowWidth = 40, 400
    header[name].value = None
    header.save_as(tmp_path / "a.dcm")
    span = view._span(str(tmp_path / "a.dcm"), 0)
    assert (span is None) == (name == "BitsStored")
    assert span is None or (span[2] is None) == (name == "WindowCenter")


def test_no_study_no_readings(reviewer, phantom_data):
    client = TestClient(ReviewSite(reviewer, (HOST,), SECRET).app(), base_url=PAGE)
    assert "Reader study" not in client.get(f"/?token={SECRET}").text
    assert client.post("/reading", content=b"{}", headers={TOKEN: SECRET}).status_code == 404
    data = phantom_data.paths(phantom_data.rows("test"))[0].read_bytes()
    assert "reading" not in send(client, data).json()


def test_who_asks_for_nothing_loses_the_line(reviewer, phantom_data, monkeypatch):
    monkeypatch.setattr(connection, "SECONDS", 0.3)
    found = bound(0)
    place = found.getsockname()
    running = server(reviewer, found, SECRET, None)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [found]}, daemon=True)
    thread.start()
    try:
        # Nothing, half a request, a whole one and half of the next.
        begun = (b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT")
        lines = [socket.create_connection(place, 10) for _ in begun]
        for line, data in zip(lines, begun, strict=True):
            line.sendall(data)
        for line in lines:
            while line.recv(4096):
                pass
        # Who has asked is answered, however long it takes.
        data = phantom_data.paths(phantom_data.rows("test"))[0].read_bytes()
        asked = {"Host": f"127.0.0.1:{place[1]}", TOKEN: SECRET, "Content-Length": len(data)}
        head = "POST /answer HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in asked.items()) + "\r\n"
        with socket.create_connection(place, 30) as slow:
            slow.sendall(head.encode() + data[:10])
            time.sleep(1)
            slow.sendall(data[10:])
            assert slow.recv(4096).startswith(b"HTTP/1.1 200")
    finally:
        running.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


@pytest.mark.slow
def test_runs_that_have_no_page_or_show_no_training_image(small_table, noise, tmp_path):
    table = train(small_table.root, tmp_path / "table", TrainConfig(model="logistic", epochs=1))
    told = medimg("review", table.root)
    assert (told.exit_code, told.output.count("\n")) == (2, 1)
    assert "review is for images" in told.output
    options = {"image_size": 32, "model_arg": {"width": "4", "stages": "1"}, "epochs": 1, "norm": "group"}
    private = train(noise.root, tmp_path / "run", TrainConfig(**options, batch_size=8, dp_epsilon=2.0, dp_delta=1e-3))
    with pytest.raises(InputError, match="--nearest: the Run protects its training patients"):
        Reviewer(private, ReviewConfig(nearest=1))
    # Nor is anything said of a patient whom it protects.
    client = TestClient(ReviewSite(Reviewer(private, ReviewConfig()), (HOST,), SECRET).app(), base_url=PAGE)
    path = noise.paths(noise.rows("train"))[0]
    refused = send(client, path.read_bytes())
    assert refused.status_code == 422
    assert "protects" in refused.json()["error"]
    assert send(client, noise.paths(noise.rows("test"))[0].read_bytes()).status_code == 200
    described = private.root / "model.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | {"classes": ["one"]}))
    for words in (("review",), ("predict", noise.root, "--out", tmp_path / "p.csv")):
        told = medimg(words[0], private.root, *words[1:])
        assert told.exit_code == 2, told.output
        assert f"{described}: names 1 classes, a binary model has 2" in told.stderr


@pytest.mark.slow
def test_the_command_listens_on_loopback_until_it_is_interrupted(phantom_run, phantom_data):
    command = [sys.executable, "cli.py", "review", str(phantom_run.root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            address = process.stdout.readline().strip()
            host, _, token = address.removeprefix("http://").partition("/?token=")
            assert host.startswith("127.0.0.1:")
            assert len(token) > 40
            (held,) = [c for c in psutil.Process(process.pid).net_connections() if c.status == psutil.CONN_LISTEN]
            assert held.laddr.ip == "127.0.0.1"
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            assert "not for diagnosis" in opener.open(address, timeout=60).read().decode()
            data = phantom_data.paths(phantom_data.rows("test"))[0].read_bytes()
            asked = urllib.request.Request(f"http://{host}/answer", data, {TOKEN: token})
            assert json.load(opener.open(asked, timeout=60))["decision"] in ("normal", "opacity")
            process.send_signal(signal.SIGINT)
            told = process.communicate(timeout=60)
            assert process.returncode == 130, told
            # Neither the token nor what was asked is logged.
            assert token not in "".join(told)
        finally:
            process.kill()
