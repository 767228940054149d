"""Sending: a message of ours is told to the link, and then each of its parts; signs of life that go on.

Flower pushes parts in threads whose errors nobody hears of, and ends the thread for signs of life at the first error
of another kind than a link that is away: the other side would wait for ever.
"""

from collections.abc import Callable, Iterable

import grpc
from flwr.common import Message
from flwr.common.inflatable import get_all_nested_objects, get_object_tree, no_object_id_recompute
from flwr.proto.fleet_pb2_grpc import FleetStub
from flwr.proto.message_pb2 import ObjectTree

from federated.flower.deadlines import with_deadlines


def send(
    message: Message, tell: Callable[[Message, ObjectTree], Iterable[str]], push: Callable[[str, bytes], None]
) -> None:
    """Send a message.

    Args:
        message: all of it but its name, which is set.
        tell: tells the link of it; returns the names of the parts that it lacks.
        push: name of a part, the part.

    Raises:
        grpc.RpcError, RunNotRunningException: the link is lost, or has ended the run.
        ObjectIdNotPreregisteredError: the link has forgotten the message meanwhile.
    """
    with no_object_id_recompute():
        message.metadata.__dict__["_message_id"] = message.object_id
        parts = get_all_nested_objects(message)
        lacks = set(tell(message, get_object_tree(message)))
        for name, part in parts.items():
            if name in lacks:
                push(name, part.deflate())


def lasting(beat: Callable[[], bool]) -> Callable[[], bool]:
    """A sign of life that failed, whatever by, is tried again."""

    def sent() -> bool:
        try:
            return beat()
        except (grpc.RpcError, ValueError):
            # gRPC's ValueError: its channel was closed meanwhile.
            return False

    return sent


class LastingStub(FleetStub):
    """A node's stub, by which signs of life go on likewise, and no call lasts for ever."""

    def __init__(self, channel: grpc.Channel):
        super().__init__(channel)
        with_deadlines(self)
        once = self.SendNodeHeartbeat

        def beat(*args, **kwargs):
            try:
                answer = once(*args, **kwargs)
            except grpc.RpcError as error:
                raise _LateError(str(error)) from error
            if not answer.success:
                # Whoever asks for messages is told so too, and Flower can't end a node whose thread has ended.
                raise _LateError("the link does not know this node")
            return answer

        self.SendNodeHeartbeat = beat  # type: ignore[assignment]


class _LateError(grpc.RpcError):
    """The one that Flower tries again, and whose wait the node's end breaks off."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.DEADLINE_EXCEEDED
