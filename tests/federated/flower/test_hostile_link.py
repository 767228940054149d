"""A real SuperLink, and at it a site or a coordinator that puts something else in the place of a message."""

import hashlib
import os
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import grpc
import pytest
from flwr.common import Message
from flwr.common.inflatable import get_object_tree
from flwr.common.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto import fleet_pb2
from flwr.proto.appio_pb2 import PushAppMessagesRequest
from flwr.proto.fleet_pb2_grpc import FleetServicer, add_FleetServicer_to_server
from flwr.proto.heartbeat_pb2 import SendNodeHeartbeatResponse
from flwr.proto.message_pb2 import ObjectTree, PullObjectRequest, PullObjectResponse
from flwr.proto.run_pb2 import GetRunResponse
from flwr.supercore.utils import uint64_to_int64

from federated.flower import arriving, certificates, deadlines, grid, keys, pending
from federated.flower.control import control
from federated.flower.fleet import LinkLostError, connected, record
from federated.flower.link import Link, free_ports
from federated.flower.link_folder import LinkFolder
from medimg.errors import InputError

pytestmark = pytest.mark.slow
HELLO = b"hello"


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    """The link, and a node of each site: `good`, which answers, and `bad`."""
    root, found = tmp_path_factory.mktemp("hostile"), SimpleNamespace()
    port = free_ports()
    place = LinkFolder.make(root / "link", port)
    secrets = {name: keys.make(name, root / name) for name in ("good", "bad", "third")}
    for secret in secrets.values():
        place.add(keys.Party.read(secret.with_suffix(keys.PUBLIC)))
    with Link(root / "link", port) as process, ExitStack() as stack:
        process.register(place.parties())
        found.place, found.process = place, process
        found.third = keys.load(secrets.pop("third")).node
        for name, secret in secrets.items():
            key = keys.load(secret).node
            setattr(found, name, stack.enter_context(connected(process.address, process.certificate, key, 60.0)))
        yield found


@pytest.fixture
def serving(link):
    """(node, what it does with each message) -> it is doing so until the test ends."""
    ended, threads = threading.Event(), []

    def serve(node, do):
        def run():
            while not ended.is_set():
                received = node.receive()
                if received:
                    do(node, *received)
                ended.wait(0.05)

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()

    yield serve
    ended.set()
    for thread in threads:
        thread.join()


@pytest.fixture
def coordinator(link, monkeypatch):
    monkeypatch.setattr(grid, "_GLANCE", 0.2)
    monkeypatch.setattr(pending, "_TRIES", 2)
    # What is looked at in between is told of and has no parts.
    monkeypatch.setattr(arriving, "_LONGEST", 2.0)
    made = grid.Grid(link.process.address, link.process.certificate)
    yield made
    made.close()


def echo(node, head, content):
    node.answer(head, content)


def _reply(head, raw=b"x", **metadata):
    reply = Message(record(raw), reply_to=head)
    reply.metadata.__dict__.update(metadata)
    reply.metadata.__dict__["_message_id"] = reply.object_id
    return reply


def without_parts(node, head, content):
    """No part of the reply has the reply's name."""
    node._send(_reply(head), ObjectTree(object_id="0" * 64))


def twice(node, head, content):
    """Two replies to one message."""
    for raw in (b"x", b"y"):
        reply = _reply(head, raw)
        node._send(reply, get_object_tree(reply))


def deep(node, head, content):
    """More parts in each other than a message of gRPC can hold, told of one after the other."""
    names = [hashlib.sha256(b"%d of %s" % (n, head.metadata.message_id.encode())).hexdigest() for n in range(110)]
    for below, name in pairwise(names):
        reply = _reply(head, _reply_to_message_id="f" * 64)
        node._send(reply, ObjectTree(object_id=name, children=[ObjectTree(object_id=below)]))
    reply = _reply(head)
    reply.metadata.__dict__["_message_id"] = names[-1]
    node._send(reply, ObjectTree(object_id=names[-1]))


def error(node, head, content):
    """Flower's own words for a message that was lost, again and again."""
    from flwr.app.error import Error

    reply = Message(Error(1, "lost"), reply_to=head)
    reply.metadata.__dict__["_message_id"] = reply.object_id
    node._send(reply, get_object_tree(reply))
    node._push(head.metadata.run_id, reply.object_id, reply.deflate())


@pytest.mark.parametrize("attack", [without_parts, twice, deep, error], ids=lambda attack: attack.__name__)
def test_what_a_site_puts_in_the_place_of_its_answer_costs_the_others_nothing(link, serving, coordinator, attack):
    serving(link.good, echo)
    serving(link.bad, lambda *said: _tried(attack, *said))
    nodes = list(coordinator.online().values())
    assert len(nodes) == 2
    answers = coordinator.ask(dict.fromkeys(nodes, HELLO), 5.0, 60.0).contents
    numbers = {node.number: content for node, content in answers.items()}
    assert numbers[link.good.node_id] == HELLO
    assert numbers.get(link.bad.node_id) is None


def _tried(attack, *said):
    try:
        attack(*said)
    except grpc.RpcError:
        # The link may refuse it.
        return


def test_an_answer_whose_parts_never_come_is_waited_for_no_longer_than_an_hour(link, serving, coordinator, monkeypatch):
    def told_alone(node, head, content):
        reply = _reply(head)
        node._send(reply, get_object_tree(reply))

    serving(link.good, echo)
    serving(link.bad, told_alone)
    answers = coordinator.ask(dict.fromkeys(coordinator.online().values(), HELLO), 5.0, 60.0).contents
    assert sorted(answers.values(), key=str) == [None, HELLO]


def test_a_site_that_is_connected_and_says_nothing_holds_nobody_up_for_ever(link, serving, coordinator):
    serving(link.good, echo)
    serving(link.bad, lambda *said: None)
    contents, silent = coordinator.ask(dict.fromkeys(coordinator.online().values(), HELLO), 60.0, 3.0)
    assert list(contents.values()) == [HELLO]
    assert [node.number for node in silent] == [link.bad.node_id]


def test_who_answered_in_time_is_not_silent_because_anothers_answer_took_all_of_it(
    link, serving, coordinator, monkeypatch
):
    def later(node, head, content):
        time.sleep(0.5)
        node.answer(head, content)

    def large(name, pulled=coordinator._pulled):
        looks.append(name)
        if len(looks) == 2:
            time.sleep(4.0)
        return pulled(name)

    serving(link.good, later)
    serving(link.bad, echo)
    looks, numbers = [], {node.number: node for node in coordinator.online().values()}
    monkeypatch.setattr(coordinator, "_pulled", large)
    requests = {numbers[one.node_id]: HELLO for one in (link.good, link.bad)}
    contents, silent = coordinator.ask(requests, 5.0, 2.0)
    assert set(contents) == set(requests)
    assert not silent


def test_a_request_lasts_as_long_as_the_time_for_its_answer(link, serving, coordinator):
    """By itself Flower forgets it, and would have it asked again, after half a day."""
    heads = []
    serving(link.good, lambda node, head, content: (heads.append(head), node.answer(head, content)))
    node = next(node for node in coordinator.online().values() if node.number == link.good.node_id)
    assert coordinator.ask({node: HELLO}, 5.0, 3 * 86400.0).contents == {node: HELLO}
    assert [head.metadata.ttl > 3 * 86400.0 for head in heads] == [True]


def test_a_link_that_stands_still_holds_nobody_for_ever(link, coordinator, monkeypatch):
    monkeypatch.setattr(deadlines, "_LONGEST", 2.0)
    node = next(iter(coordinator.online().values()))
    with stopped(link.process.process.pid):
        with pytest.raises(InputError, match=r"the link was lost \(DEADLINE_EXCEEDED\)"):
            coordinator.online()
        with pytest.raises(InputError, match=r"the link was lost \(DEADLINE_EXCEEDED\); start it again and resume"):
            coordinator.ask({node: HELLO}, 1.0, 60.0)
        with ThreadPoolExecutor(1) as pool, pytest.raises(InputError, match="link"):
            pool.submit(grid.Grid, link.process.address, link.process.certificate).result(timeout=60)
    assert len(coordinator.online()) == 2


def test_a_link_that_stands_still_is_lost_for_its_sites(link, monkeypatch):
    monkeypatch.setattr(deadlines, "_LONGEST", 2.0)
    with connected(link.process.address, link.process.certificate, link.third, 60.0) as node:
        assert node.receive() is None
        with stopped(link.process.process.pid), pytest.raises(LinkLostError, match="DEADLINE_EXCEEDED"):
            node.receive()
        # It goes on where it was.
        assert node.receive() is None


def test_a_link_that_stands_still_ends_whoever_tells_it_of_sites_in_one_line(link, monkeypatch):
    monkeypatch.setattr(deadlines, "_LONGEST", 2.0)
    with (
        pytest.raises(InputError, match=r"^--superlink .*: the link was lost \(DEADLINE_EXCEEDED\); start it again$"),
        control(link.process.address, link.process.certificate) as told,
        stopped(link.process.process.pid),
    ):
        told.register(link.place.parties())


def test_who_ends_waits_for_no_link_that_stands_still(link, monkeypatch):
    coordinator = grid.Grid(link.process.address, link.process.certificate)
    with ExitStack() as site:
        site.enter_context(connected(link.process.address, link.process.certificate, link.third, 60.0))
        # A sign of life is on its way.
        beating = threading.Thread(target=coordinator._beat.heartbeat_fn)
        with stopped(link.process.process.pid):
            beating.start()
            began = time.monotonic()
            coordinator.close()
            site.close()
            beating.join()
            assert time.monotonic() - began < 60.0
            assert not coordinator._beat._thread.is_alive()


@pytest.mark.parametrize("way", ["coordinator", "site"])
def test_a_part_on_its_way_is_given_up_with_the_link(link, coordinator, monkeypatch, way):
    """A part may take an hour, the link's next word may not."""
    monkeypatch.setattr(deadlines, "_LONGEST", 2.0)
    monkeypatch.setattr(deadlines, "_GLANCE", 0.5)
    run, stub = coordinator._grid.run.run_id, coordinator._grid._stub
    request = PullObjectRequest(node=coordinator._grid.node, run_id=run, object_id="a" * 64)
    pull = partial(stub.PullObject, request) if way == "coordinator" else partial(link.good._pull, run, "a" * 64)
    with ThreadPoolExecutor(1) as pool, stopped(link.process.process.pid):
        with pytest.raises(grpc.RpcError) as lost:
            pool.submit(pull).result(timeout=60.0)
        assert lost.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_the_link_keeps_a_run_as_long_as_its_coordinator_waits_for_the_link(link, coordinator):
    """By itself Flower ends it after a minute without a sign of life, and a link that is back would know none."""

    def lasts():
        with closing(sqlite3.connect(link.place.root / "state.db")) as state:
            number = uint64_to_int64(coordinator._grid.run.run_id)
            ((until,),) = state.execute("SELECT active_until FROM run WHERE run_id = ?", (number,))
            return until - time.time()

    assert coordinator._beat.heartbeat_fn()
    assert 150.0 < lasts() < 300.0
    coordinator.ask({}, 500.0, 1.0)
    assert coordinator._beat.heartbeat_fn()
    assert 900.0 < lasts() < 1100.0
    # Of a run that has ended it says no more.
    coordinator._status("finished", "completed")
    assert coordinator._beat.heartbeat_fn() is False


@contextmanager
def stopped(process: int):
    """A process stands still, its connections open."""
    os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def test_the_link_takes_no_parts_that_have_several(link, coordinator):
    """By two that have two in common, and so on, each message short, it would walk a tree without end."""
    coordinator._pushed(dict.fromkeys(coordinator.online().values(), HELLO))
    head, _ = _next(link.bad)
    tree = ObjectTree(object_id="a" * 64, children=[ObjectTree(object_id=name * 64) for name in "bc"])
    with pytest.raises(grpc.RpcError):
        link.bad._send(_reply(head), tree)


def _next(node, seconds=30.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if received := node.receive():
            return received
        time.sleep(0.05)
    raise AssertionError("nothing came")


def test_messages_that_are_told_of_and_never_sent_hold_nobody_up(link, coordinator):
    """200 of one coordinator: a site hears of all at once, and keeps one."""
    hostile = grid.Grid(link.process.address, link.process.certificate)
    try:
        run, stub = hostile._grid.run.run_id, hostile._grid._stub
        for number in range(200):
            message = Message(record(b"%d" % number), link.good.node_id, "query")
            message.metadata.__dict__.update(_run_id=run, _src_node_id=hostile._grid.node.node_id)
            message.metadata.__dict__["_message_id"] = message.object_id
            proto = message_to_proto(remove_content_from_message(message))
            trees = [get_object_tree(message)]
            stub.PushMessages(PushAppMessagesRequest(messages_list=[proto], run_id=run, message_object_trees=trees))
        node = next(node for node in coordinator.online().values() if node.number == link.good.node_id)
        coordinator._pushed({node: HELLO})
        looks = 0
        while not (received := link.good.receive()):
            looks += 1
            assert looks < 10
        assert received[1] == HELLO
        assert link.good.expects
        assert len(link.good._arriving) == 1
    finally:
        hostile.close()
    # Its run has ended.
    assert link.good.receive() is None
    assert not link.good.expects


class Stumbling(FleetServicer):
    """A link whose disk is full for a while, and which then tells of messages in a form that Flower has not."""

    def __init__(self):
        self.beats, self.looks, self.runs = 0, 0, 0

    def ActivateNode(self, request, context):  # noqa: N802
        return fleet_pb2.ActivateNodeResponse(node_id=7)

    def DeactivateNode(self, request, context):  # noqa: N802
        return fleet_pb2.DeactivateNodeResponse()

    def SendNodeHeartbeat(self, request, context):  # noqa: N802
        self.beats += 1
        if self.beats < 2:
            context.abort(grpc.StatusCode.INTERNAL, "disk full")
        return SendNodeHeartbeatResponse(success=self.beats > 2)

    def GetRun(self, request, context):  # noqa: N802
        self.runs += 1
        return GetRunResponse()

    def PullObject(self, request, context):  # noqa: N802
        time.sleep(4.0)
        return PullObjectResponse(object_found=True, object_available=True, object_content=HELLO)

    def PullMessages(self, request, context):  # noqa: N802
        self.looks += 1
        told = fleet_pb2.PullMessagesResponse()
        told.messages_list.add()
        return told


@pytest.fixture
def stumbling(tmp_path, monkeypatch):
    """The link, and a node at it that gives signs of life twice a second."""
    monkeypatch.setattr("flwr.common.heartbeat.HEARTBEAT_DEFAULT_INTERVAL", 5.5)
    certificates.make(tmp_path, ["127.0.0.1"])
    authority, certificate, key = (
        (tmp_path / name).read_bytes() for name in (certificates.AUTHORITY, certificates.CERTIFICATE, certificates.KEY)
    )
    server, servicer, port = grpc.server(ThreadPoolExecutor(4)), Stumbling(), free_ports()
    add_FleetServicer_to_server(servicer, server)
    server.add_secure_port(f"127.0.0.1:{port}", grpc.ssl_server_credentials([(key, certificate)], authority))
    server.start()
    try:
        own = keys.load(keys.make("paris", tmp_path / "paris")).node
        with connected(f"127.0.0.1:{port}", tmp_path / certificates.AUTHORITY, own, 20.0) as node:
            yield servicer, node
    finally:
        server.stop(None)


def test_a_site_goes_on_giving_signs_of_life_after_some_that_the_link_could_not_take(stumbling):
    servicer, _ = stumbling
    end = time.monotonic() + 30.0
    while servicer.beats < 5:
        assert time.monotonic() < end, f"{servicer.beats} signs of life"
        time.sleep(0.1)


def test_what_flower_can_t_read_ends_no_site(stumbling):
    servicer, node = stumbling
    assert node.receive() is None
    assert servicer.looks > 1
    assert not node.expects


def test_a_large_part_takes_longer_than_any_other_call(stumbling, monkeypatch):
    servicer, node = stumbling
    monkeypatch.setattr(deadlines, "_LONGEST", 2.0)
    monkeypatch.setattr(deadlines, "_GLANCE", 0.5)
    assert node._pull(7, "a" * 64) == HELLO
    assert servicer.runs > 1
