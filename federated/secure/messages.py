"""Messages between parties: bytes signed by their sender and bound to one round and one kind.

A long body may instead carry a Poly1305 tag (RFC 8439) under a key that sender and receiver alone have, inside the
signed header: it shows the receiver the same at an eighth of SHA-256's time, but proves nothing to third parties.
"""

import hashlib
import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.poly1305 import Poly1305

from federated.secure.errors import RejectedError
from federated.secure.keys import Identity, signed_by
from medimg.untrusted.json_file import parse_json

_SIZE = struct.Struct("<I")
_SIGNATURE_BYTES = 64


@dataclass(frozen=True)
class Message:
    """A verified message; `raw` is what was signed, to hand on to other clients."""

    kind: str
    sender: str
    fields: dict
    body: memoryview
    raw: bytes


def signed_message(
    identity: Identity, round_id: str, kind: str, fields: dict, body=b"", tag_key: bytes | None = None
) -> bytes:
    """Sign a message: header size, JSON header, binary body, Ed25519 signature of their SHA-256.

    With `tag_key`, 32 bytes used for this one message, the header holds the body's tag and it alone is signed.
    """
    body = memoryview(body).cast("B")
    header = {"kind": kind, "round": round_id, "sender": identity.name, "fields": fields}
    if tag_key is not None:
        header["tag"] = Poly1305.generate_tag(tag_key, body).hex()
    text = json.dumps(header).encode()
    parts = [_SIZE.pack(len(text)), text, body]
    signature = identity.sign(_digest(parts[:2] if tag_key is not None else parts))
    return b"".join([*parts, signature])


def verified_message(
    raw: bytes, sender: str, public: bytes, round_id: str, kind: str, tag_key: bytes | None = None
) -> Message:
    """Verify a message that came from `sender` as one of this kind in this round.

    Raises:
        RejectedError: names the sender; a changed bit, a foreign signature, another round's or another kind of message.
    """
    view = memoryview(raw)
    try:
        (size,) = _SIZE.unpack_from(view)
        end = _SIZE.size + size
        text, body, signature = view[:end], view[end:-_SIGNATURE_BYTES], view[-_SIGNATURE_BYTES:]
        signed = text if tag_key is not None else view[:-_SIGNATURE_BYTES]
        if not signed_by(public, bytes(signature), _digest([signed])):
            raise RejectedError(
                sender, f"the signature of its message '{kind}' does not match; it was changed or is foreign"
            )
        header = parse_json(bytes(text[_SIZE.size :]))
        message = Message(header["kind"], header["sender"], dict(header["fields"]), body, raw)
        message_round, tag = header["round"], header.get("tag")
    except (struct.error, ValueError, KeyError, TypeError) as error:
        if isinstance(error, RejectedError):
            raise
        raise RejectedError(sender, f"its message '{kind}' can't be read") from error
    if message.sender != sender:
        raise RejectedError(sender, f"its message is signed as {message.sender!r}")
    if message_round != round_id:
        raise RejectedError(sender, f"its message '{kind}' belongs to another round (a replay?)")
    if message.kind != kind:
        raise RejectedError(sender, f"sent '{message.kind}' where '{kind}' is due (a replay?)")
    if tag_key is not None:
        _check_tag(sender, kind, tag_key, body, tag)
    return message


def _check_tag(sender: str, kind: str, key: bytes, body: memoryview, tag) -> None:
    try:
        Poly1305.verify_tag(key, body, bytes.fromhex(tag))
    except (InvalidSignature, TypeError, ValueError) as error:
        raise RejectedError(
            sender, f"the signature of its message '{kind}' does not match its body; it was changed"
        ) from error


def pack(messages: Iterable[bytes]) -> bytes:
    """Several messages as one."""
    return b"".join(part for one in messages for part in (struct.pack("<Q", len(one)), one))


def unpack(bundle: bytes) -> list[bytes]:
    """The messages that `pack` joined.

    Raises:
        ValueError: the bundle is cut.
    """
    messages, start = [], 0
    while start < len(bundle):
        (size,) = struct.unpack_from("<Q", bundle, start) if start + 8 <= len(bundle) else (-1,)
        end = start + 8 + size
        if size < 0 or end > len(bundle):
            raise ValueError("a bundle of messages is cut short")
        messages.append(bundle[start + 8 : end])
        start = end
    return messages


def _digest(parts) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()
