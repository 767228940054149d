"""Poisson sampling of patients at the site, in the graph: each in each step independently, with all its examples.

A patient is drawn by its own key (`medimg.privacy.draws.keyed`): without it the others are drawn as before.
"""

import tensorflow as tf

from federated.engine import records
from federated.engine.records import Layout
from medimg.pipeline.batches import steady
from medimg.privacy.draws.keyed import fold_tensor, uniform_tensor

# Examples computed at once, besides the last patient's that began among them.
CHUNK = 64


def chunks(folder: tf.Tensor, probability: tf.Tensor, key: tf.Tensor, steps: tf.Tensor) -> tf.data.Dataset:
    """The drawn rows of each step in turn, in chunks of whole patients; for use in a graph.

    Args:
        folder: string scalar, of the site's records.
        probability: float64 scalar, that a patient is in a step.
        key: int64 (2,), secret; the same key draws the same.
        steps: int64 scalar.

    Returns:
        tf.data of rows int64 (B,), the number of each row's patient int32 (B,), and whether the step ends with the
        chunk. A step that draws no one is one chunk of row 0 as padding, its patient -1: the step's noise is still due.
    """
    patient_of = records.units(folder)
    rows = tf.argsort(patient_of, stable=True)
    patient_of = tf.gather(patient_of, rows)
    patients = fold_tensor(records.unit_keys(folder), key[0], key[1])

    def step(number):
        patient_drawn = uniform_tensor(fold_tensor(patients, number), [1], "float64")[:, 0] < probability
        row_drawn = tf.gather(patient_drawn, patient_of)
        drawn_rows = tf.boolean_mask(rows, row_drawn)
        members = tf.boolean_mask(patient_of, row_drawn)
        # A patient belongs to the chunk in which its first example lies.
        first = tf.searchsorted(members, members)
        place = tf.unique(first // CHUNK).idx
        last = tf.maximum(tf.reduce_max(tf.concat([place, [0]], 0)), 0)

        def cut(number):
            in_chunk = tf.equal(place, number)
            padding = tf.cast(tf.logical_not(tf.reduce_any(in_chunk)), tf.int32)
            of_chunk = tf.pad(tf.boolean_mask(drawn_rows, in_chunk), [[0, padding]])
            patients_of_chunk = tf.pad(tf.boolean_mask(members, in_chunk), [[0, padding]], constant_values=-1)
            return tf.cast(of_chunk, tf.int64), patients_of_chunk, tf.equal(number, last)

        return tf.data.Dataset.range(tf.cast(last, tf.int64) + 1, output_type=tf.int32).map(cut)

    return tf.data.Dataset.range(steps).flat_map(step)


def batches(
    folder: tf.Tensor, layout: Layout, probability: tf.Tensor, key: tf.Tensor, steps: tf.Tensor
) -> tf.data.Dataset:
    """(inputs, targets, weights, patients, keys, last) of every chunk of `chunks`; for use in a graph.

    The keys, uint64 (B,), are those by which each example draws, the same in every step.
    """
    fetch = records.reader(folder, layout)
    keys = records.row_keys(folder)

    def read(rows, patients, last):
        details = tf.data.Dataset.from_tensors((patients, tf.gather(keys, rows), last))
        return tf.data.Dataset.zip((fetch(rows), details))

    examples_drawn = chunks(folder, probability, key, steps).flat_map(read)
    return steady(examples_drawn.map(lambda examples, details: (*examples, *details)).prefetch(2))
