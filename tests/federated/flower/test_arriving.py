"""A message is taken once all of it is there, and what is not there yet keeps nobody waiting."""

from functools import partial
from types import SimpleNamespace

import pytest
from flwr.common import ConfigRecord, Message, RecordDict
from flwr.common.inflatable import get_all_nested_objects, get_object_tree, no_object_id_recompute
from flwr.common.inflatable_utils import ObjectIdNotPreregisteredError, ObjectUnavailableError
from flwr.common.typing import RunNotRunningException

from federated.flower.arriving import Arriving
from federated.flower.fleet import ENTRY, RECORD, Fleet, content_of, record

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
    fetched = [part for number, part in enumerate(asked) if part not in asked[number + 1 :]]
    assert sorted(fetched) == sorted(parts)


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


def _told(name: str) -> SimpleNamespace:
    """The head of a message, as the link tells of it."""
    return SimpleNamespace(metadata=SimpleNamespace(run_id=1, message_id=name))


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
    node = _node([(_told(slow), slow_tree), (_told(name), tree)], there)
    assert node.receive() is None
    assert node.expects
    assert node.receive()[1] == b"there"
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
