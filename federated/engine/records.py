"""A client's training examples on its own disk, read by the engine: paths travel, examples do not.

`FOLDER/inputs.bin`, `targets.bin`, `weights.bin` and, for patient-level privacy, `units.bin` are plain arrays, one
record after another. A worker may be a process without Python, so they are read by TensorFlow operations alone.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from medimg import atomic
from medimg.pipeline.batches import steady

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
        return cls(tuple(inputs.shape[1:]), inputs.dtype.name, tuple(targets.shape[1:]), targets.dtype.name)


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
    arrays = {TARGETS: np.ascontiguousarray(targets), WEIGHTS: np.asarray(weights, np.float32)}
    patients = 0
    if units is not None:
        # Numbers in the order of the names, which do not travel: what a patient draws by is made of a digest of theirs.
        names, numbers = np.unique(np.asarray(units, dtype=str), return_inverse=True)
        arrays[UNITS], patients = numbers.astype(np.int32), len(names)
        digests = b"".join(hashlib.blake2b(n.encode(), digest_size=NAME_BYTES).digest() for n in names)
        arrays[NAMES] = np.frombuffer(digests, np.uint8)
    for filename, array in arrays.items():
        with atomic.replacing(Path(folder) / filename) as temporary:
            temporary.write_bytes(array.tobytes())
    return ClientData(name, str(Path(folder).resolve()), n, patients)


def batches(folder: tf.Tensor, layout: Layout, rows: tf.data.Dataset) -> tf.data.Dataset:
    """(inputs float32 (B, ...), targets (B, ...), weights (B,)) of the rows asked for; for use in a graph.

    Args:
        folder: string scalar.
        layout: of the examples.
        rows: int64 vectors, one a batch; negative entries are no example.
    """
    fetch = reader(folder, layout)
    return steady(rows.flat_map(lambda numbers: fetch(tf.boolean_mask(numbers, numbers >= 0))).prefetch(2))


def reader(folder: tf.Tensor, layout: Layout) -> Callable[[tf.Tensor], tf.data.Dataset]:
    """For use in a graph: rows int64 (B,) -> a tf.data of one element, as those of `batches`; of none where B is 0."""
    inputs_file = tf.strings.join([folder, "/", INPUTS])
    targets = _whole(folder, TARGETS, layout.target_type, layout.target_shape)
    weights = _whole(folder, WEIGHTS, "float32", ())
    total = tf.shape(weights, out_type=tf.int64)[0]
    kind = tf.as_dtype(layout.input_type)
    size = int(np.prod(layout.input_shape, dtype=np.int64)) * kind.size

    def one(row):
        # All but one record are header or footer: a read at a place, whatever the size of the file.
        return tf.data.FixedLengthRecordDataset(
            inputs_file, size, header_bytes=row * size, footer_bytes=(total - row - 1) * size
        )

    def fetch(numbers):
        records = tf.data.Dataset.from_tensor_slices(numbers).flat_map(one)
        width = tf.maximum(tf.shape(numbers, out_type=tf.int64)[0], 1)

        def parse(raw):
            inputs = tf.reshape(tf.io.decode_raw(raw, kind), (-1, *layout.input_shape))
            return (tf.cast(inputs, tf.float32), tf.gather(targets, numbers), tf.gather(weights, numbers))

        return records.batch(width).map(parse)

    return fetch


def every_row(folder: tf.Tensor, batch_size: int) -> tf.data.Dataset:
    """The rows of all examples in their order, in batches; for use in a graph."""
    total = tf.shape(_whole(folder, WEIGHTS, "float32", ()), out_type=tf.int64)[0]
    return steady(tf.data.Dataset.range(total).batch(batch_size))


def count(folder: tf.Tensor) -> tf.Tensor:
    """int64 scalar, the number of examples; for use in a graph."""
    return tf.shape(_whole(folder, WEIGHTS, "float32", ()), out_type=tf.int64)[0]


def units(folder: tf.Tensor) -> tf.Tensor:
    """int32 (N,), the number of each example's patient, from 0; for use in a graph."""
    return _whole(folder, UNITS, "int32", ())


def unit_keys(folder: tf.Tensor) -> tf.Tensor:
    """uint64 (patients,), what each patient is drawn by; for use in a graph."""
    return tf.bitcast(_whole(folder, UNIT_KEYS, "int64", ()), tf.uint64)


def row_keys(folder: tf.Tensor) -> tf.Tensor:
    """uint64 (N,), what each example draws by; for use in a graph."""
    return tf.bitcast(_whole(folder, ROW_KEYS, "int64", ()), tf.uint64)


def _whole(folder: tf.Tensor, name: str, kind: str, shape: tuple) -> tf.Tensor:
    raw = tf.io.read_file(tf.strings.join([folder, "/", name]))
    return tf.reshape(tf.io.decode_raw(raw, tf.as_dtype(kind)), (-1, *shape))
