"""medimg federate: a round against the same local trainings in plain Keras one after another; memory over 200 rounds
and with 100 clients.

Seconds and memory are of whole rounds as a user has them: clients' work, screening, aggregation, server's step, pooled
validation, audit record, checkpoint. Memory is that of this process and TFF's worker together.
"""

import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from benchmarks.material import phantom, table

SIZE, ROUNDS = 64, 9
MODEL = {"width": "16", "stages": "3"}


def config(**given):
    from federated.config import FederateConfig

    options = {"image_size": SIZE, "model_arg": MODEL, "rounds": ROUNDS, "comparison": False}
    return FederateConfig(**{**options, **given})


def federated(data: Path, out: Path, options) -> list[float]:
    """Seconds of each round."""
    from federated.federate import federate

    return federate(data, out, options).history()["seconds"].tolist()


def plain(data: Path, options) -> list[float]:
    """Seconds of each pass over the clients, by `model.fit` from the same weights on arrays in memory."""
    import tensorflow as tf

    from federated.partition import partition
    from medimg.data.dataset import Dataset
    from medimg.models.build import build
    from medimg.pipeline.batches import steady
    from medimg.pipeline.pixels import load_image

    clients = []
    for client in partition(Dataset.load(data), options):
        rows = client.dataset.rows("train", labelled=True)
        images = [load_image(p, SIZE, 1) for p in client.dataset.paths(rows)]
        clients.append((np.stack(images), client.dataset.targets(rows)))
    arguments = {name: int(value) for name, value in MODEL.items()}
    model = build("baseline_cnn", SIZE, 1, 2, norm="group", model_arg=arguments)
    optimizer = tf.keras.optimizers.SGD(options.client_learning_rate, momentum=0.9)
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    start, passes = model.get_weights(), []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for x, y in clients:
            model.set_weights(start)
            stream = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(len(y), seed=0)
            model.fit(steady(stream.batch(options.batch_size).prefetch(2)), epochs=1, verbose=0)
        passes.append(time.perf_counter() - began)
    return passes


def memory(data: Path, out: Path, options, rounds: list[int], result) -> None:
    """MiB of this process and its children after some of the rounds."""
    from federated.federate import federate
    from medimg.listener import Listener

    me, mib = psutil.Process(), {}

    def record(row):
        if row["round"] in rounds:
            family = [me, *me.children(recursive=True)]
            mib[row["round"]] = sum(p.memory_info().rss for p in family) / 2**20

    federate(data, out, options, listener=Listener(round=record))
    result.put(mib)


def apart(data: Path, out: Path, options, rounds: list[int]) -> dict[int, float]:
    """`memory` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    result = context.Queue()
    process = context.Process(target=memory, args=(data, out, options, rounds, result))
    process.start()
    mib = result.get()
    process.join()
    return mib


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = phantom(folder / "data", 720, SIZE).root
        ours, theirs = federated(data, folder / "run", config()), plain(data, config())
        # The first round builds graphs.
        a, b = float(np.median(ours[1:])), float(np.median(theirs[1:]))
        rows = [["seconds a round", "5 clients", a, b, a / b, "<= 1.3"]]
        small = {"model_arg": {"width": "4", "stages": "2"}, "image_size": 32, "local_steps": 1}
        long = apart(data, folder / "long", config(**small, rounds=200), [20, 200])
        rows.append(["MiB", "round 200 / 20", long[200], long[20], long[200] / long[20], "< 1.05"])
        few, many = (
            apart(data, folder / f"run{n}", config(**small, partition="iid", clients=n, rounds=5), [5])[5]
            for n in (10, 100)
        )
        rows.append(["MiB", "100 clients / 10", many, few, many / few, "<= 1.05"])
        table(["what", "of", "medimg federate", "against", "ratio", "promise"], rows)
