"""Requests that are on their way, by a clock of the test's own."""

from federated.flower.control import Node
from federated.flower.pending import _TRIES, LOST, Pending

NORTH, SOUTH = Node(1, "monday"), Node(2, "monday")


def asked(*nodes: Node, patience: float = 10.0) -> Pending:
    pending = Pending(nodes, patience)
    pending.waiting = {f"message {node.number}": node for node in nodes}
    return pending


def test_an_answer_ends_the_wait_for_its_node_alone():
    pending = asked(NORTH, SOUTH)
    pending.take("message 1", b"answer")
    assert pending.answers == {NORTH: b"answer"}
    assert pending.left == pending.silent() == {SOUTH}
    # What is no message of ours is an answer, too; it is not asked again.
    pending.take("message 2", None)
    assert pending.answers == {NORTH: b"answer", SOUTH: None}
    assert not pending.left


def test_who_was_asked_twice_answers_once():
    pending = asked(NORTH)
    pending.waiting["again"] = NORTH
    pending.take("message 1", b"first")
    pending.take("again", b"second")
    assert pending.answers == {NORTH: b"first"}


def test_a_lost_request_is_asked_again_so_often_and_no_more():
    pending = asked(NORTH, SOUTH)
    for number in range(_TRIES + 1):
        assert NORTH in pending.left
        pending.take("message 1" if not number else f"try {number}", LOST)
        assert pending.unasked({NORTH, SOUTH}) == ({NORTH} if number < _TRIES else set())
        pending.waiting[f"try {number + 1}"] = NORTH
    assert pending.left == {SOUTH}
    assert not pending.answers


def test_who_is_away_is_waited_for_as_long_as_patience_goes():
    pending = asked(NORTH, SOUTH)
    pending.see({SOUTH}, 0.0)
    # Neither asked again nor called silent.
    assert pending.unasked({SOUTH}) == set()
    assert pending.silent() == {SOUTH}
    # Back in time, its time begins anew.
    pending.see({NORTH, SOUTH}, 9.0)
    pending.see({SOUTH}, 11.0)
    pending.see({SOUTH}, 21.0)
    assert pending.left == {NORTH, SOUTH}
    pending.see({SOUTH}, 21.1)
    assert pending.left == {SOUTH}


def test_who_was_started_anew_knows_of_no_request():
    pending = asked(NORTH)
    pending.see({Node(1, "tuesday")}, 0.0)
    assert not pending.left
    assert not pending.silent()
