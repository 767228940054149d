"""Arriving: a message that the link has told of, and whose parts its sender may still be sending.

Flower waits a second or more for a part that is not there at once, and meanwhile for nobody else.
"""

from collections.abc import Callable

import grpc
from flwr.common import Message
from flwr.common.inflatable import iterate_object_tree
from flwr.common.inflatable_utils import ObjectUnavailableError, inflate_object_from_contents
from flwr.common.typing import RunNotRunningException
from flwr.proto.message_pb2 import ObjectTree


class Arriving:
    """One message.

    Args:
        name: that the link knows it by.
        tree: of its parts.
        pull: name of a part -> the part, as Flower's.
        confirm: tells the link that all of it is here, by its name.
    """

    def __init__(self, name: str, tree: ObjectTree, pull: Callable[[str], bytes], confirm: Callable[[str], object]):
        self._name, self._pull, self._confirm = name, pull, confirm
        self._left = [part.object_id for part in iterate_object_tree(tree)]
        self._parts: dict[str, bytes] = {}

    def whole(self) -> Message | None:
        """The message once all of it is there; None: not yet.

        Raises:
            grpc.RpcError, RunNotRunningException: the link is lost, or has ended the run.
            ValueError: what is there is no message.
        """
        try:
            while self._left:
                self._parts[self._left[0]] = self._pull(self._left[0])
                del self._left[0]
            self._confirm(self._name)
            message = inflate_object_from_contents(self._name, self._parts)
        except ObjectUnavailableError:
            return None
        except (grpc.RpcError, RunNotRunningException):
            raise
        except Exception as error:
            # Whatever whoever has the link put in the place of a message.
            raise ValueError("it can't be read") from error
        if not isinstance(message, Message):
            raise ValueError("it is no message")
        message.metadata.__dict__["_message_id"] = self._name
        return message
