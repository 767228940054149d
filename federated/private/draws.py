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
        drawn = uniform_tensor(fold_tensor(patients, number), [1], "float64")[:, 0] < probability
        inside = tf.gather(drawn, patient_of)
        chosen = tf.boolean_mask(rows, inside)
        members = tf.boolean_mask(patient_of, inside)
        # A patient belongs to the chunk in which its first example lies.
        first = tf.searchsorted(members, members)
        place = tf.unique(first // CHUNK).idx
        last = tf.maximum(tf.reduce_max(tf.concat([place, [0]], 0)), 0)

        def cut(number):
            here = tf.equal(place, number)
            padding = tf.cast(tf.logical_not(tf.reduce_any(here)), tf.int32)
            of_chunk = tf.pad(tf.boolean_mask(chosen, here), [[0, padding]])
            whose = tf.pad(tf.boolean_mask(members, here), [[0, padding]], constant_values=-1)
            return tf.cast(of_chunk, tf.int64), whose, tf.equal(number, last)

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

    def read(rows, whose, last):
        told = tf.data.Dataset.from_tensors((whose, tf.gather(keys, rows), last))
        return tf.data.Dataset.zip((fetch(rows), told))

    drawn = chunks(folder, probability, key, steps).flat_map(read)
    return steady(drawn.map(lambda examples, told: (*examples, *told)).prefetch(2))
