"""The head: number and hash of the last record, in a file of its own beside the log.

It is the commit point: a record counts when the head names it. What stands in the log behind the head was never
acknowledged to the writer (it was killed in between) or was added by someone else.
"""

import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from federated.audit_log.chain import GENESIS
from medimg import atomic
from medimg.errors import InputError
from medimg.untrusted.json_file import parse_json, text_of


@dataclass(frozen=True)
class Head:
    """The end of a log.

    Attributes:
        number: records; 0 of an empty log.
        hash: of the last record, GENESIS of an empty log.
        public_key: 64 hexadecimal digits of the Ed25519 key that signed it; empty when none did.
        signature: of number and hash, hexadecimal.
    """

    number: int = 0
    hash: str = GENESIS
    public_key: str = ""
    signature: str = ""

    def signed(self, key: Ed25519PrivateKey) -> "Head":
        """The same head with a signature."""
        return Head(self.number, self.hash, public_text(key), key.sign(self._statement()).hex())

    def is_signed_by(self, public_key: str) -> bool:
        """The signature is there and was made with the private part of this key.

        Raises:
            InputError: the key is no Ed25519 public key.
        """
        try:
            key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        except ValueError as error:
            raise InputError(
                f"public key '{public_key}': must be the 64 hexadecimal digits of an Ed25519 key"
            ) from error
        try:
            key.verify(bytes.fromhex(self.signature), self._statement())
        except (InvalidSignature, ValueError):
            return False
        return True

    def _statement(self) -> bytes:
        # The prefix keeps the signature from meaning anything elsewhere.
        return f"medimg audit log head\n{self.number}\n{self.hash}\n".encode()


def witnessed(site: str, run: str, head: str, before: str | None = None) -> bytes:
    """What a site signs of a coordinator's head that it was told.

    Args:
        site: its name.
        run: the training's name.
        head: hash of the last record at that time.
        before: the head that it was told before that, empty of the first: sites answer a question again, and would
            sign a log made anew if they did not say what they have signed; None: of older versions, which did not.
    """
    statement = [site, run, head] if before is None else [site, run, head, before]
    return b"medimg audit log head, told to a site\n" + json.dumps(statement).encode()


def head_path(log: Path) -> Path:
    """Where the head of a log is: `audit_head.json` beside `audit.jsonl`."""
    return log.with_name(f"{log.stem}_head.json")


def read_head(log: Path) -> Head | None:
    """The head beside a log, None when there is none.

    Raises:
        InputError: the file is not a head.
    """
    path = head_path(log)
    if not path.is_file():
        return None
    try:
        head = Head(**parse_json(text_of(path)))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: not readable; it was changed: start anew with --overwrite") from error
    texts = (head.hash, head.public_key, head.signature)
    if type(head.number) is not int or not all(isinstance(text, str) for text in texts):
        raise InputError(f"{path}: not a head; it was changed: start anew with --overwrite")
    return head


def write_head(log: Path, head: Head) -> None:
    """Put the head in its place, on the disk when this returns.

    Raises:
        InputError: the folder can't be written.
    """
    path = head_path(log)
    with atomic.replacing(path) as temporary, temporary.open("w", encoding="ascii") as file:
        json.dump(vars(head), file)
        file.flush()
        os.fsync(file.fileno())
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        # Some file systems refuse this of a folder; the rename is done all the same.
        with suppress(OSError):
            os.fsync(folder)
    finally:
        os.close(folder)


def public_text(key: Ed25519PrivateKey) -> str:
    """The public part, 64 hexadecimal digits."""
    return key.public_key().public_bytes_raw().hex()
