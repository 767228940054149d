"""Updates become one aggregate without any engine: means, rules, secure sums, and rounds that teach nothing."""

import ast
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from federated.config import FederateConfig
from federated.engine.updates import ClientRound, ClientUpdate, Mean
from federated.rounds import combining
from federated.rounds.combining import Combining, weighted_mean

NAMES = ("north", "south", "west", "east", "far")


@pytest.fixture
def updates() -> dict[str, ClientUpdate]:
    generator = np.random.default_rng(0)
    made = {}
    for examples, name in enumerate(NAMES, start=2):
        vectors = [generator.normal(size=shape).astype(np.float32) for shape in ((3, 2), (2,))]
        made[name] = ClientUpdate(vectors, float(examples), [], ClientRound(examples, 0.5, 0.5, 0.1, 32, 32))
    return made


def combined(updates, mean_of=None, absent=(), **options):
    return Combining(FederateConfig(**options), NAMES, 6.0).combine(updates, 1, mean_of, absent)


def by_hand(updates) -> list[np.ndarray]:
    weights = [update.weight for update in updates.values()]
    return [
        np.average([update.vectors[i].astype(float) for update in updates.values()], axis=0, weights=weights)
        for i in range(2)
    ]


def close(one, other, atol=1e-6) -> bool:
    return all(a.shape == b.shape and np.allclose(a, b, atol=atol) for a, b in zip(one, other, strict=True))


def test_it_knows_no_engine():
    tree = ast.parse(Path(combining.__file__).read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert "federated.engine.updates" in modules
    assert not {name for name in modules if "contract" in name or ".tff" in name or name.endswith(".state")}


def test_the_plain_mean_is_by_weight(updates):
    aggregate = combined(updates)
    assert close(aggregate.arrays, by_hand(updates))
    assert aggregate.included == NAMES
    assert len(aggregate.digests) == 5
    assert aggregate.aggregator == []
    assert not aggregate.failure
    assert not aggregate.shares


@pytest.mark.parametrize("secure", ["masking", "ckks"])
def test_a_secure_sum_gives_the_same_mean_and_no_digest(updates, secure):
    aggregate = combined(updates, secure=secure)
    assert close(aggregate.arrays, by_hand(updates), 1e-4)
    assert aggregate.included == NAMES
    assert not aggregate.digests
    assert set(aggregate.bytes_up) == set(NAMES)


def test_an_engines_mean_is_asked_for_updates_that_passed_alone(updates):
    asked = []

    def mean_of(passed):
        asked.append(tuple(passed))
        return Mean(weighted_mean(passed).arrays, [np.float32(7.0)], {"clipped": 1.0})

    broken = [np.full_like(vector, np.inf) for vector in updates["west"].vectors]
    aggregate = combined({**updates, "west": replace(updates["west"], vectors=broken)}, mean_of)
    rest = {name: update for name, update in updates.items() if name != "west"}
    assert asked == [tuple(rest)]
    assert list(aggregate.rejected) == ["west"]
    assert close(aggregate.arrays, by_hand(rest))
    assert aggregate.aggregator == [7.0]
    assert aggregate.measurements == {"clipped": 1.0}


def test_a_rule_asks_no_engine_and_tells_shares(updates):
    def never(passed):
        raise AssertionError

    aggregate = combined(updates, never, aggregation="krum")
    chosen = [name for name, share in aggregate.shares.items() if share == 1.0]
    assert len(chosen) == 1
    assert sum(aggregate.shares.values()) == 1.0
    assert close(aggregate.arrays, updates[chosen[0]].vectors)
    assert aggregate.aggregator is None


@pytest.mark.parametrize("secure", ["none", "masking"])
def test_of_nothing_there_is_a_failure_and_no_array(secure):
    aggregate = combined({}, secure=secure)
    assert aggregate.failure == "no update arrived"
    assert not aggregate.arrays
    assert not aggregate.included
    assert aggregate.aggregator is None
