"""Requests that are on their way: who has answered, whose is lost, who is away, and whom nobody waits for any more."""

from collections import Counter
from collections.abc import Iterable

from federated.flower.control import Node

_TRIES = 10  # times that a request is sent again whose answer was lost
# In the place of an answer: there will be none.
LOST = object()


class Pending:
    """Requests to nodes, by the names that the link gives the messages.

    Args:
        nodes: that are asked.
        patience: seconds for which a node that is not connected is waited for.

    Attributes:
        left: nodes that are waited for.
        answers: node -> content of its answer, None of one that is no message of ours.
        waiting: name of a message on its way -> its node.
    """

    def __init__(self, nodes: Iterable[Node], patience: float):
        self.left, self._patience = set(nodes), patience
        self.answers: dict[Node, bytes | None] = {}
        self.waiting: dict[str, Node] = {}
        self._away: dict[Node, float] = {}
        self._lost = Counter[Node]()

    def take(self, name: str, content: bytes | object | None) -> None:
        """What came of a message: an answer, or that there will be none (`LOST`)."""
        node = self.waiting.pop(name)
        if content is LOST:
            self._lost[node] += 1
            if self._lost[node] > _TRIES:
                self.left.discard(node)
        elif node in self.left:
            self.answers[node] = content
            self.left.remove(node)

    def see(self, there: set[Node], now: float) -> None:
        """Who is connected: one that is away for too long, or was started anew, is waited for no more."""
        known = {node.number for node in there}
        for node in list(self.left):
            since = self._away.setdefault(node, now)
            if node in there:
                del self._away[node]
            elif node.number in known or now - since > self._patience:
                self.left.remove(node)

    def unasked(self, there: set[Node]) -> set[Node]:
        """Nodes that are there and wait for nothing: a busy one's sign of life was late, and its request is gone."""
        return (self.left & there) - set(self.waiting.values())

    def silent(self) -> set[Node]:
        """Nodes that are there and have not answered."""
        return self.left - self._away.keys()
