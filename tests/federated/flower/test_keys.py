"""Key files: secret ones are their owner's alone, foreign files are refused, names can stand anywhere."""

import json
import os
import stat
import threading

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federated.flower import keys
from federated.flower.keys import Party
from federated.secure.keys import signed_by
from medimg.errors import InputError


def pem(key):
    encoding, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, kind, serialization.NoEncryption())


def test_a_secret_and_a_public_file(tmp_path):
    secret = keys.make("Paris 3.b", tmp_path)
    public = tmp_path / "Paris 3.b.pub"
    assert secret == tmp_path / "Paris 3.b.key"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    loaded, party = keys.load(secret), Party.read(public)
    assert loaded.name == party.name == "Paris 3.b"
    assert loaded.party == party
    assert signed_by(party.identity, loaded.identity().sign(b"text"), b"text")
    assert b"PRIVATE" not in public.read_bytes()
    scalar = loaded.node.private_numbers().private_value
    assert f"{scalar:x}" not in public.read_text()


def test_the_secret_was_never_readable(tmp_path, monkeypatch):
    """Not even for the moment in which it is written."""
    before, modes = os.umask(0), []
    write = type(tmp_path).write_bytes

    def watched(path, content):
        done = write(path, content)
        modes.append(stat.S_IMODE(path.stat().st_mode))
        return done

    monkeypatch.setattr(type(tmp_path), "write_bytes", watched)
    try:
        keys.make("paris", tmp_path)
    finally:
        os.umask(before)
    assert modes == [0o600]


def test_keys_that_are_there_are_left(tmp_path):
    secret = keys.make("paris", tmp_path)
    before = secret.read_bytes(), secret.with_suffix(".pub").read_bytes()
    keys.make("paris", tmp_path)
    assert (secret.read_bytes(), secret.with_suffix(".pub").read_bytes()) == before
    assert keys.load(keys.make("rome", tmp_path)).party.identity != keys.load(secret).party.identity


@pytest.mark.parametrize("name", ["", "/etc/x", "../x", "a/b", "a\\b", ".", "..", " ", "a\nb", "a\x1b[2J", "x" * 101])
def test_names_that_can_stand_nowhere_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="must have 1 to 100 characters") as refused:
        keys.make(name, tmp_path / "in")
    assert "\n" not in str(refused.value)
    assert "\x1b" not in str(refused.value)
    assert not list(tmp_path.rglob("*.key"))


def test_a_public_file_with_a_name_of_a_path_is_refused(tmp_path):
    public = keys.make("paris", tmp_path).with_suffix(".pub")
    public.write_text(json.dumps({**json.loads(public.read_text()), "name": "../../paris"}))
    with pytest.raises(InputError, match="must have 1 to 100 characters"):
        Party.read(public)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_secret_that_others_can_read_is_refused(tmp_path, mode):
    secret = keys.make("paris", tmp_path)
    secret.chmod(mode)
    with pytest.raises(InputError, match="others can read this secret key; chmod 600"):
        keys.load(secret)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "no secret key of medimg"),
        (b"\xff\xfe", "no secret key of medimg"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "its key is of another kind"),
        (pem(Ed25519PrivateKey.generate()), "its key is of another kind"),
    ],
)
def test_foreign_secrets_are_refused(tmp_path, content, told):
    path = tmp_path / "paris.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(InputError, match=told):
        keys.load(path)


def test_a_secret_under_a_password_is_refused(tmp_path):
    path = tmp_path / "paris.key"
    key = ec.generate_private_key(ec.SECP384R1())
    locked = serialization.BestAvailableEncryption(b"word")
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked))
    path.chmod(0o600)
    with pytest.raises(InputError, match="no secret key of medimg"):
        keys.load(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda told: "", "no public key of medimg"),
        (lambda told: "[]", "no public key of medimg"),
        (lambda told: json.dumps({**told, "identity": "zz"}), "no public key of medimg"),
        (lambda told: json.dumps({**told, "identity": "00"}), "of another kind"),
        (lambda told: json.dumps({**told, "node": "none"}), "no public key of medimg"),
        (lambda told: json.dumps({**told, "node": 5}), "no public key of medimg"),
        (lambda told: json.dumps({"name": "paris"}), "no public key of medimg"),
    ],
)
def test_foreign_public_files_are_refused(tmp_path, change, told):
    public = keys.make("paris", tmp_path).with_suffix(".pub")
    public.write_text(change(json.loads(public.read_text())))
    with pytest.raises(InputError, match=told):
        Party.read(public)


def test_files_that_are_not_there_are_named(tmp_path):
    for read in (keys.load, Party.read):
        with pytest.raises(InputError, match=r"nowhere.*can't be read"):
            read(tmp_path / "nowhere")


def test_of_two_at_once_both_files_are_of_one(tmp_path, monkeypatch):
    """The first has written its public file when the second begins."""
    wrote, over, write = threading.Event(), threading.Event(), keys.atomic.write_json

    def slow(path, content):
        write(path, content)
        if not wrote.is_set():
            wrote.set()
            over.wait(2)

    monkeypatch.setattr(keys.atomic, "write_json", slow)
    first = threading.Thread(target=keys.make, args=("paris", tmp_path))
    first.start()
    assert wrote.wait(60)
    second = threading.Thread(target=lambda: (keys.make("paris", tmp_path), over.set()))
    second.start()
    for thread in (first, second):
        thread.join()
    assert keys.load(tmp_path / "paris.key").party == Party.read(tmp_path / "paris.pub")
