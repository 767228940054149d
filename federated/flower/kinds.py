"""What a site makes of a plan, by the kind of model: classifiers, and what the command line has named beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # The command line names kinds before anything heavy is imported.
    import numpy as np

    from federated.algorithms.strategy import Strategy
    from federated.engine.local_training import LocalTraining, Steps
    from federated.engine.records import ClientData
    from federated.flower.local_rounds import LocalRounds
    from federated.private.noise_shares import SharedStep
    from federated.tff.shared_rounds import SharedRounds

_CLASSIFIER = "federated.flower.classifier"
_NAMED: dict[str, str] = {}


@dataclass(frozen=True)
class SiteWork:
    """Of one plan.

    Attributes:
        plan: agreed on.
        data: the site's records.
        rounds: gives what it does in rounds; with steps of private training, or None.
        metrics: weights, and those that it came to alone or None -> what it measures on its test part; None: nothing.
        initial: weights of the trained part before the first round.
    """

    plan: Any
    data: ClientData
    rounds: Callable[[Strategy, LocalTraining, Steps | SharedStep | None], LocalRounds | SharedRounds]
    metrics: Callable[[list[np.ndarray], list[np.ndarray] | None], dict] | None
    initial: list[np.ndarray]


def name(model: str, module: str) -> None:
    """Let sites learn a model that this package does not know.

    Args:
        model: as `--model` has it.
        module: has `work(session, config, told, initial)`, which gives a `SiteWork`, and `answer(client, request)`
            where it asks for statistics.
    """
    _NAMED[model] = module


def named() -> tuple[str, ...]:
    """Models beside the classifiers."""
    return tuple(_NAMED)


def answer_of(model: object) -> Callable[..., np.ndarray]:
    """What answers a request for statistics that names a model; None: of `federated.statistics`."""
    return import_module(_NAMED.get(model, "federated.statistics")).answer


def work_of(model: str) -> Callable[..., SiteWork]:
    """What makes a site's work of a plan of the model."""
    return import_module(_NAMED.get(model, _CLASSIFIER)).work
