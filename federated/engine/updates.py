"""What the engine hands back of a round."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ClientRound:
    """One client in one round.

    Attributes:
        examples: of its training part.
        loss: mean over the examples seen, each before its step.
        accuracy: likewise.
        seconds: at the worker, other clients running beside it.
        bytes_up: of what it sends, uncompressed float32.
        bytes_down: of what it is sent, likewise; its own state and records never travel at a site.
    """

    examples: int
    loss: float
    accuracy: float
    seconds: float
    bytes_up: int
    bytes_down: int


@dataclass(frozen=True)
class ClientUpdate:
    """What a client has after its work and before aggregation.

    Attributes:
        vectors: float32, weights before less weights after; beside them the change of SCAFFOLD's control variate or
            MimeLite's full gradient. These are what an aggregation outside averages, all alike.
        weight: of the client in a mean.
        own: its state for its next round, which stays with it.
        measures: of the round.
    """

    vectors: list[np.ndarray]
    weight: float
    own: list[np.ndarray]
    measures: ClientRound


@dataclass(frozen=True)
class RoundResult:
    """What a round tells.

    Attributes:
        per_client: name -> its round.
        measurements: of the aggregation, flat by name, e.g. how many updates were clipped.
    """

    per_client: dict[str, ClientRound]
    measurements: dict[str, float]


def named(measurements, prefix: str = "") -> dict[str, float]:
    """Nested measurements by path; those that are no number are left to TFF."""
    found = {}
    if isinstance(measurements, dict):
        for key, value in measurements.items():
            found.update(named(value, f"{prefix}{key}/"))
    elif np.ndim(measurements) == 0 and measurements is not None and prefix:
        found[prefix.rstrip("/")] = float(measurements)
    return found
