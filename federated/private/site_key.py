"""A site's secret key, from which it draws its patients and its noise: beside its records, and nowhere else.

It comes from the operating system at the site, so that whoever coordinates knows neither the sample nor the noise; it
is kept as long as the records are, so that a round that is repeated after a crash draws the same; with them it must go
when the training is complete, so that no one can take the noise off later.
"""

import hashlib
import hmac
import secrets
from dataclasses import replace
from pathlib import Path

import numpy as np

from federated.engine import records
from federated.engine.records import ClientData
from medimg import atomic
from medimg.errors import InputError
from medimg.privacy.draws.keyed import row_keys, unit_keys
from medimg.privacy.draws.noise_seed import fingerprint

FILE = "key.bin"
BYTES = 16
# What the key was made for: the same noise on other records would show the difference bare.
MADE_FOR = "key_of.sha256"
_BLOCK = 1 << 20


def with_key(data: ClientData, fixed: int | None = None) -> ClientData:
    """Give a site its key, or find the one that it has.

    Args:
        data: of `records.write`, at the site.
        fixed: a seed, for experiments that must repeat; None: from the operating system.

    Returns:
        The same with `key`, the key's public name: another key has another name.

    Raises:
        InputError: the folder can't be written, its key is not whole, or the records have changed since it was made.
    """
    path = Path(data.folder) / FILE
    _require_same_records(Path(data.folder))
    if fixed is not None:
        key = bytes.fromhex(fingerprint({"seed": fixed, "site": data.name}))[:BYTES]
    elif path.is_file():
        key = path.read_bytes()
        if len(key) != BYTES:
            raise InputError(f"{path}: not a whole key; the noise can't be repeated: train anew with --overwrite")
    else:
        key = secrets.token_bytes(BYTES)
    with atomic.replacing(path) as temporary:
        temporary.chmod(0o600)
        temporary.write_bytes(key)
    _write_keys(Path(data.folder), key)
    return replace(data, key=hashlib.sha256(b"medimg site key" + key).hexdigest()[:16])


def _require_same_records(folder: Path) -> None:
    digest = hashlib.sha256()
    for name in (records.INPUTS, records.TARGETS, records.WEIGHTS, records.UNITS, records.NAMES):
        with (folder / name).open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    path = folder / MADE_FOR
    if path.is_file() and (folder / FILE).is_file():
        if path.read_text(encoding="ascii") != digest.hexdigest():
            raise InputError(
                f"{folder}: the records have changed since this training began; the same noise on others would show "
                "the difference bare: train anew with --overwrite"
            )
        return
    atomic.write_text(path, digest.hexdigest())


def _write_keys(folder: Path, key: bytes) -> None:
    """What the site's patients and their rows draw by."""
    raw = (folder / records.NAMES).read_bytes()
    size = records.NAME_BYTES
    names = [raw[i : i + size].hex() for i in range(0, len(raw), size)]
    numbers = np.fromfile(folder / records.UNITS, np.int32)
    of_units = unit_keys(_purpose(key, b"units"), names)
    of_rows = row_keys(_purpose(key, b"rows"), [names[number] for number in numbers])
    for name, keys in ((records.UNIT_KEYS, of_units), (records.ROW_KEYS, of_rows)):
        with atomic.replacing(folder / name) as temporary:
            temporary.chmod(0o600)
            temporary.write_bytes(keys.tobytes())


def _purpose(key: bytes, name: bytes) -> bytes:
    return hmac.new(key, name, hashlib.sha256).digest()
