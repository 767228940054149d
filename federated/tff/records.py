"""A client's training examples on its own disk, read by the worker: paths travel, examples do not.

`FOLDER/inputs.bin`, `targets.bin`, `weights.bin` and, for patient-level privacy, `units.bin` are plain arrays, one
record after another. The worker is a C++ process without Python, so they are read by TensorFlow operations alone.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from federated.engine.records import INPUTS, ROW_KEYS, TARGETS, UNIT_KEYS, UNITS, WEIGHTS, Layout


def batches(folder: tf.Tensor, layout: Layout, rows: tf.data.Dataset) -> tf.data.Dataset:
    """(inputs float32 (B, ...), targets (B, ...), weights (B,)) of the rows asked for; for use in a graph.

    Args:
        folder: string scalar.
        layout: of the examples.
        rows: int64 vectors, one a batch; negative entries are no example.
    """
    fetch = reader(folder, layout)
    return rows.flat_map(lambda chosen: fetch(tf.boolean_mask(chosen, chosen >= 0))).prefetch(2)


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

    def fetch(chosen):
        records = tf.data.Dataset.from_tensor_slices(chosen).flat_map(one)
        width = tf.maximum(tf.shape(chosen, out_type=tf.int64)[0], 1)

        def parse(raw):
            inputs = tf.reshape(tf.io.decode_raw(raw, kind), (-1, *layout.input_shape))
            return (
                tf.cast(inputs, tf.float32),
                tf.gather(targets, chosen),
                tf.gather(weights, chosen),
            )

        return records.batch(width).map(parse)

    return fetch


def every_row(folder: tf.Tensor, batch_size: int) -> tf.data.Dataset:
    """The rows of all examples in their order, in batches; for use in a graph."""
    total = tf.shape(_whole(folder, WEIGHTS, "float32", ()), out_type=tf.int64)[0]
    return tf.data.Dataset.range(total).batch(batch_size)


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
