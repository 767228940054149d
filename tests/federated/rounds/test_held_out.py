"""A client that lacks held-out rows gets a threshold all the same: that of all clients' rows."""

from types import SimpleNamespace

import numpy as np
import pytest

from federated.rounds.held_out import predictions_of_each


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_a_client_without_validation_rows_has_the_threshold_of_all(task):
    generator = np.random.default_rng(0)
    owners = np.array(["north"] * 20 + ["south"] * 20, dtype=object)
    shape = (40, 2) if task == "multilabel" else (40,)
    val = SimpleNamespace(task=task, owners=owners, rows=range(40), targets=generator.integers(0, 2, shape))
    whose = np.array(["south", "tiny"], dtype=object)
    test = SimpleNamespace(task=task, owners=whose, rows=range(2), targets=val.targets[:2])
    logits = generator.normal(size=(40, 2)).astype(np.float32)
    names = ("north", "south", "tiny")
    on_test, on_val = dict.fromkeys(names, logits[:2]), dict.fromkeys(names, logits)

    def thresholds(owners):
        part = SimpleNamespace(**{**vars(val), "owners": np.array(owners, dtype=object)})
        return predictions_of_each(("a", "b"), test, part, on_test, on_val).threshold

    found, everyones = thresholds(owners), thresholds(["tiny"] * 40)
    assert np.array_equal(found[1], everyones[1])
    assert not np.array_equal(found[0], everyones[0])
