"""Arriving: a message that the link has told of, and whose parts its sender may still be sending.

Flower waits a second or more for a part that is not there at once, and meanwhile for nobody else.
"""

import time
from collections.abc import Callable

import grpc
from flwr.common import Message
from flwr.common.inflatable_utils import ObjectUnavailableError, inflate_object_from_contents
from flwr.common.typing import RunNotRunningException
from flwr.proto.message_pb2 import ObjectTree

_MOST_PARTS = 3  # a message, its content, and the one record of that, which alone is large
_LARGEST_HEAD = 1 << 16  # bytes of the others
_LONGEST = 3600.0  # seconds for the next part to come, with 1 GiB over 2.4 Mbit/s


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
        # The record last: what waits for the rest of it is small.
        self._left, self._last = chain(tree), time.monotonic()
        self._parts: dict[str, bytes] = {}

    def whole(self) -> Message | None:
        """The message once all of it is there; None: not yet.

        Raises:
            grpc.RpcError, RunNotRunningException: the link is lost, or has ended the run.
            ValueError: what is there is no message, or its sender has not gone on sending for an hour.
        """
        if self._name not in (*self._left, *self._parts):
            raise ValueError("it has other parts than a message")
        try:
            while self._left:
                part = self._parts[self._left[0]] = self._pull(self._left[0])
                del self._left[0]
                self._last = time.monotonic()
                if self._left and len(part) > _LARGEST_HEAD:
                    raise ValueError("its head is too large")
            self._confirm(self._name)
            message = inflate_object_from_contents(self._name, self._parts)
        except ObjectUnavailableError as error:
            if time.monotonic() - self._last > _LONGEST:
                raise ValueError("its sender does not go on sending it") from error
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


def chain(tree: ObjectTree) -> list[str]:
    """Names of a message's parts, itself first, of which each has the next; none: no message of ours has these."""
    names, level = [], [tree]
    while level:
        names.append(level[0].object_id)
        if len(level) > 1 or len(names) > _MOST_PARTS:
            return []
        level = level[0].children
    return names if len(set(names)) == len(names) else []
