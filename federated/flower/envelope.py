"""Messages between coordinator and site: a JSON header, arrays of stated type and shape, an Ed25519 signature.

Every message says its protocol, who it is from and for, the session and its number there. What is of another version,
session, size, shape or signature, or holds NaN where numbers are meant, is refused by name; nothing is ever unpickled.
"""

import hashlib
import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from federated.secure.keys import Identity, signed_by
from medimg.errors import InputError
from medimg.untrusted.json_file import NotFiniteError, finite
from medimg.untrusted.printable import printable

VERSION = 5
LARGEST = 1 << 30  # bytes of a message
_LARGEST_HEADER = 64 << 20
_SIZE = struct.Struct("<I")
_SIGNATURE_BYTES = 64
_TYPES = ("float32", "float64", "int32", "int64", "uint8")
_MOST_DIMENSIONS = 8
_NO_NUMBER = "its header holds NaN or infinity"
# What is signed is not mistaken for anything else that the same key signs.
_CONTEXT = b"medimg federation message\n"


class WireError(InputError):
    """A message that can't be used; its text says why."""


@dataclass(frozen=True)
class Envelope:
    """One message.

    Attributes:
        kind: of the request, or of what it answers.
        sender: its name.
        to: the receiver's.
        session: 32 hexadecimal digits, of one process of the coordinator.
        number: counts up within the session; an answer has that of its request.
        fields: plain values.
        arrays: name -> arrays in order.
    """

    kind: str
    sender: str
    to: str
    session: str
    number: int
    fields: dict = field(default_factory=dict)
    arrays: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)

    def digest(self, *names: str) -> str:
        """SHA-256 of the fields and arrays of these names, whoever they are for."""
        digest = hashlib.sha256()
        for name in names:
            digest.update(json.dumps([name, self.fields.get(name)], sort_keys=True).encode())
            for array in map(np.asarray, self.arrays.get(name, [])):
                digest.update(json.dumps([array.dtype.name, list(array.shape)]).encode() + array.tobytes())
        return digest.hexdigest()

    def answer(self, fields: dict | None = None, arrays: Mapping[str, Sequence[np.ndarray]] | None = None):
        """The same with the roles changed."""
        return Envelope(self.kind, self.to, self.sender, self.session, self.number, fields or {}, arrays or {})


def signed(message: Envelope, identity: Identity) -> bytes:
    """The bytes of a message, signed.

    Raises:
        WireError: an array of a type that does not travel, or too much of it.
    """
    described, parts = {}, []
    for name, arrays in message.arrays.items():
        described[name] = []
        for array in map(np.asarray, arrays):
            if array.dtype.name not in _TYPES:
                raise WireError(f"message '{message.kind}': {name} is {array.dtype}, which does not travel")
            described[name].append([array.dtype.name, list(array.shape)])
            parts.append(array.astype(array.dtype.newbyteorder("<"), order="C", copy=False).tobytes())
    header = {"protocol": VERSION, **{k: getattr(message, k) for k in _HEAD}, "arrays": described}
    try:
        text = json.dumps(header, allow_nan=False).encode()
    except ValueError as error:
        raise WireError(f"message '{message.kind}': {_NO_NUMBER}") from error
    content = b"".join([_SIZE.pack(len(text)), text, *parts])
    if len(content) > LARGEST:
        raise WireError(f"message '{message.kind}': {len(content) >> 20} MiB; at most {LARGEST >> 20} travel")
    return content + identity.sign(_CONTEXT + content)


_HEAD = ("kind", "sender", "to", "session", "number", "fields")


def opened(raw: bytes, sender: str, public: bytes, to: str) -> Envelope:
    """A verified message.

    Args:
        raw: as it came.
        sender: who it must be from.
        public: the sender's signing key.
        to: whom it must be for.

    Raises:
        WireError: says what is wrong with it; nothing of it was used.
    """
    what = f"message from {printable(sender, 100)}"
    if len(raw) > LARGEST + _SIGNATURE_BYTES:
        raise WireError(f"{what}: {len(raw) >> 20} MiB; at most {LARGEST >> 20} are taken")
    content, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
    if len(content) < _SIZE.size or not signed_by(public, signature, _CONTEXT + content):
        raise WireError(f"{what}: its signature is not that of the key known for it; it was changed or is foreign")
    try:
        (size,) = _SIZE.unpack_from(content)
        if size > min(_LARGEST_HEADER, len(content)):
            raise ValueError("header")
        header = json.loads(content[_SIZE.size : _SIZE.size + size], parse_constant=finite, parse_float=finite)
        if header["protocol"] != VERSION:
            raise WireError(
                f"{what}: speaks protocol {printable(header['protocol'], 20)}, this medimg {VERSION}; install the same"
            )
        envelope = Envelope(**{name: header[name] for name in _HEAD})
        described = header["arrays"]
    except WireError:
        raise
    except NotFiniteError as error:
        raise WireError(f"{what}: {_NO_NUMBER}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WireError(f"{what}: its header can't be read") from error
    if (envelope.sender, envelope.to) != (sender, to):
        raise WireError(
            f"{what}: is signed as {printable(envelope.sender, 100)!r} for {printable(envelope.to, 100)!r}, "
            f"not for {to!r}"
        )
    if not _plain(envelope):
        raise WireError(f"{what}: its header has fields of other types")
    arrays = _arrays(described, memoryview(content)[_SIZE.size + size :], what)
    return Envelope(**{name: getattr(envelope, name) for name in _HEAD}, arrays=arrays)


def _plain(message: Envelope) -> bool:
    hexadecimal = isinstance(message.session, str) and len(message.session) == 32
    number = isinstance(message.number, int) and not isinstance(message.number, bool) and message.number >= 0
    return isinstance(message.kind, str) and hexadecimal and number and isinstance(message.fields, dict)


def _arrays(described, body: memoryview, what: str) -> dict[str, list[np.ndarray]]:
    arrays, start = {}, 0
    try:
        for name, kinds in described.items():
            arrays[name] = []
            for kind, shape in kinds:
                if kind not in _TYPES or len(shape) > _MOST_DIMENSIONS:
                    raise WireError(f"{what}: array '{printable(name, 50)}' is of type {printable(kind, 20)}")
                if not all(type(n) is int and 0 <= n <= LARGEST for n in shape):
                    raise WireError(f"{what}: array '{printable(name, 50)}' has a shape of {printable(shape, 50)}")
                end = start + math.prod(shape) * np.dtype(kind).itemsize
                if end > len(body):
                    raise WireError(f"{what}: array '{printable(name, 50)}' is longer than the message")
                array = np.frombuffer(body[start:end], np.dtype(kind).newbyteorder("<")).reshape(shape)
                if array.dtype.kind == "f" and not np.isfinite(array).all():
                    raise WireError(f"{what}: array '{printable(name, 50)}' holds NaN or infinity")
                arrays[name].append(array.astype(kind, copy=False))
                start = end
    except WireError:
        # A ValueError too, which says more.
        raise
    except (AttributeError, ValueError, TypeError) as error:
        raise WireError(f"{what}: its arrays are described in another form") from error
    if start != len(body):
        raise WireError(f"{what}: {len(body) - start} bytes belong to no array")
    return arrays


def peeked(raw: bytes | None) -> str | None:
    """The session that a message says it is of, unverified; None: it says none."""
    try:
        (size,) = _SIZE.unpack_from(raw)
        session = json.loads(raw[_SIZE.size : _SIZE.size + min(size, _LARGEST_HEADER)])["session"]
    except (struct.error, ValueError, KeyError, TypeError, RecursionError):
        return None
    return session if isinstance(session, str) else None
