"""The simulated network between clients and server: it counts bytes and may lose or change messages."""

from collections.abc import Callable, Mapping

from federated.secure.errors import RefusedError, RejectedError

# (stage, client, message) -> the message as it arrives, or None where it is lost.
Network = Callable[[str, str, bytes], bytes | None]


def deliver(stage: str, client: str, message: bytes) -> bytes:
    """A network that loses and changes nothing."""
    return message


def silent_from(stages: Mapping[str, str]) -> Network:
    """A network on which each named client is gone from the given stage on."""

    def network(stage: str, client: str, message: bytes) -> bytes | None:
        return None if stages.get(client) == stage else message

    return network


class Traffic:
    """Carries messages up, and keeps who is still there, who was refused and how many bytes went each way."""

    def __init__(self, clients, network: Network):
        self.present = list(clients)
        self.up, self.down = dict.fromkeys(clients, 0), dict.fromkeys(clients, 0)
        self.dropped: dict[str, str] = {}
        self.rejected: dict[str, str] = {}
        self._network = network

    def stage(
        self,
        name: str,
        inbound: Mapping[str, bytes],
        work: Callable[[str, bytes], bytes],
        receive: Callable[[str, bytes], None],
    ) -> None:
        """Every present client gets its message, works, and sends; whoever fails or is lost is gone afterwards."""
        staying = []
        for client in self.present:
            self.down[client] += len(inbound[client])
            try:
                message = work(client, inbound[client])
                self.up[client] += len(message)
                message = self._network(name, client, message)
                if message is None:
                    self.dropped[client] = name
                    continue
                receive(client, message)
            except (RejectedError, RefusedError) as error:
                # A client that refuses over another's message is told with that other's name.
                own = error.client == client
                self.rejected[client] = error.reason if own else f"refused: {error}"
                continue
            staying.append(client)
        self.present = staying
