"""A site's secret key, from which it draws its patients and its noise: beside its records, and nowhere else.

It comes from the operating system at the site, so that whoever coordinates knows neither the sample nor the noise; it
is kept as long as the records are, so that a round that is repeated after a crash draws the same; with them it must go
when the training is complete, so that no one can take the noise off later.
"""

import hashlib
import os
import secrets
from dataclasses import replace
from pathlib import Path

from federated.tff.records import ClientData
from medimg import atomic
from medimg.errors import InputError
from medimg.privacy.secret import fingerprint

FILE = "key.bin"
BYTES = 16


def with_key(data: ClientData, fixed: int | None = None) -> ClientData:
    """Give a site its key, or find the one that it has.

    Args:
        data: of `records.write`, at the site.
        fixed: a seed, for experiments that must repeat; None: from the operating system.

    Returns:
        The same with `key`, the key's public name: another key has another name.

    Raises:
        InputError: the folder can't be written, or its key is not whole.
    """
    path = Path(data.folder) / FILE
    if fixed is not None:
        key = bytes.fromhex(fingerprint({"seed": fixed, "site": data.name}))[:BYTES]
    elif path.is_file():
        key = path.read_bytes()
        if len(key) != BYTES:
            raise InputError(
                f"{path}: not a whole key; the noise can't be repeated: train anew with --overwrite"
            )
    else:
        key = secrets.token_bytes(BYTES)
    with atomic.replacing(path) as temporary:
        os.chmod(temporary, 0o600)
        temporary.write_bytes(key)
    return replace(data, key=hashlib.sha256(b"medimg site key" + key).hexdigest()[:16])
