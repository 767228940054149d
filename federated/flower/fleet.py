"""The site's end of Flower: a node that pulls requests from the SuperLink and pushes answers, outbound only.

Flower's own SuperNode fetches each run's app bundle and looks for messages every three seconds. This is a node of the
same protocol and key in the process that answers: a bundle is never asked for, so there is none to run.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import grpc
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.client.grpc_rere_client.connection import grpc_request_response
from flwr.common import ConfigRecord, Message, RecordDict
from flwr.common.inflatable_utils import ObjectIdNotPreregisteredError
from flwr.common.retry_invoker import RetryInvoker, _make_simple_grpc_retry_invoker, exponential
from flwr.common.typing import RunNotRunningException

from federated.flower import certificates
from federated.flower.arriving import Arriving
from federated.flower.sending import LastingStub, send
from medimg.errors import InputError

# The one record and the one entry of a message.
RECORD, ENTRY = "medimg", "message"
KIND = "query"
_LONGEST_PAUSE = 3  # seconds between two tries
_MOST = 64  # runs of which a message may be on its way, and messages that are heard of at a time


class LinkLostError(RuntimeError):
    """The link does not answer, or does not know this node any more."""


def quiet() -> None:
    """Flower's own log lines say nothing that ours do not, and on loopback no proxy of the environment is used."""
    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    for name in ("no_grpc_proxy", "no_proxy"):
        os.environ.setdefault(name, "127.0.0.1,localhost")


def split(address: str) -> tuple[str, int]:
    """Host and port.

    Raises:
        InputError: it is none.
    """
    host, separator, port = address.rpartition(":")
    if not (host and separator and port.isdigit() and 1 < int(port) < 65535):
        raise InputError(f"--superlink {address}: must be HOST:PORT, e.g. 127.0.0.1:9092")
    return host, int(port)


def retrying(patience: float) -> RetryInvoker:
    """How calls are made again while the link does not answer.

    Args:
        patience: seconds.
    """
    again = _make_simple_grpc_retry_invoker()
    again.max_time, again.wait_gen_factory = patience, lambda: exponential(max_delay=_LONGEST_PAUSE)
    return again


def content_of(message: Message) -> bytes | None:
    """What a message carries; None: it is none of ours."""
    try:
        content = message.content[RECORD][ENTRY]
    except (KeyError, ValueError, TypeError):
        return None
    return content if isinstance(content, bytes) else None


def record(raw: bytes) -> RecordDict:
    """A message's content."""
    return RecordDict({RECORD: ConfigRecord({ENTRY: raw})})


class Fleet:
    """One node.

    Attributes:
        node_id: that the link knows it by.
    """

    def __init__(self, functions: tuple):
        self.node_id, self._receive, self._send, _, _, self._pull, self._push, self._confirm = functions
        # By run: what a coordinator asks later, it asks instead.
        self._arriving: dict[int, tuple[Message, Arriving]] = {}

    @property
    def expects(self) -> bool:
        """Whether a message was told of whose parts are not all there."""
        return bool(self._arriving)

    def receive(self) -> tuple[Message, bytes | None] | None:
        """The head of the next message and what it carries; None: there is none.

        Raises:
            LinkLostError: the link is away.
        """
        with _told():
            self._hear()
            for run, (head, one) in list(self._arriving.items()):
                # Whatever becomes of it: what can't be read, or is of a run that has ended, is not tried again.
                del self._arriving[run]
                with suppress(RunNotRunningException, ValueError):
                    whole = one.whole()
                    if whole is not None:
                        return head, content_of(whole)
                    self._arriving[run] = head, one
        return None

    def _hear(self) -> None:
        """Take all that the link tells of, however little of it is there."""
        for _ in range(_MOST):
            try:
                received = self._receive()
            except (grpc.RpcError, RunNotRunningException):
                raise
            except Exception:
                # Whatever whoever has the link put in the place of a message.
                continue
            if not received:
                break
            head, tree = received
            run, name = head.metadata.run_id, head.metadata.message_id
            self._arriving.pop(run, None)
            self._arriving[run] = head, Arriving(name, tree, partial(self._pull, run), partial(self._confirm, run))
        while len(self._arriving) > _MOST:
            del self._arriving[next(iter(self._arriving))]

    def answer(self, message: Message, raw: bytes) -> None:
        """Send the answer to a message.

        Args:
            message: its head.
            raw: what is answered.

        Raises:
            LinkLostError: the link is away.
        """
        with _told():
            send(Message(record(raw), reply_to=message), self._send, partial(self._push, message.metadata.run_id))


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (RunNotRunningException, ObjectIdNotPreregisteredError):
        # The coordinator has ended that run, or has the link forget the answer: there is nobody to answer.
        return
    except grpc.RpcError as error:
        raise LinkLostError(f"{error.code().name}: {error.details()}") from error


@contextmanager
def connected(address: str, certificate: Path, key: ec.EllipticCurvePrivateKey, patience: float) -> Iterator[Fleet]:
    """A node, as long as the context lasts.

    Args:
        address: HOST:PORT of the link.
        certificate: PEM file of its authority.
        key: registered at the link.
        patience: seconds for which the link is tried again when it does not answer.

    Raises:
        LinkLostError: the link can't be reached, has another certificate, or does not know the key.
    """
    try:
        root = certificates.require_trusted(certificate, *split(address))
    except InputError as error:
        raise LinkLostError(str(error)) from error
    quiet()
    connection = grpc_request_response(
        address,
        False,
        retrying(patience),
        root_certificates=root,
        authentication_keys=(key, key.public_key()),
        adapter_cls=LastingStub,
    )
    try:
        functions = connection.__enter__()
    except (RuntimeError, grpc.RpcError) as error:
        # Flower logs the cause and yields nothing.
        raise LinkLostError(
            f"--superlink {address}: refused this node or can't be reached; is its key registered at the link "
            "('medimg federate link --site NAME.pub'), and this machine's clock right?"
        ) from error
    try:
        yield Fleet(functions)
    finally:
        connection.__exit__(None, None, None)
