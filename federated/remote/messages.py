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

# In the spool folder, which is the worker's working folder.
REQUESTS, ANSWERS, RECORDS, SESSION = "requests", "answers", "records", "session"
# What a site answers, by `kind`.
DESCRIBE, STATISTICS, PREPARE = "describe", "statistics", "prepare"
LARGEST = 64 << 20  # bytes of a request


def encode(kind: str, **content) -> tuple[str, bytes]:
    """A request's name and content.

    Args:
        kind: of the three above.
        content: JSON-able.
    """
    message = {"kind": kind, "id": secrets.token_hex(8), "from": sender(), **content}
    raw = json.dumps(message).encode()
    return digest(raw), raw


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


def request_path(name: str) -> str:
    """Of a request, in the spool."""
    return f"{REQUESTS}/{name}.json"


def answer_path(name: str) -> str:
    """Of its answer."""
    return f"{ANSWERS}/{name}.json"
