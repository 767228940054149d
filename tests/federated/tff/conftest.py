"""One worker for all tests of the engine, and small federations to train."""

import numpy as np
import pytest


@pytest.fixture
def federation(tmp_path):
    """(clients' data, layout, {name: (x, y)}): clients of different sizes and class mixes."""
    from federated.engine import records

    def make(sizes=(12, 20, 28, 9, 31), columns=6, classes=3, seed=0):
        generator = np.random.default_rng(seed)
        data, arrays = [], {}
        for i, n in enumerate(sizes):
            x = generator.normal(i / 5, 1.0, (n, columns)).astype(np.float32)
            y = generator.choice(classes, n, p=generator.dirichlet(np.ones(classes)))
            data.append(records.write(tmp_path / f"site{i}", f"site{i}", x, y))
            arrays[f"site{i}"] = (x, y)
        return data, records.Layout.of(x, y), arrays

    return make


def one_round(engine, state, clients):
    """The state after a round as `medimg federate` has it, all clients taking part, and their updates."""
    from federated.config import FederateConfig
    from federated.rounds import rounds
    from federated.rounds.combining import Combining
    from federated.rounds.participation import Attendance
    from federated.rounds.pool import LocalPool

    names = tuple(client.name for client in clients)
    everyone = Attendance(names, (), dict.fromkeys(names, 1.0))
    combining = Combining(FederateConfig(), names, max(client.examples for client in clients))
    exchange = rounds.one_round(engine, LocalPool(engine, clients), combining, state, state.round + 1, everyone)
    assert exchange.aggregate.included == names
    assert not exchange.lost
    return exchange.state, exchange.updates


def max_difference(one, other) -> float:
    """Largest difference of any entry of two lists of arrays."""
    return max(float(np.abs(np.asarray(a) - b).max()) for a, b in zip(one, other, strict=True))
