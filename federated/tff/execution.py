"""Where TFF's computations run: an execution context on a worker of ours."""

import os
import time

import grpc
import tensorflow_federated as tff
from google._upb import _message

from federated.tff.worker import Worker

# Graphs of large models nest deeper than protobuf's default lets them be read back.
_message.SetAllowOversizeProtos(True)

_UNLIMITED = 2**31 - 1
_CHANNEL = [
    ("grpc.max_message_length", _UNLIMITED),
    ("grpc.max_receive_message_length", _UNLIMITED),
    ("grpc.max_send_message_length", _UNLIMITED),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # A proxy of the environment would take connections to 127.0.0.1, and updates would pass through it unasked.
    ("grpc.enable_http_proxy", 0),
]


class WorkerLostError(RuntimeError):
    """The worker has not answered for longer than the patience allows."""


class Execution:
    """Runs TFF computations on a worker of its own, which `close` ends.

    Args:
        patience: seconds for which a worker that does not answer is tried again.

    Raises:
        WorkerLostError: it does not answer.

    Example:
        with Execution() as execution:
            result = execution.run(computation, argument)
    """

    def __init__(self, patience: float = 30.0):
        # A client's own operations keep two cores busy.
        self.worker = Worker(max(1, (os.cpu_count() or 1) // 2))
        self._channel = grpc.insecure_channel(self.worker.address, options=_CHANNEL)
        if not self.answers(patience):
            self.close()
            raise WorkerLostError(f"worker {self.worker.address}: did not answer within {patience:g} s")
        self._context = tff.framework.SyncExecutionContext(
            executor_fn=_Executors(self._channel, self.worker, patience),
            compiler_fn=tff.backends.native.desugar_and_transform_to_native,
            transform_args=tff.tensorflow.transform_args,
            transform_result=tff.tensorflow.transform_result,
        )

    def answers(self, seconds: float) -> bool:
        """Whether the worker can be reached, now or within some seconds."""
        # A method that no worker has. Watching the channel instead starts a thread, which trips when it is closed.
        knock = self._channel.unary_unary("/medimg/knock")
        try:
            knock(b"", timeout=seconds, wait_for_ready=True)
        except grpc.RpcError as error:
            silent = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
            return error.code() not in silent
        return True

    def run(self, computation, *arguments):
        """The computation's result.

        Raises:
            WorkerLostError: the worker is gone, or stayed away longer than `patience`.
        """
        # Installed for the call alone: TFF's stack of contexts belongs to a thread, and nothing here is global.
        with tff.framework.get_context_stack().install(self._context):
            return computation(*arguments)

    def close(self) -> None:
        """Close the channel and end the worker."""
        self._channel.close()
        self.worker.stop()

    def __enter__(self) -> "Execution":
        return self

    def __exit__(self, *_) -> None:
        self.close()


class _Executors(tff.framework.ExecutorFactory):
    """One remote executor per number of clients.

    TFF's own factory never recovers from a lost worker: closing the dead executor fails before it is forgotten, and
    the context tries again for ever. Here it is forgotten first, and patience has an end.
    """

    def __init__(self, channel, worker: Worker, patience: float):
        self._stub = tff.framework.RemoteExecutorGrpcStub(channel)
        self._worker, self._patience = worker, patience
        self._executors, self._silent_since = {}, None

    def create_executor(self, cardinalities):
        """An executor for as many clients as the arguments have."""
        clients = cardinalities.get(tff.CLIENTS, 0)
        if not self._worker.running():
            raise WorkerLostError(f"worker {self._worker.address}: has ended; is memory short?")
        if clients in self._executors:
            return self._executors[clients]
        executor = tff.framework.RemoteExecutor(self._stub)
        try:
            executor.set_cardinalities({tff.CLIENTS: clients})
        except tff.framework.RetryableError:
            self._silent_since = self._silent_since or time.monotonic()
            if time.monotonic() - self._silent_since > self._patience:
                self._silent_since = None
                address = self._worker.address
                raise WorkerLostError(f"worker {address}: did not answer for {self._patience:g} s") from None
            raise
        self._silent_since = None
        # Of other numbers of clients none is needed any more, and each holds memory in the worker.
        for count in list(self._executors):
            self.clean_up_executor({tff.CLIENTS: count})
        self._executors[clients] = executor
        return executor

    def clean_up_executor(self, cardinalities):
        """Forget an executor."""
        executor = self._executors.pop(cardinalities.get(tff.CLIENTS, 0), None)
        if executor is None:
            return
        try:
            executor.close()
        except (grpc.RpcError, tff.framework.RetryableError):
            # The worker that held it is gone, and with it what there was to close.
            return
