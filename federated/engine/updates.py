"""What clients send in a round, and what is made of it."""

from dataclasses import dataclass, field
from typing import NamedTuple

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
        also: what else the client's work tells, by name; history.csv has its mean.
    """

    examples: int
    loss: float
    accuracy: float
    seconds: float
    bytes_up: int
    bytes_down: int
    also: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ClientUpdate:
    """What a client has after its work and before aggregation.

    Attributes:
        vectors: float32, weights before less weights after; beside them the change of SCAFFOLD's control variate or
            MimeLite's full gradient. These are what an aggregation outside averages, all alike.
        weight: of the client in a mean.
        client_state: its state for its next round, which stays with it.
        measures: of the round.
    """

    vectors: list[np.ndarray]
    weight: float
    client_state: list[np.ndarray]
    measures: ClientRound


class Mean(NamedTuple):
    """The mean of a round's updates, as an engine makes it: plain, clipped, with noise, compressed.

    Attributes:
        arrays: shaped as a client's `vectors`.
        aggregator: what the aggregation carries into the next round, `State.aggregator`, e.g. an adaptive clip.
        measurements: flat by name, e.g. how many updates were clipped.
    """

    arrays: list[np.ndarray]
    aggregator: list[np.ndarray]
    measurements: dict[str, float]


@dataclass(frozen=True)
class Aggregate:
    """What a round's updates have become, for the server's step.

    Attributes:
        arrays: shaped as a client's `vectors`: the updates' mean, or what stands for it; none where nothing is learnt.
        updates: of the clients that count in it.
        rejected: client -> why its update was not used.
        digests: client -> SHA-256 of its update; empty under a secure sum, where the server has none, and with
            --dp client, where it would be of an update without noise.
        bytes_up, bytes_down: client -> bytes of the secure sum, in place of the plain update's.
        shares: client -> its share in the aggregate, where a rule chose.
        measurements: of the engine's own aggregation.
        aggregator: of the engine's own aggregation, for the next round; None: as it was.
        failure: why nothing was learnt in the round; empty otherwise.
    """

    arrays: list[np.ndarray] = field(default_factory=list)
    updates: dict[str, ClientUpdate] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    bytes_up: dict[str, int] = field(default_factory=dict)
    bytes_down: dict[str, int] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    measurements: dict[str, float] = field(default_factory=dict)
    aggregator: list[np.ndarray] | None = None
    failure: str = ""

    @property
    def included(self) -> tuple[str, ...]:
        """Clients whose updates count in it."""
        return tuple(self.updates)


def named(measurements, prefix: str = "") -> dict[str, float]:
    """Nested measurements by path; those that are no number are left to TFF."""
    numbers = {}
    if isinstance(measurements, dict):
        for key, value in measurements.items():
            numbers.update(named(value, f"{prefix}{key}/"))
    elif np.ndim(measurements) == 0 and measurements is not None and prefix:
        numbers[prefix.rstrip("/")] = float(measurements)
    return numbers
