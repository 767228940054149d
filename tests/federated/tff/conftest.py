"""One worker for all tests of the engine, and small federations to train."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def execution():
    from federated.tff.execution import Execution

    with Execution() as running:
        yield running


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


def max_difference(one, other) -> float:
    """Largest difference of any entry of two lists of arrays."""
    return max(float(np.abs(np.asarray(a) - b).max()) for a, b in zip(one, other, strict=True))
