"""DP-SGD of medimg against non-private training, TensorFlow Privacy's DPModel and its vectorised optimizer.

One step of Adam on 64 examples of 64 px; GroupNorm models. The steps of all engines alternate in one process for each
model, and the median ratio counts; peak memory is that of a process of its own that takes three steps. Our layers
normalise faster than Keras', so non-private training with our layers is a second, stricter reference.
"""

import multiprocessing
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

from benchmarks.material import table

SIZE, BATCH, CLIP, NOISE = 64, 64, 1.0, 1.0
MODELS = ("baseline_cnn", "mobilenet_v2", "resnet50")
PLAIN, STRICT, OURS = "non-private", "non-private, our layers", "medimg"
PATIENTS, DP_MODEL, VECTORISED = "medimg, by patient", "DPModel", "vectorised optimizer"
# Examples in a step where 64 need more memory than there is here (21 GB for the optimizer, which differentiates the
# whole batch once for each example, so that with fewer it is faster for each and its ratio understated).
FEWER = {("baseline_cnn", VECTORISED): 32, ("resnet50", DP_MODEL): 16}
# Bytes of address space: a process that asks for more fails alone, not the machine.
LIMIT = 14 * 2**30
ENGINES = {
    "baseline_cnn": (PLAIN, STRICT, OURS, PATIENTS, DP_MODEL, VECTORISED),
    "mobilenet_v2": (PLAIN, STRICT, OURS, PATIENTS, DP_MODEL),
    "resnet50": (PLAIN, STRICT, OURS, PATIENTS, DP_MODEL),
}
ROUNDS = {"baseline_cnn": 7, "mobilenet_v2": 9, "resnet50": 5}


def batch(size: int = BATCH):
    """Pixels, targets and the patients of examples, each its own: also what their dropout is drawn by."""
    import numpy as np
    import tensorflow as tf

    draw = np.random.default_rng(0)
    pixels = draw.uniform(0, 255, (size, SIZE, SIZE, 3)).astype(np.float32)
    return tf.constant(pixels), tf.constant(draw.integers(0, 2, size)), tf.range(size)


def _examples(name: str, engine: str) -> int:
    return FEWER.get((name, engine), BATCH)


def step_of(engine: str, model):
    """() -> None, one training step by the engine, compiled."""
    import tensorflow as tf

    x, y, patients = batch(_examples(model.name, engine))
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    keys = {"key": tf.cast(patients, tf.uint64)}
    if engine == STRICT:
        return _strict_step(model, loss, x, y, keys["key"])
    private = _model_of(engine, model)
    extra = {OURS: keys, PATIENTS: {"unit": patients, **keys}}
    data = (x, y, extra[engine]) if engine in extra else (x, y)
    if engine == VECTORISED:
        from tensorflow_privacy import VectorizedDPKerasAdamOptimizer

        single = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")
        private.compile(VectorizedDPKerasAdamOptimizer(CLIP, NOISE), single)
    else:
        private.compile("adam", loss)
    compiled = tf.function(private.train_step)

    def step():
        # Reading the loss waits for the step.
        compiled(data)["loss"].numpy()

    return step


def _model_of(engine: str, model):
    import tensorflow as tf
    import tensorflow_privacy

    from medimg.privacy.dp_model import make_private

    if engine in (OURS, PATIENTS):
        return make_private(model, CLIP, NOISE, BATCH, seed=0)
    if engine == DP_MODEL:
        # With XLA, its default, a step on a CPU takes longer still.
        return tensorflow_privacy.DPModel(CLIP, NOISE, use_xla=False, inputs=model.inputs, outputs=model.outputs)
    # Of its own, so that the engines' optimizers do not replace each other.
    return tf.keras.Model(model.inputs, model.outputs, name=model.name)


def _strict_step(model, loss, x, y, keys):
    import tensorflow as tf

    from medimg.privacy.per_example.forward import forward, kinds

    optimizer, layer_kinds = tf.keras.optimizers.Adam(), kinds(model)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            outputs, _ = forward(model, x, lambda tap: None, layer_kinds, keys)
            value = loss(y, outputs)
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return value

    return lambda: float(step())


def _build(name: str):
    from medimg.models.build import build

    return build(name, SIZE, 3, 2, norm="group")


def seconds(name: str) -> dict[str, list[float]]:
    """Seconds for 64 examples by engine and round; run in a process of its own."""
    model = _build(name)
    steps = {engine: step_of(engine, model) for engine in ENGINES[name]}
    times = {engine: [] for engine in steps}
    for step in steps.values():
        step()
        step()
    for _ in range(ROUNDS[name]):
        for engine, step in steps.items():
            started = time.perf_counter()
            step()
            elapsed = time.perf_counter() - started
            times[engine].append(elapsed * BATCH / _examples(name, engine))
    return times


def ratio(times: dict[str, list[float]], engine: str) -> float | str:
    """How many times as long as ours the engine takes: median over rounds, each compared with itself."""
    if engine not in times:
        return "-"
    pairs = zip(times[engine], times[OURS], strict=True)
    return statistics.median(their_time / our_time for their_time, our_time in pairs)


def peak(name: str, engine: str) -> float:
    """MiB at the peak of three steps; run in a process of its own."""
    step = step_of(engine, _build(name))
    for _ in range(3):
        step()
    # ru_maxrss is in KiB on Linux.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(task, *arguments):
    """What the task returns in a process of its own."""
    # A pool says so when the process is killed for want of memory; a queue would wait for ever.
    context = multiprocessing.get_context("spawn")
    limit = (resource.RLIMIT_AS, (LIMIT, LIMIT))
    with ProcessPoolExecutor(1, context, resource.setrlimit, limit) as pool:
        return pool.submit(task, *arguments).result()


def row(name: str) -> list:
    """A model's line of the table."""
    times = apart(seconds, name)
    memory = {engine: apart(peak, name, engine) for engine in (PLAIN, OURS, PATIENTS)}
    return [
        name,
        *(BATCH / statistics.median(times[engine]) for engine in (PLAIN, OURS, PATIENTS)),
        *(ratio(times, engine) for engine in (PLAIN, STRICT, DP_MODEL, VECTORISED)),
        memory[PLAIN],
        memory[OURS],
        memory[OURS] / memory[PLAIN],
        memory[PATIENTS] / memory[PLAIN],
    ]


if __name__ == "__main__":
    columns = [
        "model",
        "non-private examples/s",
        "medimg DP examples/s",
        "by patient examples/s",
        "over non-private (>= 0.5)",
        "over non-private with our layers",
        "over DPModel (>= 1.3)",
        "over vectorised optimizer (>= 20)",
        "non-private MiB",
        "DP MiB",
        "memory ratio (<= 1.5)",
        "by patient (<= 1.5)",
    ]
    table(columns, [row(name) for name in MODELS])
