"""Ids of patients, studies and images as keyed hashes, whose key stays beside the source and never enters a Dataset."""

import hmac
import secrets
from pathlib import Path

from medimg import atomic
from medimg.errors import InputError
from medimg.lock import in_turn

_BYTES = 32


class Pseudonyms:
    """Hashes of ids under one salt: HMAC-SHA-256, the first 16 hex digits.

    Args:
        salt: secret; who has it can find out whose a hash is.

    Example:
        Pseudonyms(salt)("patient", "4711")
    """

    def __init__(self, salt: bytes):
        self._salt = salt

    def __call__(self, kind: str, value: str) -> str:
        """The hash of an id; the same value of another kind has another."""
        return hmac.digest(self._salt, f"{kind}\0{value}".encode("utf-8", "replace"), "sha256").hex()[:16]


def salt_at(path: Path) -> bytes:
    """The salt in a file, which is made where there is none, readable by its owner alone.

    Raises:
        InputError: it can't be read or made, or is no salt.
    """
    try:
        if not path.exists():
            _make(path)
        salt = bytes.fromhex(path.read_text(encoding="ascii"))
    except OSError as error:
        raise InputError(
            f"{path}: the salt of hashed ids can't be kept there ({error.strerror or error}); say where by --salt FILE"
        ) from error
    except ValueError as error:
        raise InputError(f"{path}: no salt (hex digits); name another file by --salt FILE") from error
    if len(salt) < _BYTES:
        raise InputError(f"{path}: a salt of {len(salt)} bytes, at least {_BYTES} are needed; remove the file")
    return salt


def _make(path: Path) -> None:
    """Two at once get the same salt, and a kill or a full disk leaves none that is not whole."""
    with in_turn(path.parent):
        if path.exists():
            return
        atomic.sweep_beside(path)
        try:
            with atomic.replacing(path) as temporary:
                temporary.chmod(0o600)
                temporary.write_text(secrets.token_hex(_BYTES) + "\n", encoding="ascii")
        except InputError as error:
            # Its remedy would be another --out.
            raise error.__cause__ or error from error
