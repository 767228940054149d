"""The coordinator's side of a site's spool folder: files written and read by TFF computations at the worker."""

import json
import time

import grpc
import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from federated.remote import messages
from federated.tff.execution import Execution, WorkerLostError
from medimg.errors import InputError
from medimg.untrusted.printable import printable

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0  # seconds between two looks for an answer


@tff.tensorflow.computation(np.str_, np.str_)
def _write(path, content):
    with tf.control_dependencies([tf.io.write_file(path, content)]):
        return tf.identity(path)


@tff.tensorflow.computation(np.str_)
def _look(path):
    """The worker's session, and a file of its working folder, empty while there is none."""
    there = tf.size(tf.io.matching_files(path)) > 0
    content = tf.cond(there, lambda: tf.io.read_file(path), lambda: tf.constant(b""))
    return tf.io.read_file(messages.SESSION), content


class Mailbox:
    """Asks one site.

    Args:
        execution: on the site's worker.
    """

    def __init__(self, execution: Execution):
        self._execution = execution

    def session(self) -> str:
        """Of the worker: another one after it was started anew.

        Raises:
            WorkerLostError: it can't be reached.
            InputError: it is no `medimg federate worker`.
        """
        return self._look("")[0]

    def ask(self, kind: str, **content) -> dict:
        """The site's answer to a request of `federated.remote.messages`.

        Takes as long as the site takes.

        Raises:
            WorkerLostError: the worker went away, or was started anew in between.
            InputError: the site's, with the worker's address.
        """
        name, raw = messages.encode(kind, **content)
        session = self.session()
        self._execution.run(_write, messages.request_path(name), raw)
        pause = _FIRST_PAUSE
        while True:
            now, answer = self._look(messages.answer_path(name))
            if now != session:
                raise WorkerLostError(f"worker {self._execution.address}: was started anew")
            if answer:
                break
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        return self._opened(answer)

    def _opened(self, raw: bytes) -> dict:
        """What an answer holds."""
        where = f"worker {self._execution.address}"
        try:
            told = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: its answer can't be read as JSON") from error
        if isinstance(told, dict) and "error" in told:
            raise InputError(f"{where}: {printable(told['error'], 1000)}")
        if not isinstance(told, dict) or not isinstance(told.get("answer"), dict):
            raise InputError(f"{where}: its answer is of another form; is its medimg this one?")
        return told["answer"]

    def _look(self, path: str) -> tuple[str, bytes]:
        try:
            session, content = self._execution.run(_look, path)
        except grpc.RpcError as error:
            raise InputError(
                f"--worker {self._execution.address}: what listens there is no 'medimg federate worker' "
                f"({error.code().name})"
            ) from error
        return session.decode(), content
