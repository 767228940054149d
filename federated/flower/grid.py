"""The coordinator's end of Flower: one run at the SuperLink, by which it sends requests to nodes and gets answers.

Flower has every run bring an app bundle. Ours holds no code, and no site of ours asks for it.
"""

import hashlib
import io
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import grpc
from flwr.common import Message
from flwr.common.grpc import create_channel
from flwr.common.heartbeat import HeartbeatSender, get_grpc_app_heartbeat_fn
from flwr.common.inflatable_protobuf_utils import (
    make_confirm_message_received_fn_protobuf,
    make_pull_object_fn_protobuf,
)
from flwr.common.record import ConfigRecord
from flwr.common.retry_invoker import _wrap_stub
from flwr.common.serde import config_record_to_proto, fab_to_proto, run_status_to_proto, user_config_to_proto
from flwr.common.typing import Fab, RunNotRunningException, RunStatus
from flwr.proto.appio_pb2 import PullAppInputsRequest, PullAppMessagesRequest, RequestTokenRequest
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    RegisterNodeRequest,
    StartRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.control_pb2_grpc import ControlStub
from flwr.proto.run_pb2 import UpdateRunStatusRequest
from flwr.server.grid.grpc_grid import GrpcGrid

from federated.flower import certificates
from federated.flower.arriving import Arriving
from federated.flower.fleet import KIND, content_of, quiet, record, retrying, split
from federated.flower.keys import Party
from medimg.errors import InputError

_PAUSE, _LONGEST_PAUSE = 0.05, 2.0  # seconds between two looks for answers
_PATIENCE = 20.0  # seconds for the link to answer at first
_GLANCE = 3.0  # seconds between two looks for who is connected
_ONLINE, _UNREGISTERED = "online", "unregistered"
# In the place of an answer: there will be none.
LOST = object()
_BUNDLE = """\
[project]
name = "medimg"
version = "1.0.0"
description = "No code: sites run their own"
license = "Apache-2.0"
[tool.flwr.app]
publisher = "medimg"
[tool.flwr.app.components]
serverapp = "none:none"
clientapp = "none:none"
"""


class Node(NamedTuple):
    """A site's process, as the link knows it.

    Attributes:
        number: of the key.
        started: when it connected: one that was started anew knows nothing of what it was asked before.
    """

    number: int
    started: str


class Control:
    """What the SuperLink is told beside messages."""

    def __init__(self, stub: ControlStub):
        self._stub = stub

    def register(self, parties: list[Party]) -> None:
        """Let nodes of these sites connect, and no others.

        Raises:
            InputError: a site's key was taken off before, which Flower takes no second time.
        """
        known = {node.public_key: node for node in self._nodes()}
        gone = {key for key, node in known.items() if node.status == _UNREGISTERED}
        for party in parties:
            if party.node in gone:
                raise InputError(f"--site {party.name}: its key was taken off this link; it needs a new one")
            if party.node not in known:
                self._stub.RegisterNode(RegisterNodeRequest(public_key=party.node))
        for key in known.keys() - gone - {party.node for party in parties}:
            self._stub.UnregisterNode(UnregisterNodeRequest(node_id=known[key].node_id))

    def online(self) -> dict[bytes, Node]:
        """Public key -> the node of it that is connected."""
        return {
            node.public_key: Node(node.node_id, node.last_activated_at)
            for node in self._nodes()
            if node.status == _ONLINE
        }

    def start_run(self) -> int:
        """A new run's id.

        Raises:
            InputError: the link refuses it.
        """
        bundle = _bundle()
        fab = Fab(hashlib.sha256(bundle).hexdigest(), bundle, {})
        request = StartRunRequest(
            fab=fab_to_proto(fab),
            override_config=user_config_to_proto({}),
            federation_options=config_record_to_proto(ConfigRecord()),
        )
        run = self._stub.StartRun(request).run_id
        if not run:
            raise InputError("--superlink: the link did not start a run; its log says why")
        return run

    def _nodes(self):
        return self._stub.ListNodes(ListNodesRequest()).nodes_info


@contextmanager
def control(address: str, certificate: Path) -> Iterator[Control]:
    """The link's control.

    Args:
        address: HOST:PORT of the link, as sites have it.
        certificate: PEM file of its authority.

    Raises:
        InputError: it can't be reached.
    """
    quiet()
    host, port = split(address)
    channel = create_channel(f"{host}:{port + 1}", False, certificates.require_trusted(certificate, host, port + 1))
    try:
        grpc.channel_ready_future(channel).result(timeout=_PATIENCE)
    except grpc.FutureTimeoutError as error:
        channel.close()
        raise InputError(
            f"--superlink {address}: its control on port {port + 1} can't be reached; is 'medimg federate link' "
            "running on this machine, and is --root-certificate its ca.pem?"
        ) from error
    try:
        yield Control(ControlStub(channel))
    finally:
        channel.close()


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
        run = self._control.start_run()
        host, port = split(address)
        self._grid = GrpcGrid(f"{host}:{port - 1}")
        self._grid._retry_invoker = self._again = retrying(_PATIENCE)
        stub = self._grid._stub
        try:
            token = stub.RequestToken(RequestTokenRequest(run_id=run)).token
            stub.PullAppInputs(PullAppInputsRequest(token=token))
            self._grid.set_run(run)
            self._status("running")
        except grpc.RpcError as error:
            self._grid.close()
            self._open.close()
            raise InputError(
                f"--superlink {address}: its port {port - 1} for the coordinator refuses; is this the machine on which "
                "'medimg federate link' runs?"
            ) from error
        _wrap_stub(self._control._stub, self._again)
        self._beat = HeartbeatSender(get_grpc_app_heartbeat_fn(stub, run, failure_message="the link forgot the run"))
        self._beat.start()

    def online(self) -> dict[bytes, Node]:
        """Public key -> the node of it that is connected."""
        return self._control.online()

    def ask(self, requests: Mapping[Node, bytes], patience: float) -> dict[Node, bytes | None]:
        """Send requests to nodes, and what they answer.

        Args:
            requests: node -> content.
            patience: seconds for which a link that does not answer, or a node that is not connected, is waited for;
                while it is, it may work as long as it takes.

        Returns:
            Node -> content of its answer, None of one that is no message of ours; without the nodes that are away, or
            have been started anew since.

        Raises:
            InputError: the link is lost.
        """
        self._again.max_time, self._arriving = patience, {}
        with self._lost():
            answers, away, left, looked = {}, {}, set(requests), time.monotonic()
            waiting = self._pushed(requests)
            while left:
                began = time.monotonic()
                for name, node in list(waiting.items()):
                    for content in self._pulled(name):
                        del waiting[name]
                        if node in left and content is not LOST:
                            answers[node] = content
                            left.remove(node)
                now = time.monotonic()
                if left and now - looked > _GLANCE:
                    looked, there = now, set(self.online().values())
                    known = {node.number for node in there}
                    for node in list(left):
                        away.setdefault(node, now)
                        if node in there:
                            del away[node]
                        elif node.number in known or now - away[node] > patience:
                            left.remove(node)
                    # An error is Flower's own: a busy node's sign of life was late, and the request is gone.
                    gone = (left & there) - set(waiting.values())
                    waiting |= self._pushed({node: requests[node] for node in gone})
                if left:
                    # A link that many sites keep busy is not asked all the time.
                    time.sleep(min(max(_PAUSE, time.monotonic() - began), _LONGEST_PAUSE))
        return answers

    def _pushed(self, requests: Mapping[Node, bytes]) -> dict[str, Node]:
        """Name of each message -> its node."""
        messages = [Message(record(raw), node.number, KIND) for node, raw in requests.items()]
        sent = self._grid.push_messages(messages) if messages else []
        return {name: node for name, node in zip(sent, requests, strict=True) if name}

    def _pulled(self, name: str) -> list:
        """The content of the answer to one message, where all of it is there; each is another party's."""
        run, stub, node = self._grid.run.run_id, self._grid._stub, self._grid.node
        if name not in self._arriving:
            # The link tells of an answer once.
            told = stub.PullMessages(PullAppMessagesRequest(message_ids=[name], run_id=run))
            for head, tree in zip(told.messages_list, told.message_object_trees, strict=True):
                pull = make_pull_object_fn_protobuf(stub.PullObject, node, run)
                confirm = make_confirm_message_received_fn_protobuf(stub.ConfirmMessageReceived, node, run)
                self._arriving[name] = Arriving(head.metadata.message_id, tree, pull, confirm)
        arriving = self._arriving.pop(name, None)
        try:
            message = arriving and arriving.whole()
        except ValueError:
            return [None]
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
        try:
            self._beat.stop()
            self._status("finished", "completed")
        except (grpc.RpcError, RuntimeError, RunNotRunningException):
            # The link is gone, and with it the run.
            pass
        finally:
            self._grid.close()
            self._open.close()

    def _status(self, status: str, detail: str = "") -> None:
        run_status = run_status_to_proto(RunStatus(status, detail, ""))
        self._grid._stub.UpdateRunStatus(UpdateRunStatusRequest(run_id=self._grid.run.run_id, run_status=run_status))


def _bundle() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("pyproject.toml", _BUNDLE)
    return buffer.getvalue()
