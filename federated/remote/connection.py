"""One site's worker as the coordinator has it: reached, asked, and taken back when it was lost."""

import time
from collections.abc import Callable

import grpc

from federated.clients.plan import ClientPlan
from federated.engine.records import ClientData
from federated.engine.state import State
from federated.engine.updates import ClientUpdate
from federated.remote import messages
from federated.remote.description import Description
from federated.remote.mailbox import Mailbox
from federated.tff.engine import Engine
from federated.tff.execution import Execution, WorkerLostError
from medimg.errors import InputError

_GRACE = 5.0  # seconds for which a connection that broke is tried again before its worker counts as lost
_GLANCE = 3.0  # seconds for one that was lost before; the channel tries every two


class Connection:
    """One worker.

    Args:
        address: HOST:PORT, of the worker or of the tunnel to it.
        patience: seconds for which it is tried at first.
        seed: of the federation.

    Attributes:
        description: what it serves.

    Raises:
        InputError: it can't be reached, or is no worker of this kind.
    """

    def __init__(self, address: str, patience: float, seed: int):
        self.address, self._seed = address, seed
        self._execution = _reached(address, patience)
        try:
            self._mailbox = Mailbox(self._execution)
            self._session = self._mailbox.session()
            self.description = self._describe()
        except WorkerLostError as error:
            self._execution.close()
            raise InputError(str(error)) from error
        except BaseException:
            self._execution.close()
            raise
        self._plan: ClientPlan | None = None
        self._engine: Engine | None = None
        self._lost = False
        self.data: dict[str, ClientData] = {}

    def ask(self, names: list[str], request: dict) -> dict:
        """Statistics of its clients: name -> answer.

        Raises:
            WorkerLostError: it went away.
            InputError: the site's.
        """
        content = {"seed": self._seed, "clients": names, "request": request}
        return self._mailbox.ask(messages.STATISTICS, **content)

    def prepare(self, plan: ClientPlan, names: list[str]) -> None:
        """Have the site write the records of some clients; afterwards `data` holds what is known of them.

        Raises:
            WorkerLostError: it went away.
            InputError: the site's.
        """
        told = self._mailbox.ask(messages.PREPARE, seed=self._seed, clients=names, plan=plan.to_dict())
        self._plan = plan
        self.data = {name: ClientData(**values) for name, values in told.items()}

    def start(self, make_engine: Callable[[Execution], Engine]) -> None:
        """Make the engine that trains at this worker."""
        self._engine = make_engine(self._execution)

    def updates(self, state: State, names: list[str], number: int, work: dict[str, float]) -> dict[str, ClientUpdate]:
        """Its clients' updates.

        Raises:
            WorkerLostError: it is away, or went away; to be tried again.
            InputError: what it computes fails, or its data have changed.
        """
        try:
            self._require()
            clients = [self.data[name] for name in names]
            updates = self._engine.client_updates(state, clients, number, work)
        except WorkerLostError:
            self._lost = True
            raise
        except grpc.RpcError as error:
            # Its records are gone where it was started anew in the middle; else the fault is in what it computes.
            if not self._execution.answers(_GLANCE) or self._mailbox.session() != self._session:
                self._lost = True
                raise WorkerLostError(f"worker {self.address}: went away") from error
            reason = str(error.details()).splitlines()[0]
            raise InputError(f"worker {self.address}: {reason}") from error
        self._lost = False
        return updates

    def wait(self, until: float) -> None:
        """Wait for it to be reached, until a time of `time.monotonic()`."""
        self._execution.answers(max(0.0, min(_GRACE, until - time.monotonic())))

    def close(self) -> None:
        """Close the channel; the worker stays."""
        self._execution.close()

    def _describe(self) -> Description:
        told = self._mailbox.ask(messages.DESCRIBE, seed=self._seed)
        try:
            return Description(**told)
        except TypeError as error:
            raise InputError(
                f"worker {self.address}: describes itself in another form; is its medimg this one?"
            ) from error

    def _require(self) -> None:
        """Have it as it was: after a restart it knows nothing, so it is given the plan again."""
        if not self._execution.answers(_GLANCE if self._lost else _GRACE):
            raise WorkerLostError(f"worker {self.address}: can't be reached")
        session = self._mailbox.session()
        if session == self._session:
            return
        now = self._describe()
        for name in self.data:
            before = self.description.clients[name]["fingerprint"]
            if now.clients.get(name, {}).get("fingerprint") != before:
                raise InputError(
                    f"worker {self.address}: came back with other data of client '{name}'; start anew with "
                    "--overwrite, or restore its data"
                )
        self.prepare(self._plan, list(self.data))
        self._session = session


def _reached(address: str, patience: float) -> Execution:
    host, separator, port = address.rpartition(":")
    if not (host and separator and port.isdigit()):
        raise InputError(f"--worker {address}: must be HOST:PORT, e.g. 127.0.0.1:8500")
    end = time.monotonic() + patience
    while True:
        try:
            # Patience within a call is short: whether to go on waiting is for the pool to say.
            return Execution(address, patience=min(_GRACE, patience))
        except WorkerLostError:
            if time.monotonic() > end:
                raise InputError(
                    f"--worker {address}: did not answer within {patience:g} s; is 'medimg federate worker' running "
                    "there, and the tunnel to it?"
                ) from None
