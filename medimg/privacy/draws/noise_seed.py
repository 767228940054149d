"""The secret seed of a private training, and everything that is drawn of it.

A noise seed in `config.yaml` lets anyone draw the noise again and take it off. So the seed comes from the operating
system, is kept with the checkpoints (a killed training must draw the same again) and goes with them when the training
is complete. `--dp-seed` gives it instead, for experiments; the ledger says that it was fixed.

Two trainings that share a seed but differ in an option must not share their noise: the difference of their gradients
would be bare. So noise and samples are streams of HMAC-SHA256(seed, options, purpose, numbers), and a copied or edited
Run that goes on with other options draws other ones. What belongs to a patient (dropout, augmentation) is keyed by the
seed and the patient (`medimg.privacy.draws.keyed`): it hides nothing and only has to be the same whoever else is there.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from medimg import atomic
from medimg.errors import InputError
from medimg.privacy.draws import keyed
from medimg.untrusted.json_file import parse_json, text_of

FILE = "noise_seed.json"
_BYTES = 16


@dataclass(frozen=True)
class Secret:
    """The seed of a training.

    Attributes:
        seed: 16 bytes.
        options: everything that decides the result but the data, those at their defaults left out: a later version
            has more of them, and a fixed seed must draw the same.
    """

    seed: bytes
    options: dict

    @classmethod
    def fixed(cls, seed: int, options: dict) -> "Secret":
        """Of a user's number (`--dp-seed`), for experiments that must repeat."""
        return cls(hashlib.sha256(f"medimg dp-seed {seed}".encode()).digest()[:_BYTES], options)

    def stream(self, purpose: str, *numbers: int) -> bytes:
        """32 bytes of one use of the seed, e.g. `stream("noise", phase, step)`."""
        return _hmac(self._root, {"purpose": purpose, "numbers": [int(n) for n in numbers]})

    def generator(self, purpose: str, *numbers: int) -> np.random.Generator:
        """NumPy's Philox with a key of 128 bits; depends on its arguments alone, so that a resumed step repeats."""
        key = int.from_bytes(self.stream(purpose, *numbers)[:_BYTES], "big")
        return np.random.Generator(np.random.Philox(key=key))

    def state(self, purpose: str, *numbers: int) -> np.ndarray:
        """The state of a Philox tf.random.Generator: int64 (3,), 128 bits of counter and 64 of key."""
        return np.frombuffer(self.stream(purpose, *numbers)[:24], np.int64)

    def row_keys(self, patients: Sequence[str]) -> np.ndarray:
        """What rows draw by: uint64 (N,), as `medimg.privacy.draws.keyed.row_keys`; the same under other options."""
        return keyed.row_keys(_hmac(self.seed, {"purpose": "patients"}), patients)

    def unit_keys(self, purpose: str, names: Sequence[str]) -> np.ndarray:
        """What patients are drawn by: uint64 (U,); others under other options."""
        return keyed.unit_keys(self.stream(purpose), names)

    def draw(self) -> str:
        """Names the draws of a training without giving the seed away: alike for equal seed and options alone.

        Not by the data: the seed never meets others (`secret_of`), and what is written must not tell of them.
        """
        return _hmac(self._root, {"purpose": "draw"}).hex()[:16]

    @cached_property
    def _root(self) -> bytes:
        return _hmac(self.seed, {"options": self.options})


def secret_of(checkpoints: Path, options: dict, data: str, fixed: int | None = None) -> Secret:
    """The secret of a Run: the one kept in its checkpoints, else a new one that is kept from now on.

    Args:
        checkpoints: RUN/checkpoints.
        options: as `Secret.options`.
        data: names all that is trained on and started from: kept beside the seed, which must not meet others.
        fixed: the user's seed; None: from the operating system.

    Raises:
        InputError: the kept seed can't be read or is for other data, or a new one can't be kept.
    """
    fixed_seed = None if fixed is None else Secret.fixed(fixed, options).seed
    path = Path(checkpoints) / FILE
    if path.is_file():
        try:
            content = parse_json(text_of(path))
            seed, kept_for = bytes.fromhex(content["seed"]), content["data"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path}: not readable; the noise can't be repeated: train anew with --overwrite"
            ) from error
        if len(seed) != _BYTES:
            raise InputError(f"{path}: the seed is not whole; the noise can't be repeated: train anew with --overwrite")
        if kept_for != data:
            raise InputError(
                f"{path}: the data, or what the training starts from, have changed since it began; the same noise on "
                "others would show the difference bare: train anew with --overwrite"
            )
        return Secret(seed if fixed_seed is None else fixed_seed, options)
    seed = fixed_seed or secrets.token_bytes(_BYTES)
    atomic.write_json(path, {"seed": seed.hex(), "data": data})
    path.chmod(0o600)
    return Secret(seed, options)


def fingerprint(content: dict) -> str:
    """SHA-256 of plain values, whatever the order of their names."""
    return hashlib.sha256(_text(content)).hexdigest()


def _hmac(key: bytes, content: dict) -> bytes:
    return hmac.new(key, _text(content), hashlib.sha256).digest()


def _text(content: dict) -> bytes:
    return json.dumps(content, sort_keys=True, default=str).encode()
