"""Ids of patients, studies and images as keyed hashes, whose key stays beside the source and never enters a Dataset."""

import hmac
import os
import secrets
from pathlib import Path

from medimg.errors import InputError

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
        try:
            with open(path, "x", encoding="ascii", opener=_private) as file:
                file.write(secrets.token_hex(_BYTES) + "\n")
        except FileExistsError:
            pass
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


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
