"""The coordinator's end of Flower: one run at the SuperLink, by which it sends requests to nodes and gets answers.

Each answer is another party's: whatever is in the place of one ends neither the run nor what the others answer.
"""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import grpc
from flwr.common import Message
from flwr.common.constant import Status, SubStatus
from flwr.common.heartbeat import HeartbeatSender
from flwr.common.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
    make_push_object_fn_protobuf,
)
from flwr.common.inflatable_utils import ObjectIdNotPreregisteredError
from flwr.common.message import remove_content_from_message
from flwr.common.retry_invoker import _wrap_stub
from flwr.common.serde import message_to_proto, run_status_to_proto
from flwr.common.typing import RunNotRunningException, RunStatus
from flwr.proto.appio_pb2 import (
    PullAppInputsRequest,
    PullAppMessagesRequest,
    PushAppMessagesRequest,
    RequestTokenRequest,
)
from flwr.proto.heartbeat_pb2 import SendAppHeartbeatRequest
from flwr.proto.message_pb2 import ObjectTree
from flwr.proto.run_pb2 import UpdateRunStatusRequest
from flwr.proto.serverappio_pb2_grpc import ServerAppIoStub
from flwr.server.grid.grpc_grid import GrpcGrid

from federated.flower.arriving import Arriving
from federated.flower.control import PATIENCE, Node, control
from federated.flower.deadlines import with_deadlines
from federated.flower.fleet import KIND, content_of, quiet, record, retrying, split
from federated.flower.pending import LOST, Pending
from federated.flower.sending import lasting, send
from medimg.errors import InputError

_PAUSE, _LONGEST_PAUSE = 0.05, 2.0  # seconds between two looks for answers
_GLANCE = 3.0  # seconds between two looks for who is connected
_SHORTEST = 120.0  # seconds that a sign of life lasts, at least
_SPARE = 3600.0  # seconds for which the link keeps a request after its time


class Replies(NamedTuple):
    """What nodes answer to requests.

    Attributes:
        contents: node -> content of its answer, None of one that is no message of ours.
        silent: nodes that were there and have not answered in time.
    """

    contents: dict[Node, bytes | None]
    silent: set[Node]


class Grid:
    """One run of the coordinator at the link.

    Args:
        address: HOST:PORT of the link, as sites have it.
        certificate: PEM file of its authority.

    Raises:
        InputError: the link can't be reached.
    """

    def __init__(self, address: str, certificate: Path):
        quiet()
        self.address, self._open, self._arriving = address, ExitStack(), dict[str, Arriving]()
        self._control = self._open.enter_context(control(address, certificate))
        with self._lost():
            run = self._control.start_run()
        host, port = split(address)
        self._grid, self._again = GrpcGrid(f"{host}:{port - 1}"), retrying(PATIENCE)
        self._grid._connect()
        stub = self._grid._grpc_stub = ServerAppIoStub(self._grid._channel)
        with_deadlines(stub)
        _wrap_stub(stub, self._again)
        try:
            token = stub.RequestToken(RequestTokenRequest(run_id=run)).token
            stub.PullAppInputs(PullAppInputsRequest(token=token))
            self._grid.set_run(run)
            self._status(Status.RUNNING)
        except grpc.RpcError as error:
            self._grid.close()
            self._open.close()
            raise InputError(
                f"--superlink {address}: its port {port - 1} for the coordinator refuses; is this the machine on which "
                "'medimg federate link' runs?"
            ) from error
        _wrap_stub(self._control._stub, self._again)
        self._beat = HeartbeatSender(lasting(self._alive))
        self._beat.start()

    def online(self) -> dict[bytes, Node]:
        """Public key -> the node of it that is connected.

        Raises:
            InputError: the link is lost.
        """
        with self._lost():
            return self._control.online()

    def ask(self, requests: Mapping[Node, bytes], patience: float, timeout: float) -> Replies:
        """Send requests to nodes, and what they answer.

        Args:
            requests: node -> content.
            patience: seconds for which a link that does not answer, or a node that is not connected, is waited for.
            timeout: seconds that a node that is connected may take.

        Returns:
            What they answer; neither answered nor silent is who is away, or has been started anew since.

        Raises:
            InputError: the link is lost.
        """
        self._again.max_time, self._arriving = patience, {}
        pending = Pending(requests, patience)
        with self._lost():
            pending.waiting = self._pushed(requests, timeout)
            looked = began = time.monotonic()
            end = looked + timeout
            # Once more when the time is over: others' answers may have taken all of it to arrive.
            while pending.left and began < end:
                began = time.monotonic()
                for name in list(pending.waiting):
                    for content in self._pulled(name):
                        pending.take(name, content)
                now = time.monotonic()
                if pending.left and now - looked > _GLANCE:
                    looked, there = now, set(self.online().values())
                    pending.see(there, now)
                    again = pending.unasked(there) if began < end else ()
                    pending.waiting |= self._pushed({node: requests[node] for node in again}, timeout)
                if pending.left:
                    # A link that many sites keep busy is not asked all the time.
                    time.sleep(min(max(_PAUSE, time.monotonic() - began), _LONGEST_PAUSE))
        return Replies(pending.answers, pending.silent())

    def _pushed(self, requests: Mapping[Node, bytes], timeout: float = 0.0) -> dict[str, Node]:
        """Name of each message -> its node; the link forgets them some time after `timeout` seconds."""
        run, stub, waiting = self._grid.run.run_id, self._grid._stub, {}

        def tell(message: Message, tree: ObjectTree) -> Iterable[str]:
            nonlocal waiting
            proto = message_to_proto(remove_content_from_message(message))
            request = PushAppMessagesRequest(messages_list=[proto], run_id=run, message_object_trees=[tree])
            taken = stub.PushMessages(request)
            waiting |= {name: node for name in taken.message_ids if name}
            return taken.objects_to_push

        for node, raw in requests.items():
            message = Message(record(raw), node.number, KIND, ttl=timeout + _SPARE)
            message.metadata.__dict__.update(_run_id=run, _src_node_id=self._grid.node.node_id)
            try:
                send(message, tell, make_push_object_fn_protobuf(stub.PushObject, self._grid.node, run))
            except ObjectIdNotPreregisteredError:
                # The link has forgotten it meanwhile: as one that is gone it is sent again.
                waiting = {name: of for name, of in waiting.items() if of != node}
        return waiting

    def _pulled(self, name: str) -> list:
        """The content of the answer to one message, where all of it is there; each is another party's."""
        run, stub, node = self._grid.run.run_id, self._grid._stub, self._grid.node
        try:
            if name not in self._arriving:
                # The link tells of an answer once.
                answer = stub.PullMessages(PullAppMessagesRequest(message_ids=[name], run_id=run))
                for head, tree in zip(answer.messages_list, answer.message_object_trees, strict=True):
                    pull = make_pull_object_fn_protobuf(stub.PullObject, node, run)
                    confirm = make_confirm_message_received_fn_protobuf(stub.ConfirmMessageReceived, node, run)
                    self._arriving[name] = Arriving(head.metadata.message_id, tree, pull, confirm)
            arriving = self._arriving.pop(name, None)
            message = arriving and arriving.whole()
        except ValueError:
            return [None]
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise
            # The link is there and stumbles over what a site put in the place of this one answer.
            return [LOST]
        if message is None:
            self._arriving |= {name: arriving} if arriving else {}
            return []
        # An error is Flower's own: the node went away with the request.
        return [LOST if message.has_error() else content_of(message)]

    @contextmanager
    def _lost(self) -> Iterator[None]:
        try:
            yield
        except (grpc.RpcError, RunNotRunningException) as error:
            what = error.code().name if isinstance(error, grpc.RpcError) else "it has ended the run"
            raise InputError(
                f"--superlink {self.address}: the link was lost ({what}); start it again and resume with --resume"
            ) from error

    def close(self) -> None:
        """End the run."""
        self._again.max_time = 0.0
        self._beat._stop_event.set()
        try:
            self._status(Status.FINISHED, SubStatus.COMPLETED)
        except (grpc.RpcError, RunNotRunningException):
            # The link is gone, and with it the run.
            pass
        finally:
            self._grid.close()
            self._open.close()
            # A sign of life that was on its way has ended with the channel; its thread may have, too.
            with suppress(RuntimeError):
                self._beat.stop()

    def _alive(self) -> bool:
        """A sign of life; whether the link has taken it."""
        # Twice so long the link keeps the run, also while it is away itself and is waited for.
        lasts = max(_SHORTEST, self._again.max_time)
        request = SendAppHeartbeatRequest(run_id=self._grid.run.run_id, heartbeat_interval=lasts)
        return self._grid._stub.SendAppHeartbeat(request).success

    def _status(self, status: str, detail: str = "") -> None:
        run_status = run_status_to_proto(RunStatus(status, detail, ""))
        request = UpdateRunStatusRequest(run_id=self._grid.run.run_id, run_status=run_status)
        self._grid._stub.UpdateRunStatus(request)
