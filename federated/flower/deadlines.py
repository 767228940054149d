"""Deadlines: a call that is not answered ends. A link that is stopped or cut off would hold its callers for ever."""

from collections.abc import Callable
from functools import partial

import grpc
from flwr.common.constant import Status
from flwr.proto.run_pb2 import GetRunRequest

_LONGEST = 120.0  # seconds of a call, of any but these:
_PARTS = {"PushObject", "PullObject"}
_LONGEST_OF_PARTS = 3600.0  # 1 GiB over 2.4 Mbit/s
_LONGEST_OF_LAST = 10.0  # of a call after which nothing is asked: a site or a coordinator ends without its answer
_GLANCE = 20.0  # seconds between two looks whether the link by which a part is on its way answers


def with_deadlines(stub) -> None:
    """Have all calls of a stub end in time, with `DEADLINE_EXCEEDED`.

    Args:
        stub: of gRPC, with nothing around its calls yet.
    """
    for name, call in list(vars(stub).items()):
        setattr(stub, name, partial(_part, call, stub.GetRun) if name in _PARTS else partial(_short, call, name))


def _short(call: Callable, name: str, request, timeout: float | None = None):
    return call(request, timeout=timeout or (_LONGEST_OF_LAST if _is_last(name, request) else _LONGEST))


def _is_last(name: str, request) -> bool:
    """A node that goes, or a run that has ended."""
    return name == "DeactivateNode" or (name == "UpdateRunStatus" and request.run_status.status == Status.FINISHED)


def _part(call, small: Callable, request):
    """A large one may take its time, as long as the link answers what is small meanwhile."""
    coming = call.future(request, timeout=_LONGEST_OF_PARTS)
    while True:
        try:
            return coming.result(timeout=_GLANCE)
        except grpc.FutureTimeoutError:
            _glance(coming, partial(small, GetRunRequest(node=request.node, run_id=request.run_id), timeout=_LONGEST))


def _glance(coming: grpc.Future, small: Callable[[], object]) -> None:
    try:
        small()
    except grpc.RpcError as error:
        # Of any other error the part tells itself.
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and not coming.done():
            coming.cancel()
            raise
