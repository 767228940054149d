"""No message is answered twice, not even by a site that was started anew."""

import pytest

from federated.flower import record, sessions
from federated.flower.envelope import Envelope, WireError
from federated.flower.sessions import Sessions
from medimg.errors import InputError


def message(number, session="a"):
    return Envelope("train", "c", "s", session * 32, number)


def test_a_replay_is_refused_and_gaps_are_not(tmp_path):
    known = Sessions(tmp_path / "s.json")
    known.take(message(1))
    known.take(message(5))
    for number in (5, 1, 3, 0):
        with pytest.raises(WireError, match=rf"message {number} of session a+ comes after number 5 \(a replay\?\)"):
            known.take(message(number))
    known.take(message(1, "b"))
    known.take(message(6))


def test_also_after_a_restart(tmp_path):
    Sessions(tmp_path / "s.json").take(message(4))
    again = Sessions(tmp_path / "s.json")
    with pytest.raises(WireError, match="replay"):
        again.take(message(4))
    again.take(message(5))


@pytest.mark.parametrize("content", ["", "{", "[]", "5", '{"a": null}', '{"a": "x"}'])
def test_a_damaged_file_stops_the_site(tmp_path, content):
    (tmp_path / "s.json").write_text(content)
    with pytest.raises(InputError, match="damaged, and with it what this site has answered"):
        Sessions(tmp_path / "s.json")


def test_it_is_on_disk_before_it_is_answered(tmp_path, monkeypatch):
    known = Sessions(tmp_path / "s.json")
    known.take(message(1))

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(record.os, "fsync", full)
        with pytest.raises(InputError, match="No space left"):
            known.take(message(2))
    with pytest.raises(WireError, match="replay"):
        Sessions(tmp_path / "s.json").take(message(1))


def test_the_oldest_sessions_are_forgotten_and_the_used_ones_not(tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "_KEPT", 3)
    known = Sessions(tmp_path / "s.json")
    for number, session in enumerate("abcad", 1):
        known.take(message(number, session))
    with pytest.raises(WireError, match="replay"):
        Sessions(tmp_path / "s.json").take(message(4, "a"))
    Sessions(tmp_path / "s.json").take(message(2, "b"))
