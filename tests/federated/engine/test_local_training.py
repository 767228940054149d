import numpy as np
import pytest

from federated.engine import local_training
from federated.engine.local_training import LocalTraining


def test_epochs_are_permutations_cut_into_batches():
    local = LocalTraining(epochs=3, batch_size=4)
    rows = local_training.steps(local, 10, 1, 2, "a")
    assert rows.shape == (9, 4)
    epochs = [block[block >= 0] for block in rows.reshape(3, -1)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])
    # Only the last batch of an epoch is short.
    assert (rows[[2, 5, 8]] < 0).sum(axis=1).tolist() == [2, 2, 2]
    assert (rows[[0, 1, 3, 4, 6, 7]] >= 0).all()


def test_steps_go_on_through_the_epochs():
    by_steps = local_training.steps(LocalTraining(steps=7, batch_size=4), 10, 1, 2, "a")
    assert np.array_equal(by_steps, local_training.steps(LocalTraining(epochs=3, batch_size=4), 10, 1, 2, "a")[:7])


def test_order_depends_on_seed_round_and_client():
    local = LocalTraining(batch_size=50)
    base = local_training.steps(local, 50, 1, 2, "a")
    assert np.array_equal(base, local_training.steps(local, 50, 1, 2, "a"))
    for other in ((9, 2, "a"), (1, 9, "a"), (1, 2, "b")):
        assert not np.array_equal(base, local_training.steps(local, 50, *other))
        assert not np.array_equal(local_training.dropout_seed(1, 2, "a"), local_training.dropout_seed(*other))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"epochs": 0}, "--local-epochs 0"),
        ({"steps": 0}, "--local-steps 0"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"learning_rate": 0.0}, "--learning-rate 0"),
    ],
)
def test_options_out_of_range(options, named):
    with pytest.raises(ValueError, match=named):
        LocalTraining(**options)


def test_a_slow_client_does_at_least_a_step():
    assert [local_training.local_steps(*given) for given in ((10, 0.25), (1, 0.1), (7, 1.0))] == [3, 1, 7]
