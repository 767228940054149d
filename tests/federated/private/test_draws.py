import numpy as np
import pytest
import tensorflow as tf

from federated.private import draws, stream


def steps_of(data, probability, key, count):
    """[(rows, patients of the rows, chunks)] of each step."""
    found = draws.chunks(
        tf.constant(data.folder), tf.constant(probability, tf.float64), key, tf.constant(count, tf.int64)
    )
    steps, rows, owners, sizes = [], [], [], []
    for of_chunk, whose, last in found:
        rows.extend(of_chunk.numpy()[whose.numpy() >= 0])
        owners.extend(whose.numpy()[whose.numpy() >= 0])
        sizes.append(set(whose.numpy().tolist()))
        if last:
            steps.append((np.array(rows, int), np.array(owners, int), sizes))
            rows, owners, sizes = [], [], []
    assert not rows
    return steps


def key(*words):
    return tf.constant(words, tf.int64)


def test_each_patient_is_drawn_independently_with_all_rows(site):
    here = site(rows=60, patients=20)
    data, owners = here.data, here.owners
    count, q = 1500, 0.3
    drawn = np.zeros((count, 20))
    for i, (rows, whose, _) in enumerate(steps_of(data, q, key(1, 2), count)):
        drawn[i, whose] = 1
        assert sorted(rows) == sorted(np.flatnonzero(np.isin(owners, whose)))
        assert np.array_equal(owners[rows], whose)
    deviation = np.sqrt(q * (1 - q) / count)
    assert np.abs(drawn.mean(axis=0) - q).max() < 4.5 * deviation
    # The number of patients in a step varies as a binomial: Poisson sampling, not a batch of a fixed size.
    assert drawn.sum(axis=1).var() == pytest.approx(20 * q * (1 - q), rel=0.2)
    together = np.corrcoef(drawn.T)[~np.eye(20, dtype=bool)]
    assert np.abs(together).max() < 5 / np.sqrt(count)
    between_steps = np.corrcoef(drawn[:-1].ravel(), drawn[1:].ravel())[0, 1]
    assert abs(between_steps) < 5 / np.sqrt(drawn.size)


def test_chunks_hold_whole_patients_and_little_more_than_their_size(site, monkeypatch):
    monkeypatch.setattr(draws, "CHUNK", 8)
    here = site(rows=100, patients=9)
    data, owners = here.data, here.owners
    most = np.bincount(owners).max()
    for rows, whose, chunks in steps_of(data, 0.9, key(3, 4), 20):
        assert len(chunks) > 1
        assert all(not (a & b) for i, a in enumerate(chunks) for b in chunks[i + 1 :])
        assert all((np.isin(whose, list(c))).sum() < 8 + most for c in chunks)
        assert len(set(rows)) == len(rows)


def test_an_empty_step_is_one_chunk_of_padding(site):
    here = site(rows=12, patients=4)
    arguments = (tf.constant(0.0, tf.float64), key(1, 1), tf.constant(3, tf.int64))
    found = list(draws.batches(tf.constant(here.data.folder), here.layout, *arguments))
    assert len(found) == 3
    for inputs, _, _, whose, _, last in found:
        assert np.array_equal(inputs, here.x[:1])
        assert whose.numpy().tolist() == [-1]
        assert last


def test_everyone_is_drawn_at_probability_one(site):
    data = site(rows=30, patients=11).data
    for rows, _, _ in steps_of(data, 1.0, key(5, 6), 2):
        assert sorted(rows) == list(range(30))


def test_draws_depend_on_every_part_of_the_key(site):
    data = site(rows=60, patients=60).data

    def first(*words):
        return steps_of(data, 0.5, key(*words), 1)[0][0].tolist()

    base = first(1, 2)
    assert base == first(1, 2)
    assert all(base != first(*other) for other in ((2, 2), (1, 3), (1 + 2**40, 2), (1, 2 + 2**40)))


def test_derived_keys_differ_by_key_and_by_use():
    keys = {tuple(stream.derive(key(a, b), n).numpy()) for a in (1, 2) for b in (3, 4) for n in (0, 1)}
    assert len(keys) == 8
    # Each half keeps its own bits.
    assert len({half for pair in keys for half in pair}) == 8
