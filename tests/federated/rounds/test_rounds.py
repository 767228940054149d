"""Rounds that can learn nothing end with the cause, and what is left of the training; those that are unlucky go on."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from federated.config import FederateConfig
from federated.engine.records import ClientData
from federated.engine.state import State
from federated.engine.updates import ClientRound, ClientUpdate
from federated.rounds.averaging import Unmeasured
from federated.rounds.checkpoint import Checkpoints
from federated.rounds.combining import weighted_mean
from federated.rounds.outcome import NothingLearntError
from federated.rounds.pool import LocalPool
from federated.rounds.training import train_by_rounds
from medimg.errors import InputError

NAMES = ("north", "south", "west", "east", "far")
ROUNDS = 4


class Counting:
    """An engine in which every client adds one to each of three weights, unless it is spoiled.

    Args:
        spoiled: (client, round) -> its update, or None for an honest one.
    """

    strategy = SimpleNamespace(by_examples=True)
    model = SimpleNamespace(local=())

    def __init__(self, spoiled):
        self.spoiled = spoiled

    def initialize(self, weights):
        return State(0, weights, [], [], [])

    def client_updates(self, state, clients, number, work):
        measures = ClientRound(10, 0.5, 0.5, 0.1, 12, 12)
        values = {c.name: self.spoiled(c.name, number) for c in clients}
        return {
            name: ClientUpdate([np.full(3, -1.0 if value is None else value, np.float32)], 10.0, [], measures)
            for name, value in values.items()
        }

    def aggregate(self, state, updates):
        return weighted_mean(updates)

    def apply(self, state, aggregate, number):
        return replace(state, round=number, weights=[state.weights[0] - aggregate.arrays[0]])

    def weights(self, state):
        return state.weights


def train(folder, spoiled, **options):
    """(engine's spoiling, options of rounds) -> the outcome."""
    engine = Counting(spoiled)
    pool = LocalPool(engine, [ClientData(name, "", 10) for name in NAMES])
    config = FederateConfig(rounds=ROUNDS, **options)
    start = [np.zeros(3, np.float32)]
    return train_by_rounds(engine, pool, Unmeasured(), config, start, folder / "kept", folder / "rounds.csv")


def told(folder):
    return pd.read_csv(folder / "rounds.csv")


HOW = [{"secure": "masking", "secure_limit": 2.0}, {"secure": "ckks", "secure_limit": 2.0}]
HOW += [{"aggregation": name, "byzantine": 0} for name in ("mean", "median", "trimmed-mean", "krum", "multi-krum")]


@pytest.mark.parametrize("first", [1, 3])
@pytest.mark.parametrize("options", HOW, ids=lambda options: next(iter(options.values())))
def test_updates_that_nobody_can_use_end_the_training_with_the_cause(tmp_path, options, first):
    value, why = (5.0, "beyond the public limit of 2") if "secure" in options else (np.nan, "NaN or infinity in 3 of 3")

    def spoiled(name, number):
        return value if number >= first else None

    # A resumed training stands where it stood, and says the same.
    for _ in range(2):
        with pytest.raises(InputError, match=f"round {first} learnt nothing.*north: .*{why}.*rounds.csv") as found:
            train(tmp_path, spoiled, **options)
        assert "\n" not in str(found.value)
        assert Checkpoints(tmp_path / "kept").rounds() == first - 1
        last = told(tmp_path).query("round == @first")
        assert last["status"].str.contains(why).all()
        assert len(last) == len(NAMES)
    assert found.value.outcome.state.weights[0] == pytest.approx(first - 1, abs=1e-4)
    # With the cause gone, what was learnt before is learnt on.
    assert train(tmp_path, lambda *_: None, **options).state.weights[0] == pytest.approx(ROUNDS, abs=1e-4)


@pytest.mark.parametrize("aggregation", ["mean", "median"])
@pytest.mark.filterwarnings("ignore:overflow")
def test_a_model_of_finite_updates_that_is_none_is_a_cause(tmp_path, aggregation):
    """Also in the last round, after which no update would show it."""
    with pytest.raises(NothingLearntError, match=r"round 4 .* the model would hold NaN or infinity") as found:
        train(tmp_path, lambda name, number: -2e38 if number in (1, ROUNDS) else 0.0, aggregation=aggregation)
    assert np.isfinite(found.value.outcome.state.weights[0]).all()


@pytest.mark.parametrize(
    ("broken", "options"),
    [
        # Two of five are left, of whom a sum and Krum's rule need three.
        (("north", "south", "west"), {"secure": "masking", "secure_limit": 2.0}),
        (("north", "south", "west"), {"aggregation": "krum", "byzantine": 0}),
    ],
)
def test_too_few_left_for_the_rule_are_a_cause(tmp_path, broken, options):
    with pytest.raises(NothingLearntError, match=r"round 1 learnt nothing.*: 3 updates rejected"):
        train(tmp_path, lambda name, number: np.nan if name in broken else None, **options)


def test_a_round_of_broken_clients_alone_is_no_end(tmp_path):
    """One client a round: north's updates are always broken, the others' never."""
    spoiled = lambda name, number: np.nan if name == "north" else None  # noqa: E731
    seeds = range(20)
    for seed in seeds:
        folder = tmp_path / str(seed)
        train(folder, spoiled, client_fraction=0.2, seed=seed)
        if told(folder)["client"].iloc[0] == "north":
            break
    assert told(folder)["status"].str.startswith("rejected").iloc[0]
    with pytest.raises(NothingLearntError):
        # Where everyone is, it takes as many rounds as it takes to have asked all; then none was of use.
        train(tmp_path / "all", lambda *_: np.nan, client_fraction=0.2)


@pytest.mark.parametrize("options", [{}, {"secure": "masking"}, {"aggregation": "krum", "byzantine": 0}])
def test_absent_clients_are_waited_for(tmp_path, options):
    """That too few came may be another in the next round; that they came in none is an error."""
    outcome = train(tmp_path / "some", lambda *_: None, client_dropout=0.6, seed=2, **options)
    used = [row["participants"] for row in outcome.progress.history]
    assert 0 in used or not options
    assert any(used)
    for _ in range(2):
        with pytest.raises(NothingLearntError, match=f"no round of {ROUNDS} used any update"):
            train(tmp_path / "none", lambda *_: None, client_dropout=0.9999, **options)
