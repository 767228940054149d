"""Control: what the SuperLink is told beside messages: who may connect, who is there, a run begins.

Flower has every run bring an app bundle. Ours holds no code, and no site of ours asks for it.
"""

import hashlib
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import grpc
from flwr.common.grpc import create_channel
from flwr.common.record import ConfigRecord
from flwr.common.serde import config_record_to_proto, fab_to_proto, user_config_to_proto
from flwr.common.typing import Fab
from flwr.proto.control_pb2 import (
    ListNodesRequest,
    RegisterNodeRequest,
    StartRunRequest,
    UnregisterNodeRequest,
)
from flwr.proto.control_pb2_grpc import ControlStub

from federated.flower import certificates
from federated.flower.deadlines import with_deadlines
from federated.flower.fleet import quiet, split
from federated.flower.keys import Party
from medimg.errors import InputError

PATIENCE = 20.0  # seconds for the link to answer at first
_ONLINE, _UNREGISTERED = "online", "unregistered"
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
        with_deadlines(stub)
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
        InputError: it can't be reached, or is lost within the context.
    """
    quiet()
    host, port = split(address)
    channel = create_channel(f"{host}:{port + 1}", False, certificates.require_trusted(certificate, host, port + 1))
    try:
        grpc.channel_ready_future(channel).result(timeout=PATIENCE)
    except grpc.FutureTimeoutError as error:
        channel.close()
        raise InputError(
            f"--superlink {address}: its control on port {port + 1} can't be reached; is 'medimg federate link' "
            "running on this machine, and is --root-certificate its ca.pem?"
        ) from error
    try:
        yield Control(ControlStub(channel))
    except grpc.RpcError as error:
        raise InputError(f"--superlink {address}: the link was lost ({error.code().name}); start it again") from error
    finally:
        channel.close()


def _bundle() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("pyproject.toml", _BUNDLE)
    return buffer.getvalue()
