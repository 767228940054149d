"""One training on several devices, or by several processes that TF_CONFIG names, in the steps of a single one.

Each step's batch is the one that a single process would take; each replica has its share of the rows, weighed so that
the sum over replicas is the mean over the batch. Source: synchronous data parallelism of `tf.distribute`.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import tensorflow as tf

from medimg.errors import InputError
from medimg.training.cluster import WORKERS, number, workers
from medimg.training.others import awaited

ALONE, MIRRORED = "none", "mirrored"
# What is left of a collective sum when one of those who take part is gone.
_GONE = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)


@contextmanager
def distributed(distribute: str, resume: bool = False) -> Iterator[None]:
    """All that is made meanwhile is of all replicas.

    Args:
        distribute: `--distribute`.
        resume: a Run goes on.

    Raises:
        InputError: TF_CONFIG does not name the workers, a Run of several goes on, or a worker is gone.
    """
    if distribute == ALONE or (resume and distribute == WORKERS and not workers()):
        yield
        return
    if resume and distribute == WORKERS:
        raise InputError("--resume: goes on with one worker; leave TF_CONFIG out, and it does the rest of the steps")
    _require_workers(distribute)
    several = distribute == WORKERS
    others = [address for i, address in enumerate(workers()) if i != number()]
    try:
        with awaited(workers()[number()], others) if several else nullcontext(), _strategy(distribute).scope():
            yield
    except _GONE as error:
        raise InputError(
            f"--distribute {distribute}: another worker is gone, or its link ({type(error).__name__}); go on with one "
            "by --resume without TF_CONFIG, or start all of them anew with --overwrite"
        ) from error


def shared(stream: tf.data.Dataset):
    """The stream of a step's batches, (inputs, targets[, weights]), as this process' replicas take it.

    Args:
        stream: the same in all processes.
    """
    strategy = tf.distribute.get_strategy()
    replicas = strategy.num_replicas_in_sync
    if not tf.distribute.has_strategy():
        return stream

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        count_here = replicas // context.num_input_pipelines
        first = count_here * context.input_pipeline_id

        def split(inputs, targets, weights=None):
            count = tf.shape(targets)[0]
            weights = tf.ones(count) if weights is None else weights

            def share(replica):
                part = weights[replica::replicas]
                # A replica's loss is the mean over its rows, and the step's the mean over replicas.
                scale = tf.cast(replicas * tf.size(part), tf.float32) / tf.cast(count, tf.float32)
                rows = tf.nest.map_structure(lambda all_rows: all_rows[replica::replicas], (inputs, targets))
                return (*rows, part * scale)

            return tf.data.Dataset.range(first, first + count_here).map(share)

        return stream.flat_map(split)

    return strategy.distribute_datasets_from_function(of_worker)


def _require_workers(distribute: str) -> None:
    if distribute == WORKERS and not (len(workers()) > 1 and 0 <= number() < len(workers())):
        raise InputError(
            "--distribute multi-worker: TF_CONFIG must name two or more workers, nobody else, and which of them this "
            'is: {"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}'
        )


def _strategy(distribute: str) -> tf.distribute.Strategy:
    if distribute == MIRRORED:
        return tf.distribute.MirroredStrategy([device.name for device in _devices()])
    before = signal.getsignal(signal.SIGTERM)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    # TensorFlow takes SIGTERM for the news of a preemption that somebody asks it for, and goes on.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)
    return strategy


def _devices() -> list:
    return tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
