import numpy as np
import pytest
import tensorflow as tf

from federated.engine import records
from federated.engine.records import Layout, write


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_rows_come_back_as_asked_for(tmp_path, kind):
    generator = np.random.default_rng(0)
    x = (generator.random((9, 4, 3)) * 255).astype(kind)
    y = generator.integers(0, 5, 9)
    weights = generator.random(9).astype(np.float32)
    data = write(tmp_path / "Spital Süd", "a", x, y, weights)
    assert data.examples == 9
    asked = tf.data.Dataset.from_tensor_slices(np.array([[8, 0, 3, 3], [5, -1, -1, -1]]))
    found = list(records.batches(tf.constant(data.folder), Layout.of(x, y), asked))
    for (inputs, targets, ws), rows in zip(found, ([8, 0, 3, 3], [5]), strict=True):
        assert inputs.dtype == tf.float32
        assert np.array_equal(inputs, x[rows].astype(np.float32))
        assert np.array_equal(targets, y[rows])
        assert np.array_equal(ws, weights[rows])


def test_written_in_blocks_is_written_whole(tmp_path):
    x = np.arange(10_000, dtype=np.float32)[:, None]
    data = write(tmp_path, "a", x, np.zeros(10_000, np.int64))
    rows = records.every_row(tf.constant(data.folder), 5_000)
    parts = records.batches(tf.constant(data.folder), Layout((1,), "float32", (), "int64"), rows)
    assert np.array_equal(np.concatenate([inputs for inputs, _, _ in parts]), x)


def test_patients_are_numbered_by_any_name(tmp_path):
    owners = ["Ümit", "b 2", "Ümit", "a", "b 2"]
    x = np.zeros((5, 2), np.float32)
    data = write(tmp_path, "site", x, np.zeros(5, np.int64), units=owners)
    assert data.units == 3
    numbers = records.units(tf.constant(data.folder)).numpy()
    assert sorted(set(numbers)) == [0, 1, 2]
    same = [[a == b for b in owners] for a in owners]
    assert np.array_equal(numbers[:, None] == numbers[None, :], same)
    assert write(tmp_path, "site", x, np.zeros(5, np.int64)).units == 0
