"""Pool: those who compute the clients' updates, here or at their sites."""

from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from federated.audit_log import AuditLog
from federated.engine.contract import Engine
from federated.engine.records import ClientData
from federated.engine.state import State
from federated.engine.updates import ClientUpdate
from federated.rounds.combining import Sums


class Pool(Protocol):
    """Who the rounds ask for updates.

    Attributes:
        clients: name -> what is known of it, in order.
        sums: how updates that stay at their clients are summed; None: they arrive.
    """

    clients: dict[str, ClientData]
    sums: Sums | None

    def updates(
        self, state: State, names: list[str], number: int, work: dict[str, float]
    ) -> tuple[dict[str, ClientUpdate], dict[str, str]]:
        """The clients' updates from a state, and why there is none of the others.

        Args:
            state: before the round.
            names: of the clients to ask.
            number: of the round.
            work: client -> the share of its steps that it does.
        """


class Sites(Pool, Protocol):
    """Clients at sites of their own, each by its own process.

    Attributes:
        key: of the coordinator, by which it signs the head of its log.
    """

    key: Ed25519PrivateKey

    def start(self, shapes: list[tuple[int, ...]], client_state: list[tuple[int, ...]], log: AuditLog) -> None:
        """Say what the clients send and keep, and whose head they are told in every round."""

    def events(self, number: int) -> dict:
        """What the record of a round says of the sites."""

    def named(self) -> dict:
        """What the log's first record says of them."""

    def finish(self) -> dict:
        """Let them go; what the log's last record says of them."""


class LocalPool:
    """All clients in one process and its worker: a simulation of hospitals that are apart.

    Args:
        engine: that computes.
        clients: with their records on this machine.
    """

    sums = None

    def __init__(self, engine: Engine, clients: list[ClientData]):
        self.engine = engine
        self.clients = {client.name: client for client in clients}

    def updates(
        self, state: State, names: list[str], number: int, work: dict[str, float]
    ) -> tuple[dict[str, ClientUpdate], dict[str, str]]:
        """As `Pool` says; nobody is ever lost."""
        if not names:
            return {}, {}
        clients = [self.clients[name] for name in names]
        return self.engine.client_updates(state, clients, number, work), {}
