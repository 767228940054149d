"""A message is taken once all of it is there, and what is not there yet keeps nobody waiting."""

from functools import partial
from types import SimpleNamespace

import grpc
import pytest
from flwr.common import ConfigRecord, Message, RecordDict
from flwr.common.inflatable import get_all_nested_objects, get_object_tree, no_object_id_recompute
from flwr.common.inflatable_utils import ObjectIdNotPreregisteredError, ObjectUnavailableError
from flwr.common.typing import Run, RunNotRunningException
from flwr.proto.appio_pb2 import PushAppMessagesResponse
from flwr.proto.message_pb2 import ObjectTree, PushObjectResponse
from flwr.server.grid.grpc_grid import GrpcGrid

from federated.flower import arriving
from federated.flower.arriving import Arriving
from federated.flower.control import Node
from federated.flower.fleet import ENTRY, RECORD, Fleet, LinkLostError, content_of, record
from federated.flower.grid import Grid

CONTENT = bytes(range(256))


def _sent(raw: bytes = CONTENT):
    """A message of ours as Flower sends it: its name, the tree of its parts, and the parts by name."""
    message = Message(record(raw), 1, "query")
    with no_object_id_recompute():
        message.metadata.__dict__["_message_id"] = message.object_id
        parts = {name: part.deflate() for name, part in get_all_nested_objects(message).items()}
        return message.object_id, get_object_tree(message), parts


def _part(there: dict, asked: list, name: str) -> bytes:
    asked.append(name)
    if name not in there:
        raise ObjectUnavailableError(name)
    return there[name]


def test_a_message_is_whole_once_its_last_part_came_and_no_part_is_fetched_twice():
    name, tree, parts = _sent()
    assert len(parts) > 2
    there, asked, confirmed, late = {}, [], [], dict(parts)
    message = Arriving(name, tree, partial(_part, there, asked), confirmed.append)
    while late:
        assert message.whole() is None
        assert confirmed == []
        there.update([late.popitem()])
    whole = message.whole()
    assert content_of(whole) == CONTENT
    assert whole.metadata.message_id == name
    assert confirmed == [name]
    # One was asked for in vain at each look but the last, and none again that came.
    assert len(asked) == 2 * len(parts)
    assert set(asked) == set(parts)


@pytest.mark.parametrize("junk", [b"", b"junk", b"Message\x00{", CONTENT], ids=["empty", "word", "half", "bytes"])
def test_what_is_no_message_can_t_be_read(junk):
    name, tree, _ = _sent()
    with pytest.raises(ValueError, match="can't be read"):
        Arriving(name, tree, lambda part: junk, lambda name: None).whole()


def test_a_record_in_a_message_s_place_is_none():
    content = RecordDict({RECORD: ConfigRecord({ENTRY: CONTENT})})
    parts = {name: part.deflate() for name, part in get_all_nested_objects(content).items()}
    with pytest.raises(ValueError, match="no message"):
        Arriving(content.object_id, get_object_tree(content), parts.__getitem__, lambda name: None).whole()


def _tree(name: str, *below: ObjectTree) -> ObjectTree:
    return ObjectTree(object_id=name, children=below)


@pytest.mark.parametrize(
    "tree",
    [
        _tree("m", *[_tree("part")] * 100_000),
        _tree("m", _tree("a"), _tree("b")),
        _tree("m", _tree("a", _tree("b", _tree("c")))),
        _tree("m", _tree("m")),
        _tree("a", _tree("b")),
    ],
    ids=["one part over and over", "wide", "deep", "itself", "another's"],
)
def test_nothing_is_fetched_of_what_has_other_parts_than_a_message(tree):
    asked = []
    with pytest.raises(ValueError, match="other parts"):
        Arriving("m", tree, asked.append, asked.append).whole()
    assert asked == []


def test_what_waits_for_the_rest_of_it_is_small():
    name, tree, parts = _sent()
    with pytest.raises(ValueError, match="can't be read"):
        Arriving(name, tree, lambda part: bytes(1 << 17), lambda name: None).whole()
    there, asked = {part: content for part, content in parts.items() if CONTENT in content}, []
    message = Arriving(name, tree, partial(_part, there, asked), lambda name: None)
    assert message.whole() is None
    assert message._parts == {}


def test_what_its_sender_does_not_go_on_sending_is_given_up(monkeypatch):
    name, tree, parts = _sent()
    there, clock = {}, SimpleNamespace(now=0.0)
    monkeypatch.setattr(arriving, "time", SimpleNamespace(monotonic=lambda: clock.now))
    message = Arriving(name, tree, partial(_part, there, []), lambda name: None)
    for hours in (0.9, 1.8):
        clock.now = hours * 3600.0
        there[name] = parts[name]
        assert message.whole() is None
    clock.now = 2.0 * 3600.0
    with pytest.raises(ValueError, match="does not go on"):
        message.whole()


def _told(name: str, run: int = 1) -> SimpleNamespace:
    """The head of a message, as the link tells of it."""
    return SimpleNamespace(metadata=SimpleNamespace(run_id=run, message_id=name))


def _node(messages: list, there: dict, gone: type[Exception] | None = None) -> Fleet:
    """A site's end of a link that tells of these messages and has these parts."""

    def pull(run: int, name: str) -> bytes:
        if gone:
            raise gone(name)
        return _part(there, [], name)

    def receive():
        return messages.pop(0) if messages else None

    return Fleet((1, receive, None, None, None, pull, None, lambda run, name: None))


def test_a_site_takes_what_is_whole_while_another_coordinator_s_message_is_not():
    (slow, slow_tree, slow_parts), (name, tree, parts) = _sent(b"slow"), _sent(b"there")
    there = dict(parts)
    node = _node([(_told(slow), slow_tree), (_told(name, 2), tree)], there)
    assert node.receive()[1] == b"there"
    assert node.expects
    assert node.receive() is None
    there.update(slow_parts)
    assert node.receive()[1] == b"slow"
    assert not node.expects


@pytest.mark.parametrize("gone", [RunNotRunningException, ObjectIdNotPreregisteredError])
def test_a_message_whose_run_has_ended_is_forgotten(gone):
    name, tree, _ = _sent()
    node = _node([(_told(name), tree)], {}, gone)
    assert node.receive() is None
    assert not node.expects


def test_of_a_coordinator_s_messages_the_last_is_awaited_and_of_many_coordinators_some():
    messages = [_sent(b"%d" % number) for number in range(200)]
    asked = []
    told = [(_told(name, 1), tree) for name, tree, _ in messages[:40]]
    node = _node(told, messages[39][2])
    assert node.receive()[1] == b"39"
    assert not node.expects
    told = [(_told(name, run), tree) for run, (name, tree, _) in enumerate(messages)]
    node = _node(told, {})
    node._pull = lambda *of: _part({}, asked, of)
    for _ in range(10):
        del asked[:]
        assert node.receive() is None
        assert len(asked) <= 128
    assert told == []


class StumbledError(grpc.RpcError):
    def code(self):
        return grpc.StatusCode.UNKNOWN

    def details(self):
        return "disk full"


def _stumbling(*_):
    raise StumbledError


def test_a_part_that_the_link_does_not_take_is_no_answer_sent():
    """The coordinator would wait for it as long as the site is connected."""
    head = Message(record(b"asked"), 1, "query")
    node = Fleet((1, None, lambda message, tree: {tree.object_id}, None, None, None, _stumbling, None))
    with pytest.raises(LinkLostError, match="disk full"):
        node.answer(head, b"answer")


def _coordinator(push_object) -> Grid:
    """One whose link takes every message and answers its parts by this."""

    def tell(request):
        names = [tree.object_id for tree in request.message_object_trees]
        return PushAppMessagesResponse(message_ids=names, objects_to_push=names)

    here = Grid.__new__(Grid)
    here._grid = GrpcGrid()
    here._grid._grpc_stub = here._grid._channel = SimpleNamespace(PushMessages=tell, PushObject=push_object)
    here._grid._run = Run.create_empty(run_id=1)
    return here


def test_a_part_that_the_link_does_not_take_is_no_request_sent():
    with pytest.raises(grpc.RpcError):
        _coordinator(_stumbling)._pushed({Node(1, "now"): b"request"})


def test_a_request_that_the_link_has_forgotten_is_not_waited_for():
    """It is sent again, as one whose node was away."""
    lost, nodes = [], [Node(1, "now"), Node(2, "now")]

    def push(request):
        lost.append(request)
        return PushObjectResponse(stored=len(lost) > 1)

    assert list(_coordinator(push)._pushed(dict.fromkeys(nodes, b"request")).values()) == nodes[1:]
