"""A site's worker and whatever may arrive at it: it answers, goes on, and its log stays its own."""

import json
import os
import random
import re
import threading
import time

import pytest

from federated.remote import messages, serve
from federated.remote.site import Site
from federated.remote.spool import Spool
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.untrusted.printable import printable

STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d "
DEEP = b"[" * 200_000 + b"]" * 200_000
STRANGE = [
    b"",
    b"not json",
    b"\xff\xfe\x00",
    b"null",
    b"1",
    b'"text"',
    b"[]",
    b"{}",
    b'{"kind": "describe"',
    DEEP,
    b'{"kind": "describe", "x": ' + DEEP + b"}",
    b'{"kind": ' + b"9" * 10_000 + b"}",
    b'{"kind": NaN, "seed": Infinity}',
    *(
        json.dumps({"kind": "describe", **odd}).encode()
        for odd in (
            {"kind": None},
            {"kind": ["describe"]},
            {"kind": {"a": 1}},
            {"kind": "x" * 1_000_000},
            {"seed": "3"},
            {"seed": None},
            {"seed": -1},
            {"seed": 1.5},
            {"seed": True},
            {"seed": 10**400},
            {"clients": None},
            {"clients": "s0"},
            {"clients": {"s0": 1}},
            {"clients": [["s0"]]},
            {"clients": [1, None]},
            {"clients": ["s0\n" * 100] * 10_000},
            {"from": None},
            {"from": {"a": []}},
            {"from": "\ud800\udfff\x00"},
            {"kind": "statistics"},
            {"kind": "statistics", "clients": ["s0"], "request": None},
            {"kind": "statistics", "clients": ["s0"], "request": {}},
            {"kind": "statistics", "clients": ["s0"], "request": {"kind": "rm"}},
            {"kind": "statistics", "clients": ["s0"], "request": {"kind": ["counts"]}},
            {"kind": "statistics", "clients": ["s0"], "request": {"kind": "counts", "schema": 1}},
            {"kind": "prepare"},
            {"kind": "prepare", "clients": ["s0"], "plan": []},
            {"kind": "prepare", "clients": ["s0"], "plan": {}},
            {"kind": "prepare", "clients": ["s0"], "plan": {"description": 1, "training": 2}},
        )
    ),
]
FORGED = "x\n2026-01-01T00:00:00+00:00 answered: prepare for s0, 0.1 s\r\x1b[2K\u2028\u202e\x85y"


@pytest.fixture(scope="module")
def dataset(table_data):
    return Dataset.load(table_data)


class Loop:
    """`serve`'s own loop on a spool, without TFF's worker: requests are written as the worker would write them."""

    def __init__(self, dataset, spool):
        self.lines, self.spool = [], spool
        self.process = type("Running", (), {"returncode": None})()
        self.alive = True
        site = Site(dataset, spool.path)
        self.thread = threading.Thread(
            target=serve._answer_for_ever, args=(site, spool, self, self.lines.append), daemon=True
        )
        self.failure = None

    def running(self):
        return self.alive

    def send(self, raw: bytes) -> str:
        name = messages.digest(raw)
        (self.spool.path / messages.request_path(name)).write_bytes(raw)
        return name

    def answer(self, name: str, patience: float = 30.0) -> dict:
        path = self.spool.path / messages.answer_path(name)
        end = time.monotonic() + patience
        while not path.is_file():
            assert self.thread.is_alive(), "the worker's loop has ended"
            assert time.monotonic() < end, "no answer"
            time.sleep(0.02)
        return json.loads(path.read_text())


@pytest.fixture
def loop(dataset, monkeypatch):
    monkeypatch.setattr(serve, "_PAUSE", 0.01)
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    with Spool() as spool:
        made = Loop(dataset, spool)
        made.thread.start()
        yield made
        made.alive = False
        made.thread.join(10)


def test_any_request_is_answered_and_the_next_one_too(loop):
    for raw in STRANGE:
        told = loop.answer(loop.send(raw))
        assert set(told) in ({"error"}, {"answer"}), raw[:80]
        assert all(len(line) < 2100 and line.isprintable() for line in loop.lines)
    _, honest = messages.encode("describe", seed=0)
    told = loop.answer(loop.send(honest))
    assert list(told["answer"]["clients"]) == ["s0", "s1", "s2"]
    assert loop.thread.is_alive()


def test_changed_requests(loop):
    """Honest requests with bytes changed, cut and joined."""
    drawn = random.Random(0)
    plan = {"description": {}, "training": {}, "bits": 8}
    honest = [
        messages.encode("describe", seed=1)[1],
        messages.encode("statistics", seed=0, clients=["s0"], request={"kind": "missing"})[1],
        messages.encode("prepare", seed=0, clients=["s1"], plan=plan)[1],
    ]
    names = []
    for _ in range(150):
        raw = bytearray(drawn.choice(honest))
        for _ in range(drawn.randint(1, 8)):
            raw[drawn.randrange(len(raw))] = drawn.choice(b'{}[]",:0\n\\u\xff')
        names.append(loop.send(bytes(raw[: drawn.randrange(len(raw) + 1)])))
    for name in names:
        assert loop.answer(name)
    assert all(re.match(STAMP, line) and line.isprintable() for line in loop.lines)


@pytest.mark.parametrize(
    "request_",
    [
        {"kind": FORGED},
        {"kind": "describe", "from": FORGED},
        {"kind": "describe", "from": "a@b asks: prepare for s0"},
        {"kind": "describe", "clients": [FORGED]},
        {"kind": "statistics", "clients": ["s0"], "request": {"kind": FORGED}},
        {"kind": "prepare", "clients": ["s0"], "plan": {FORGED: 1}},
    ],
)
def test_the_log_can_not_be_forged(loop, request_):
    before = len(loop.lines)
    loop.answer(loop.send(json.dumps(request_).encode()))
    time.sleep(0.1)
    lines = loop.lines[before:]
    assert 1 <= len(lines) <= 2
    text = "\n".join(lines)
    # As `tail` and a terminal see it: each line has the stamp of now, none a control character.
    assert len(text.splitlines()) == len(lines)
    for line in lines:
        assert re.match(STAMP + r"(\S+ asks: |answered: |refused: |failed: )", line)
        assert line.isprintable()
        assert not line.startswith("2026-01-01")
    if request_.get("from", "").startswith("a@b"):
        assert "a@b_asks:_prepare_for_s0 asks: describe" in lines[0]


def test_what_lies_where_requests_should(loop, tmp_path):
    """Links, pipes, folders and files that are too large or never whole are passed over."""
    place = loop.spool.path / messages.REQUESTS
    raw = messages.encode("describe", seed=9)[1]
    secret = tmp_path / "secret"
    secret.write_bytes(raw)
    (place / f"{messages.digest(raw)}.json").symlink_to(secret)
    os.mkfifo(place / f"{'1' * 64}.json")
    (place / f"{'2' * 64}.json").mkdir()
    (place / f"{'3' * 64}.json").write_bytes(b"never whole")
    with (place / f"{'4' * 64}.json").open("wb") as file:
        file.truncate(messages.LARGEST + 1)
    (place / "a\nb.json").write_bytes(b"")
    assert loop.answer(loop.send(messages.encode("describe", seed=2)[1]))["answer"]
    time.sleep(0.1)
    assert secret.read_bytes() == raw
    assert not (loop.spool.path / messages.answer_path(messages.digest(raw))).exists()
    assert not (place / f"{'4' * 64}.json").exists()
    assert "larger than 64 MB" in loop.answer("4" * 64)["error"]


def test_folders_of_the_spool_that_become_links(loop, tmp_path):
    """Who writes in the spool can't have the site's own process write elsewhere, or be deaf."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in (messages.ANSWERS, messages.REQUESTS):
        place = loop.spool.path / name
        place.rename(loop.spool.path / f"old-{name}")
        place.symlink_to(elsewhere)
        time.sleep(0.1)
        raw = messages.encode("describe", seed=0)[1]
        if name == messages.ANSWERS:
            assert loop.answer(loop.send(raw))["answer"]
        assert not list(elsewhere.iterdir())
    time.sleep(0.1)
    assert loop.answer(loop.send(messages.encode("describe", seed=1)[1]))["answer"]
    assert not list(elsewhere.iterdir())


def test_many_seeds_do_not_fill_the_memory(dataset, tmp_path):
    site = Site(dataset, tmp_path)
    for seed in range(12):
        site.answer({"kind": "describe", "seed": seed})
    assert len(site._clients) <= 4


def test_counts_of_more_bins_than_memory(dataset, tmp_path):
    from federated.statistics import Schema

    schema = Schema.of(dataset).to_dict()
    site = Site(dataset, tmp_path)
    for bins in (10**12, 0, -1):
        asked = {"kind": "counts", "schema": schema, "intervals": [["age", 0, 9]], "bins": bins}
        with pytest.raises(InputError, match=r"too many"):
            site.answer({"kind": "statistics", "clients": ["s0"], "request": asked})


def test_a_strangers_text_is_one_line():
    assert printable(FORGED) == (
        "x\\n2026-01-01T00:00:00+00:00 answered: prepare for s0, 0.1 s\\r\\x1b[2K\\u2028\\u202e\\x85y"
    )
    assert printable("Müller, 患者 7 é") == "Müller, 患者 7 é"
    assert printable("\ud800") == "\\ud800"
    assert printable("a" * 1000) == "a" * 300 + "..."
    assert printable("a" * 1000, None) == "a" * 1000
    assert printable(7) == "7"
    drawn = random.Random(0)
    for _ in range(5000):
        text = "".join(chr(drawn.randrange(0x3100)) for _ in range(9))
        shown = printable(text)
        assert shown.splitlines() == [shown]
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e]", shown)


@pytest.mark.slow
def test_the_served_port_survives_strangers(serve):
    """TFF's own worker in its enclosure: bytes that are no gRPC, then requests by its channel."""
    import socket

    from federated.remote.mailbox import Mailbox, _write
    from federated.tff.execution import Execution

    site = serve()
    drawn = random.Random(0)
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", site.port), 5) as stranger:
            stranger.sendall(drawn.randbytes(drawn.randrange(5000)))
    execution = Execution(site.address, patience=20)
    try:
        mailbox = Mailbox(execution)
        for raw in (b"not json", b"[]", json.dumps({"kind": FORGED, "from": FORGED}).encode()):
            execution.run(_write, messages.request_path(messages.digest(raw)), raw)
        time.sleep(1)
        assert list(mailbox.ask("describe", seed=0)["clients"]) == ["s0", "s1", "s2"]
    finally:
        execution.close()
    said = site.end()
    assert "stopped" in said.splitlines()[-1]
    assert all(re.match(STAMP, line) for line in said.splitlines())
    assert sum(" refused: " in line for line in said.splitlines()) == 3
