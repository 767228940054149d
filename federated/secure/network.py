"""What passes between clients and server: it counts bytes; a simulated network may lose or change messages."""

from collections.abc import Callable, Iterable, Mapping

from federated.secure.errors import RefusedError, RejectedError

# (stage, client, message) -> the message as it arrives, or None where it is lost.
Network = Callable[[str, str, bytes], bytes | None]
# (stage, client -> what it is sent) -> (client, its message), of those that answer; an error in place of a message is
# why a client refuses.
Ask = Callable[[str, Mapping[str, bytes]], Iterable[tuple[str, bytes | RejectedError | RefusedError]]]


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

    def stage(self, name: str, inbound: Mapping[str, bytes], ask: Ask, receive: Callable[[str, bytes], None]) -> None:
        """Every present client gets its message, works, and sends; whoever fails or is lost is gone afterwards."""
        asked = {client: inbound[client] for client in self.present}
        for client, content in asked.items():
            self.down[client] += len(content)
        staying = set()
        for client, answer in ask(name, asked):
            try:
                if isinstance(answer, (RejectedError, RefusedError)):
                    raise answer
                self.up[client] += len(answer)
                message = self._network(name, client, answer)
                if message is None:
                    continue
                receive(client, message)
            except (RejectedError, RefusedError) as error:
                # A client that refuses over another's message is told with that other's name.
                own_fault = error.client == client
                self.rejected[client] = error.reason if own_fault else f"refused: {error}"
                continue
            staying.add(client)
        self.dropped.update({client: name for client in asked if client not in staying | self.rejected.keys()})
        self.present = [client for client in self.present if client in staying]


def in_process(work: Mapping[str, Callable[[str, bytes], bytes]]) -> Ask:
    """Asks clients of this process, one after the other, so that one message at a time is held.

    Args:
        work: stage -> what a client makes of what it is sent.
    """

    def ask(stage: str, inbound: Mapping[str, bytes]):
        for client, content in inbound.items():
            try:
                yield client, work[stage](client, content)
            except (RejectedError, RefusedError) as error:
                yield client, error

    return ask
