"""The table of strategies: the names that the command line offers, and what is known of each without training it."""

import pytest

from federated.algorithms.strategy import KINDS, Strategy
from federated.engine.local_training import LocalTraining
from federated.option_groups import STRATEGIES
from medimg.errors import InputError


def test_the_command_line_offers_the_strategies_of_the_table():
    assert tuple(KINDS) == STRATEGIES


def named(fact: str) -> set[str]:
    return {name for name, kind in KINDS.items() if getattr(kind.client, fact)}


def test_what_clients_do_is_told_without_training_them():
    assert named("second_vector") == {"mimelite", "scaffold"}
    assert named("full_gradient") == {"fedsgd", "mimelite"}
    assert named("keeps") == {"scaffold", "fedbn"}
    assert named("local_norm") == {"fedbn"}
    assert named("alike") == {"scaffold"}
    assert set(KINDS) - named("trains") == {"fedsgd"}


@pytest.mark.parametrize("name", [name for name in KINDS if name != "fedprox"])
def test_scaffold_alone_needs_plain_sgd_and_weighs_alike(name):
    strategy, adam = Strategy(name), LocalTraining(optimizer="adam")
    assert strategy.by_examples == (name != "scaffold")
    if name != "scaffold":
        strategy.check(adam)
        return
    with pytest.raises(InputError, match="--client-optimizer adam: scaffold"):
        strategy.check(adam)
    with pytest.raises(InputError, match="--weighting examples: scaffold"):
        Strategy(name, weighting="examples")


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"name": "fedfoo"}, "--strategy fedfoo"),
        ({"name": "fedprox"}, "--proximal"),
        ({"proximal": 0.1}, "--proximal"),
        ({"name": "scaffold", "weighting": "examples"}, "--weighting examples"),
        ({"name": "scaffold", "aggregation": "robust-clip"}, "--aggregation robust-clip"),
        ({"aggregation": "median"}, "--aggregation median"),
    ],
)
def test_options_that_do_not_go_together(options, option):
    with pytest.raises(ValueError, match=option):
        Strategy(**options)
