"""RemotePool: the clients at their sites, as the rounds ask them."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from federated.clients.plan import ClientPlan
from federated.engine.records import ClientData
from federated.engine.state import State
from federated.engine.updates import ClientUpdate
from federated.remote.connection import Connection
from federated.remote.description import Description, assigned, together
from federated.tff.engine import Engine
from federated.tff.execution import Execution, WorkerLostError
from medimg.errors import InputError

WHEN_LOST = ("skip", "wait")


class RemotePool:
    """The clients of several workers; a `federated.rounds.pool.Pool` after `prepare` and `start`.

    Before the first round every worker must be there. In a round one that is lost is left out (`skip`) and tried
    again in the next, or waited for (`wait`). One that was started anew is given the plan again.

    Args:
        addresses: HOST:PORT of the workers, or of the tunnels to them.
        patience: seconds for which a worker is tried at first, and in a round with `wait`.
        when_lost: `skip` or `wait`.
        seed: of the federation; must be that of its plan.

    Attributes:
        clients: name -> what is known of it, by name; filled by `prepare`.

    Raises:
        InputError: a worker can't be reached, or workers do not fit together.

    Example:
        with RemotePool(["127.0.0.1:8501", "127.0.0.1:8502"], patience=60) as pool:
            pool.prepare(plan)
            pool.start(lambda execution: Engine(execution, model, layout, strategy, local))
            updates, lost = pool.updates(state, list(pool.clients), 1, {})
    """

    sums, privacy = None, None

    def __init__(self, addresses: list[str], patience: float = 60.0, when_lost: str = "skip", seed: int = 0):
        if when_lost not in WHEN_LOST:
            raise InputError(f"--when-lost {when_lost}: must be skip or wait")
        if not addresses or len(set(addresses)) < len(addresses):
            raise InputError(f"--worker {', '.join(addresses)}: must each be given once")
        self._patience, self._waits = patience, when_lost == "wait"
        self._threads = ThreadPoolExecutor(len(addresses), "worker")
        self._connections: list[Connection] = []
        self.clients: dict[str, ClientData] = {}
        try:
            for address in addresses:
                self._connections.append(Connection(address, patience, seed))
            descriptions = {connection.address: connection.description for connection in self._connections}
            self._together = together(descriptions)
            self._served = assigned(descriptions)
        except BaseException:
            self.close()
            raise

    def describe(self) -> Description:
        """What all serve together; a client's `worker` is the address that trains it."""
        clients = dict(self._together.clients)
        for address, names in self._served.items():
            clients.update({name: {**clients[name], "worker": address} for name in names})
        return replace(self._together, clients=clients)

    def ask(self, request: dict) -> dict[str, dict]:
        """Every client's answer to a request for statistics (`federated.statistics`).

        Raises:
            InputError: a site's, or a worker is lost.
        """
        answers = self._of_all(lambda connection, names: connection.ask(names, request))
        merged = {name: answer for of_one in answers for name, answer in of_one.items()}
        return dict(sorted(merged.items()))

    def prepare(self, plan: ClientPlan, *_: object) -> list[ClientData]:
        """Have every site write its clients' records; what is known of them, by name.

        Raises:
            InputError: a site's, or a worker is lost.
        """
        self._of_all(lambda connection, names: connection.prepare(plan, names))
        merged = {name: data for connection in self._connections for name, data in connection.data.items()}
        self.clients = dict(sorted(merged.items()))
        return list(self.clients.values())

    def start(self, make_engine: Callable[[Execution], Engine], *_: object) -> None:
        """Make an engine for each worker.

        Args:
            make_engine: called once a worker, one after the other: graphs are built in this process.
        """
        for connection in self._connections:
            connection.start(make_engine)

    def events(self, number: int) -> dict:
        """What the audit log's record of a round says of the sites: nothing."""
        return {}

    def updates(
        self, state: State, names: list[str], number: int, work: dict[str, float]
    ) -> tuple[dict[str, ClientUpdate], dict[str, str]]:
        """The clients' updates from a state, in the order of `names`, and why there is none of the others.

        Args:
            state: before the round.
            names: of the clients to ask.
            number: of the round.
            work: client -> the share of its steps that it does.

        Raises:
            InputError: with `wait`, a worker that stays away; one whose data have changed or whose work fails.
        """

        def of_one(connection: Connection):
            here = [name for name in names if name in self._served[connection.address]]
            return self._updates(connection, state, here, number, work) if here else ({}, {})

        found, lost = {}, {}
        for some, without in self._parallel(of_one):
            found.update(some)
            lost.update(without)
        return (
            {name: found[name] for name in names if name in found},
            {name: lost[name] for name in names if name in lost},
        )

    def close(self) -> None:
        """Close the channels; the workers stay."""
        self._threads.shutdown()
        for connection in self._connections:
            connection.close()

    def __enter__(self) -> "RemotePool":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _updates(self, connection: Connection, state: State, names: list[str], number: int, work: dict):
        """One worker's updates and losses, as the pool's rule has it."""
        end = time.monotonic() + self._patience
        while True:
            try:
                return connection.updates(state, names, number, work), {}
            except WorkerLostError as error:
                if not self._waits:
                    return {}, {name: str(error) for name in names}
                if time.monotonic() > end:
                    raise InputError(
                        f"{error}, for {self._patience:g} s; start it again and resume with --resume, or use "
                        "--when-lost skip"
                    ) from error
                connection.wait(end)

    def _of_all(self, ask: Callable[[Connection, list[str]], object]) -> list:
        """Before the first round: all must answer."""
        busy = [connection for connection in self._connections if self._served[connection.address]]
        try:
            return self._parallel(lambda connection: ask(connection, self._served[connection.address]), busy)
        except WorkerLostError as error:
            raise InputError(f"{error}; start it again, then this command") from error

    def _parallel(self, call: Callable, connections: list[Connection] | None = None) -> list:
        """Every worker at once; waits for all of them even where one fails."""
        connections = self._connections if connections is None else connections
        futures = [self._threads.submit(call, connection) for connection in connections]
        for future in futures:
            future.exception()
        return [future.result() for future in futures]
