"""What coordinator and site write to each other, as files of the site's spool folder.

A request travels through TFF's one channel as a small computation that writes a file; its answer is a file that the
coordinator reads the same way. So one encrypted tunnel carries everything. A request's name is the SHA-256 of its
content: half a file is told from a whole one.
"""

import getpass
import hashlib
import json
import secrets
import socket

from medimg.errors import InputError
from medimg.untrusted.printable import printable

# In the spool folder, which is the worker's working folder.
REQUESTS, ANSWERS, RECORDS, SESSION = "requests", "answers", "records", "session"
# What a site answers, by `kind`.
DESCRIBE, STATISTICS, PREPARE = "describe", "statistics", "prepare"
LARGEST = 64 << 20  # bytes of a request
_LARGEST_SEED = 2**63
_NAMED = 20  # clients that a line of the log names
# What each field of a request holds, and what it is when it is not there.
_FIELDS = {"kind": (str, ""), "from": (str, "someone"), "seed": (int, 0), "clients": (list, [])}
_CONTENT = {STATISTICS: "request", PREPARE: "plan"}


def encode(kind: str, **content) -> tuple[str, bytes]:
    """A request's name and content.

    Args:
        kind: of the three above.
        content: JSON-able.
    """
    message = {"kind": kind, "id": secrets.token_hex(8), "from": sender(), **content}
    raw = json.dumps(message).encode()
    return digest(raw), raw


def decode(raw: bytes | None) -> dict:
    """The request that `encode` made, or that anyone else may have written; None: one of more than LARGEST bytes.

    Returns:
        With `kind`, `from`, `seed` and `clients`, and `request` (statistics) or `plan` (prepare), of these types.

    Raises:
        InputError: it is no request: not JSON, or a field of another type.
    """
    if raw is None:
        raise InputError(f"request: is larger than {LARGEST >> 20} MB")
    try:
        content = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise InputError(f"request: can't be read as JSON ({type(error).__name__})") from error
    if not isinstance(content, dict):
        raise InputError("request: is no JSON object")
    found = {**content}
    for name, (kind, default) in _FIELDS.items():
        value = found.setdefault(name, default)
        # `True` is an int to Python.
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(f"request: {name} is no {kind.__name__}")
    if not all(isinstance(name, str) for name in found["clients"]):
        raise InputError("request: clients are not all names")
    if not 0 <= found["seed"] < _LARGEST_SEED:
        raise InputError("request: seed is not between 0 and 2^63")
    inner = _CONTENT.get(found["kind"])
    if inner and not isinstance(found.get(inner), dict):
        raise InputError(f"request: {inner} is no JSON object")
    return found


def digest(raw: bytes) -> str:
    """The name of a request."""
    return hashlib.sha256(raw).hexdigest()


def sender() -> str:
    """USER@MACHINE, as told; nothing proves it but the tunnel's certificate."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container's user may have no name.
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def in_words(request: dict) -> str:
    """What a request asks for, on one line: `prepare for s1, s2`."""
    names = [printable(name, 60) for name in request["clients"][:_NAMED]]
    more = len(request["clients"]) - len(names)
    names += [f"{more} more"] * (more > 0)
    return f"{printable(request['kind'], 60)} for {', '.join(names) or 'all clients'}"


def request_path(name: str) -> str:
    """Of a request, in the spool."""
    return f"{REQUESTS}/{name}.json"


def answer_path(name: str) -> str:
    """Of its answer."""
    return f"{ANSWERS}/{name}.json"
