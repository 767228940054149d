"""Who takes part in a round: clients sampled, dropped out, slowed down; a function of (seed, round, client) alone.

A resumed round, or one that is looked at later, finds the same clients; what happens to one of them does not depend on
who else takes part.

Sources: sampling of clients, McMahan et al. 2017; stragglers that do part of their work, Li et al., "Federated
Optimization in Heterogeneous Networks" (FedProx), MLSys 2020, section 5.2.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from federated.config import FederateConfig
from medimg.errors import InputError

# Streams of randomness that must not follow each other.
_SAMPLING, _DROPPING, _SLOWING = range(3)


@dataclass(frozen=True)
class Attendance:
    """Who takes part in a round.

    Attributes:
        selected: clients that are asked, in the order of all clients.
        dropped: those of them whose update never arrives.
        work: of every selected client, the share of its local steps that it does, in (0, 1].
    """

    selected: tuple[str, ...]
    dropped: tuple[str, ...]
    work: dict[str, float]

    @property
    def arriving(self) -> tuple[str, ...]:
        """Clients whose update arrives; there may be none, and the model then stays as it is."""
        return tuple(name for name in self.selected if name not in self.dropped)


def attendance(
    clients: Sequence[str],
    round: int,
    seed: int,
    fraction: float = 1.0,
    dropout: float = 0.0,
    straggling: float = 0.0,
    pace: float = 0.5,
) -> Attendance:
    """Everything about who takes part in a round.

    Args:
        clients: names of all clients.
        round: its number, 0 or more.
        seed: of the whole run, 0 or more.
        fraction: of the clients that are asked.
        dropout: probability that an asked client's update never arrives.
        straggling: probability that an asked client is slow.
        pace: share of its local steps that a slow client does.

    Raises:
        InputError: a fraction or probability out of its range.
    """
    selected = participants(clients, fraction, round, seed)
    return Attendance(
        selected=tuple(selected),
        dropped=tuple(dropouts(selected, dropout, round, seed)),
        work=stragglers(selected, straggling, pace, round, seed),
    )


def attended(config: FederateConfig, clients: Sequence[str], round: int) -> Attendance:
    """Who takes part in a round by a Run's options; arguments and errors as of `attendance`."""
    options = config.client_fraction, config.client_dropout, config.stragglers, config.straggler_pace
    return attendance(clients, round, config.seed, *options)


def clients_in_round(clients: int, fraction: float) -> int:
    """How many are asked in a round: a fraction of all, rounded, at least one."""
    return max(1, int(fraction * clients + 0.5))


def participants(clients: Sequence[str], fraction: float, round: int, seed: int) -> list[str]:
    """The clients that are asked in a round, `clients_in_round` of all, without replacement.

    Args:
        clients: names of all clients.
        fraction: in (0, 1].
        round: its number.
        seed: of the run.

    Returns:
        Names in the order of `clients`.

    Raises:
        InputError: the fraction is not in (0, 1].
    """
    if not 0 < fraction <= 1:
        raise InputError(f"--client-fraction {fraction}: must be above 0 and at most 1")
    count = clients_in_round(len(clients), fraction)
    lots = [_uniform(_SAMPLING, seed, round, name) for name in clients]
    selected = set(np.argsort(lots, kind="stable")[:count].tolist())
    return [name for i, name in enumerate(clients) if i in selected]


def dropouts(clients: Sequence[str], probability: float, round: int, seed: int) -> list[str]:
    """The clients whose update never arrives: each is lost after the round began, independently of the others.

    Args:
        clients: names of those that take part.
        probability: in [0, 1).
        round: its number.
        seed: of the run.

    Raises:
        InputError: the probability is not in [0, 1).
    """
    check_dropout(probability)
    return [name for name in clients if _uniform(_DROPPING, seed, round, name) < probability]


def check_dropout(probability: float) -> None:
    """Refuse a chance of dropping out that leaves no client, or is none.

    Raises:
        InputError: it is not in [0, 1).
    """
    if not 0 <= probability < 1:
        raise InputError(f"--client-dropout {probability}: must be at least 0 and below 1")


def stragglers(clients: Sequence[str], probability: float, pace: float, round: int, seed: int) -> dict[str, float]:
    """The share of its local steps that each client does: `pace` where it is slow, which it is by chance, else 1.

    Args:
        clients: names of those that take part.
        probability: that a client is slow, in [0, 1].
        pace: share of its steps that a slow client does, in (0, 1].
        round: its number.
        seed: of the run.

    Raises:
        InputError: the probability or the pace is out of its range.
    """
    if not 0 <= probability <= 1:
        raise InputError(f"--stragglers {probability}: must be from 0 to 1")
    if not 0 < pace <= 1:
        raise InputError(f"--straggler-pace {pace}: must be above 0 and at most 1")
    return {name: pace if _uniform(_SLOWING, seed, round, name) < probability else 1.0 for name in clients}


def _uniform(stream: int, seed: int, round: int, name: str) -> float:
    """A number in [0, 1) that depends on these four alone, the same on every machine."""
    digest = hashlib.sha256(f"{stream}/{seed}/{round}/{name}".encode()).digest()
    # 53 bits are what a float64 holds.
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53
