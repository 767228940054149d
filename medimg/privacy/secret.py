"""The seed of noise and sampling: kept secret, never used twice for different trainings.

Differential privacy holds against whoever does not know the noise. A seed that stands in
`config.yaml` lets anyone draw the noise again and take it off; two trainings that share a seed but
differ in an option share their noise, and the difference of their gradients is bare. So the seed
comes from the operating system, is kept with the checkpoints (a killed training must draw the same
again) and goes with them when the training is complete. A fixed seed, for experiments, is mixed
with the options, so that other options never meet the same noise; the ledger says that it was
fixed.
"""

import hashlib
import json
import os
import secrets
from pathlib import Path

import numpy as np

from medimg import atomic
from medimg.errors import InputError

FILE = "noise_seed.json"


def secret_seed(checkpoints: Path, options: dict, fixed: int | None = None) -> int:
    """The 128-bit seed of a Run: the one kept in its checkpoints, else a new one that is kept from now on.

    Args:
        checkpoints: RUN/checkpoints.
        options: everything that decides the result, those at their defaults left out (a later version has more of
            them, and a fixed seed must draw the same); mixed into a fixed seed.
        fixed: the user's seed, for experiments that must repeat; None: from the operating system.

    Raises:
        InputError: the kept seed can't be read, or a new one can't be kept.
    """
    if fixed is not None:
        return int(fingerprint({"seed": fixed, "options": options})[:32], 16)
    path = Path(checkpoints) / FILE
    if path.is_file():
        try:
            return int(json.loads(path.read_text(encoding="utf-8"))["seed"], 16)
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path}: not readable; the noise can't be repeated: train anew with --overwrite"
            ) from error
    seed = secrets.randbits(128)
    atomic.write_json(path, {"seed": f"{seed:032x}"})
    os.chmod(path, 0o600)
    return seed


def stream_seed(seed: int, purpose: str, *numbers: int) -> int:
    """A 63-bit seed of one use of the secret, e.g. `stream_seed(seed, "noise", phase)` for a TensorFlow generator."""
    return int(fingerprint({"seed": seed, "purpose": purpose, "numbers": numbers})[:16], 16) >> 1


def generator(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """A NumPy generator of one use of the secret: depends on its arguments alone, so that a resumed step repeats."""
    key = int(fingerprint({"seed": seed, "purpose": purpose, "numbers": numbers})[:32], 16)
    return np.random.Generator(np.random.Philox(key=key))


def draw_key(seed: int, options: dict) -> str:
    """Names the random draws of a training without giving the seed away: equal for equal seed and options alone."""
    return fingerprint({"draw": seed, "options": options})[:16]


def fingerprint(content: dict) -> str:
    """SHA-256 of plain values, whatever the order of their names."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
