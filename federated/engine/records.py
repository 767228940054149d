"""A client's training examples on its own disk, in a form that any engine can read."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medimg import atomic

INPUTS, TARGETS, WEIGHTS, UNITS = "inputs.bin", "targets.bin", "weights.bin", "units.bin"

# Of patient-level privacy: digests of the patients' names, and the keys by which patients and rows draw.
NAMES, UNIT_KEYS, ROW_KEYS = "unit_names.bin", "unit_keys.bin", "row_keys.bin"

NAME_BYTES = 16

_BLOCK = 4096


@dataclass(frozen=True)
class ClientData:
    """What the engine knows of a client.

    Attributes:
        name: of the client.
        folder: of its records, on the disk of the worker that trains it.
        examples: number of its training examples.
        units: number of its patients, where `units` were given to `write`; else 0.
        key: names the site's secret key without giving it away (`federated.private.site_key`); empty: it has none.
    """

    name: str
    folder: str
    examples: int
    units: int = 0
    key: str = ""


@dataclass(frozen=True)
class Layout:
    """Shapes and types of one example, alike at all clients.

    Attributes:
        input_shape: of one input.
        input_type: NumPy name, e.g. `uint8` for pixels.
        target_shape: () or (classes,).
        target_type: NumPy name.
    """

    input_shape: tuple[int, ...]
    input_type: str
    target_shape: tuple[int, ...]
    target_type: str

    @classmethod
    def of(cls, inputs, targets) -> "Layout":
        """The layout of arrays (N, ...)."""
        return cls(
            tuple(inputs.shape[1:]), inputs.dtype.name, tuple(targets.shape[1:]), targets.dtype.name
        )


def write(
    folder: Path,
    name: str,
    inputs,
    targets: np.ndarray,
    weights: np.ndarray | None = None,
    units: Sequence | None = None,
) -> ClientData:
    """Write a client's examples.

    Args:
        folder: to write to.
        name: of the client.
        inputs: (N, ...), an array or anything that slices into arrays.
        targets: int (N,) or 0 and 1 (N, classes).
        weights: float (N,), multiply the examples' losses; None: 1.
        units: (N,), the patient of each example, by any name; None: they are not needed.

    Raises:
        InputError: the folder can't be written.
    """
    n = len(targets)
    with atomic.replacing(Path(folder) / INPUTS) as temporary, temporary.open("wb") as file:
        for start in range(0, n, _BLOCK):
            file.write(np.ascontiguousarray(inputs[start : start + _BLOCK]).tobytes())
    weights = np.ones(n) if weights is None else weights
    arrays = {
        TARGETS: np.ascontiguousarray(targets),
        WEIGHTS: np.asarray(weights, np.float32),
    }
    patients = 0
    if units is not None:
        # Numbers in the order of the names, which do not travel: what a patient draws by is made of a digest of theirs.
        names, numbers = np.unique(np.asarray(units, dtype=str), return_inverse=True)
        arrays[UNITS], patients = numbers.astype(np.int32), len(names)
        digests = b"".join(
            hashlib.blake2b(n.encode(), digest_size=NAME_BYTES).digest() for n in names
        )
        arrays[NAMES] = np.frombuffer(digests, np.uint8)
    for filename, array in arrays.items():
        with atomic.replacing(Path(folder) / filename) as temporary:
            temporary.write_bytes(array.tobytes())
    return ClientData(name, str(Path(folder).resolve()), n, patients)
