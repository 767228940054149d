"""Deadlines: a call that is not answered ends. A link that is stopped or cut off would hold its callers for ever."""

from functools import partial

_LONGEST = 120.0  # seconds of a call, of any but these:
_PARTS = {"PushObject", "PullObject"}
_LONGEST_OF_PARTS = 3600.0  # 1 GiB over 2.4 Mbit/s


def with_deadlines(stub) -> None:
    """Have all calls of a stub end in time, with `DEADLINE_EXCEEDED`.

    Args:
        stub: of gRPC.
    """
    for name, call in list(vars(stub).items()):
        setattr(stub, name, partial(call, timeout=_LONGEST_OF_PARTS if name in _PARTS else _LONGEST))
