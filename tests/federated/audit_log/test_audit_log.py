"""Any edit of the log is found, and any kill leaves one that goes on."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federated.audit_log import AuditLog, verify
from federated.audit_log.chain import new_entry
from federated.audit_log.head import Head, head_path, public_text, read_head, write_head
from medimg.errors import InputError
from tests.federated.audit_log.chains import forged_chain


def a_round(number, model="m"):
    return {"event": "round", "round": number, "model": f"{model}{number}", "bytes": 12 * number}


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "audit.jsonl"
    with AuditLog(path) as log:
        log.append({"event": "start", "config": {"rounds": 3, "alpha": 0.5}, "name": "Zürich"})
        for number in (1, 2, 3):
            log.append(a_round(number))
    return path


def rewritten(path, lines):
    """The log with other lines, its head as it was."""
    path.write_bytes(b"".join(lines))
    return verify(path)


def test_an_untouched_log_is_fine(written):
    result = verify(written)
    assert result.ok
    assert not result.problems
    assert not result.notes
    assert (result.records, result.rounds) == (4, (1, 2, 3))
    assert verify(written, head=result.head, witnesses=[result.head]).ok
    assert result.head == read_head(written).hash


def test_every_changed_byte_is_found_and_its_line_named(written):
    content = written.read_bytes()
    draw = random.Random(0)
    line = 1
    for i, byte in enumerate(content):
        other = draw.choice([b for b in range(256) if b != byte])
        for changed in (other, byte ^ 1, byte ^ 0x20):
            written.write_bytes(content[:i] + bytes([changed]) + content[i + 1 :])
            result = verify(written)
            assert not result.ok
            assert any(f"line {line}:" in problem for problem in result.problems)
        line += byte == ord("\n")


def test_removed_bytes_and_cut_ends_are_found(written):
    content = written.read_bytes()
    for i in range(0, len(content), 2):
        assert not rewritten(written, [content[:i] + content[i + 1 :]]).ok
        assert not rewritten(written, [content[:i]]).ok


def test_removed_swapped_doubled_and_added_lines_are_found(written):
    lines = written.read_bytes().splitlines(keepends=True)
    for i in range(4):
        assert not rewritten(written, [*lines[:i], *lines[i + 1 :]]).ok
        assert not rewritten(written, [*lines[: i + 1], *lines[i:]]).ok
        for j in range(i + 1, 4):
            swapped = list(lines)
            swapped[i], swapped[j] = swapped[j], swapped[i]
            assert not rewritten(written, swapped).ok
    head = read_head(written)
    follower = new_entry(5, head.hash, a_round(4)).line()
    result = rewritten(written, [*lines, follower])
    assert "line 5: not committed" in result.problems[0]
    for i in range(4):
        assert not rewritten(written, [*lines[:i], follower, *lines[i:]]).ok


def test_the_same_json_in_another_form_is_an_edit(written):
    lines = written.read_bytes().splitlines(keepends=True)
    spaced = json.dumps(json.loads(lines[1])).encode() + b"\n"
    result = rewritten(written, [lines[0], spaced, *lines[2:]])
    assert result.problems == ("audit.jsonl line 2: it is not in the form that the log writes",)
    doubled = lines[1].replace(b'{"at"', b'{"at":"x","at"', 1)
    assert not rewritten(written, [lines[0], doubled, *lines[2:]]).ok
    for junk in (b"\n", b"[]\n", b"\xff\n", b"1\n", b"[" * 100_000 + b"\n", b'{"a":NaN}\n'):
        result = rewritten(written, [lines[0], junk, *lines[2:]])
        assert result.problems[0].startswith("audit.jsonl line 2: ")


def test_one_edit_is_one_problem(written):
    content = written.read_bytes()
    assert len(rewritten(written, [content.replace(b'"bytes":12,', b'"bytes":13,')]).problems) == 1


def test_a_chain_made_anew_is_found_by_what_was_noted_elsewhere_alone(written):
    head = read_head(written).hash
    early = json.loads(written.read_bytes().splitlines()[1])["hash"]
    forged_chain(written, [{"event": "start"}, *(a_round(i, "forged") for i in (1, 2, 3))])
    assert verify(written).ok
    for result in (verify(written, head=head), verify(written, witnesses=[early])):
        assert "holds no record with the noted hash" in result.problems[0]


def test_a_log_cut_with_its_head_is_found_by_the_noted_head(written):
    noted = read_head(written).hash
    lines = written.read_bytes().splitlines(keepends=True)
    early = json.loads(lines[2])
    written.write_bytes(b"".join(lines[:3]))
    write_head(written, Head(3, early["hash"]))
    assert verify(written, witnesses=[early["hash"]]).ok
    assert not verify(written, head=noted).ok


def test_a_log_lengthened_with_its_head_is_found_by_the_noted_head(written):
    noted = read_head(written).hash
    with AuditLog(written) as log:
        log.resume(3)
    result = verify(written, head=noted)
    assert result.problems == ("audit.jsonl line 5: stands behind the noted head: it was added",)
    assert verify(written, witnesses=[noted]).ok


def test_a_changed_or_missing_head_is_found(written):
    path = head_path(written)
    content, head = path.read_text(), read_head(written)
    for i, letter in enumerate(head.hash):
        other = "0" if letter != "0" else "1"
        write_head(written, Head(head.number, head.hash[:i] + other + head.hash[i + 1 :]))
        assert not verify(written).ok
    write_head(written, Head(2, head.hash))
    assert not verify(written).ok
    for broken in ("", "{", "[]", '{"number": "4", "hash": "x"}', '{"name": 4}'):
        path.write_text(broken)
        assert verify(written).problems == ("audit_head.json: not readable: it was changed",)
    path.unlink()
    assert "missing" in verify(written).problems[0]
    assert verify(written, head=head.hash).ok
    path.write_text(content)
    assert verify(written).ok


def test_a_missing_round_in_a_flawless_chain_is_told(tmp_path):
    path = tmp_path / "audit.jsonl"
    forged_chain(path, [a_round(1), a_round(3)])
    assert verify(path).problems == ("audit.jsonl: no record of round 2",)


def test_signed_heads(tmp_path):
    path, key, other = tmp_path / "audit.jsonl", Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    public = public_text(key)
    with AuditLog(path, key) as log:
        log.append(a_round(1))
        first = log.head
        log.append(a_round(2))
    assert verify(path, public_key=public).ok
    assert "not signed" in verify(path, public_key=public_text(other)).problems[0]
    assert public[:16] in verify(path).notes[0]
    head = read_head(path)
    write_head(path, Head(head.number, head.hash, head.public_key, first.signature))
    assert not verify(path, public_key=public).ok
    with AuditLog(tmp_path / "anew" / "audit.jsonl", other) as log:
        log.append(a_round(1))
    assert not verify(log.path, public_key=public).ok
    forged_chain(path, [a_round(1), a_round(2)])
    assert verify(path).ok
    with pytest.raises(InputError, match="has no signed head"):
        verify(path, public_key=public)
    with AuditLog(tmp_path / "signed" / "audit.jsonl", key) as log:
        log.append(a_round(1))
    with pytest.raises(InputError, match="64 hexadecimal digits"):
        verify(log.path, public_key="abc")


@pytest.mark.parametrize(("model", "step"), [("m", 11), ("other", 150)])
def test_a_kill_at_any_byte_goes_on_and_is_told(tmp_path, model, step):
    whole = tmp_path / "whole.jsonl"
    with AuditLog(whole) as log:
        log.append(a_round(1))
        log.append(a_round(2))
        before, committed = log.head, whole.read_bytes()
        log.append(a_round(3))
    line = whole.read_bytes()[len(committed) :]
    for cut in [*range(0, len(line) - 2, step), *range(len(line) - 2, len(line) + 1)]:
        path = tmp_path / "audit.jsonl"
        path.write_bytes(committed + line[:cut])
        write_head(path, before)
        assert verify(path).ok == (cut == 0)
        with AuditLog(path) as log:
            told = log.resume(1)
            log.append(a_round(2, model))
            log.append(a_round(3))
        assert (told.cut_bytes, told.superseded) == (cut, (2,))
        result = verify(path)
        assert result.ok
        assert result.rounds == (1, 2, 3)
        assert result.records == 5
        assert bool(result.notes) == (model == "other")


def test_a_kill_before_the_first_record(tmp_path):
    path = tmp_path / "audit.jsonl"
    AuditLog(path).close()
    assert verify(path).ok
    path.write_bytes(b'{"at":"20')
    with AuditLog(path) as log:
        assert log.resume(0).cut_bytes == 9
    assert verify(path).ok


WRITER = """
import sys
from pathlib import Path
from federated.audit_log import AuditLog
path, checkpoint = Path(sys.argv[1]), Path(sys.argv[2])
with AuditLog(path) as log:
    last = int(checkpoint.read_text()) if checkpoint.is_file() else 0
    if path.stat().st_size:
        log.resume(last)
    print("ready", flush=True)
    for number in range(last + 1, 100_000):
        log.append({"event": "round", "round": number, "model": f"m{number}", "filling": "x" * 20_000})
        temporary = checkpoint.with_suffix(".new")
        temporary.write_text(str(number))
        temporary.replace(checkpoint)
"""


def test_killed_again_and_again(tmp_path):
    path, checkpoint = tmp_path / "audit.jsonl", tmp_path / "checkpoint"
    draw = random.Random(1)
    for _ in range(6):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path, checkpoint], stdout=subprocess.PIPE)
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(draw.uniform(0.0, 0.1))
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
    last = int(checkpoint.read_text()) if checkpoint.is_file() else 0
    with AuditLog(path) as log:
        log.resume(last)
    result = verify(path)
    assert result.ok, result.problems
    assert result.rounds == tuple(range(1, last + 1))
    assert not result.notes
    assert not list(tmp_path.glob(".*"))


def test_a_touched_log_is_not_continued(written):
    content = written.read_bytes()
    written.write_bytes(content.replace(b'"bytes":24', b'"bytes":25'))
    with AuditLog(written) as log, pytest.raises(InputError, match=r"line 3: .*changed.*anew"):
        log.resume(3)
    written.write_bytes(content[: content.rindex(b"\n", 0, -1) + 1])
    with AuditLog(written) as log, pytest.raises(InputError, match="head is record 4"):
        log.resume(3)
    written.write_bytes(content)
    with AuditLog(written) as log, pytest.raises(InputError, match=r"ends at round 3, .* round 4"):
        log.resume(4)
    head_path(written).unlink()
    with AuditLog(written) as log, pytest.raises(InputError, match=r"audit_head.json: missing"):
        log.resume(3)


def test_existing_records_are_not_written_over(written):
    with AuditLog(written) as log, pytest.raises(InputError, match="--resume"):
        log.append(a_round(4))
    written.write_bytes(b"")
    with AuditLog(written) as log, pytest.raises(InputError, match="--resume"):
        log.append(a_round(1))


def test_one_writer_at_a_time(written):
    with AuditLog(written), pytest.raises(InputError, match="another process"):
        AuditLog(written)


def test_records_are_plain_json(tmp_path):
    path = tmp_path / "audit.jsonl"
    with AuditLog(path) as log:
        log.append({"event": "e", "loss": np.float32("nan"), "n": np.int64(3), "v": np.arange(2)})
        with pytest.raises(ValueError, match="needs an 'event'"):
            log.append({"round": 1})
        with pytest.raises(ValueError, match="needs its number"):
            log.append({"event": "round", "round": "1"})
        with pytest.raises(TypeError):
            log.append({"event": "e", "what": object()})
        log.append({"event": "end"})
    record = json.loads(path.read_bytes().splitlines()[0])["record"]
    assert record == {"event": "e", "loss": None, "n": 3, "v": [0, 1]}
    assert verify(path).ok


def test_a_full_disk_leaves_the_log_as_it_was(written, monkeypatch):
    real = os.pwrite

    def half_then_full(file, content, offset):
        if len(content) < 20:
            raise OSError(28, "No space left on device")
        return real(file, content[: len(content) // 2], offset)

    before = written.read_bytes()
    with AuditLog(written) as log:
        with monkeypatch.context() as patched:
            patched.setattr(os, "pwrite", half_then_full)
            with pytest.raises(InputError, match="No space left"):
                log.resume(3)
        assert written.read_bytes() == before
        with pytest.raises(InputError, match="--resume"):
            log.append(a_round(4))
        log.resume(3)
        log.append(a_round(4))
    assert verify(written).ok


def test_no_log(tmp_path):
    with pytest.raises(InputError, match="has no audit log"):
        verify(tmp_path / "audit.jsonl")
