"""medimg predict against model.predict over the same stream of batches; peak memory at 1,000 and 10,000 images.

Images are of 224 px; each side loads its model, which takes seconds. What `predict` does beside is warnings, distances
to training, decisions and the CSV. What is learnt of training once for each Run, and the first use of every kernel,
come before, in a short call.
"""

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.material import phantom, table
from benchmarks.memory import peak

SIZE, BATCH = 224, 32
LARGE, DRAWN, TRAINED = 10_000, 500, 200


def trained(folder: Path):
    """A MobileNet of a quarter of the width, trained for an epoch and evaluated."""
    from medimg.config import TrainConfig
    from medimg.evaluation.config import EvaluateConfig
    from medimg.evaluation.evaluate import evaluate
    from medimg.training.train import train

    data = phantom(folder / "train", TRAINED, SIZE)
    config = TrainConfig(model="mobilenet", model_arg={"alpha": "0.25"}, image_size=SIZE, epochs=1)
    evaluate(train(data.root, folder / "run", config), EvaluateConfig(bootstrap=0))


def some(folder: Path, images: int) -> Path:
    """A CSV of so many images: drawing each of them would take longer than all the rest, so they come in turn."""
    file = folder / "data" / f"{images}.csv"
    names = sorted(path.name for path in (folder / "data/images").iterdir())
    file.write_text("image\n" + "".join(f"images/{names[i % len(names)]}\n" for i in range(images)))
    return file


def ours(folder: Path, images: int) -> float:
    from medimg.prediction.config import PredictConfig
    from medimg.prediction.predict import predict
    from medimg.run import Run

    run, started = Run.load(folder / "run"), time.perf_counter()
    config = PredictConfig(batch_size=BATCH)
    predict(run, (str(some(folder, images)),), folder / "out.csv", config, overwrite=True)
    return time.perf_counter() - started


def bare(folder: Path, images: int) -> float:
    import tensorflow as tf

    from medimg.prediction.images import Reader
    from medimg.prediction.inputs import images_of
    from medimg.run import Run

    run, started = Run.load(folder / "run"), time.perf_counter()
    images_found, _ = images_of([some(folder, images)], None)
    reader = Reader(SIZE, run.description()["channels"], None)
    model = run.model()
    shape = tf.TensorSpec((None, *model.input_shape[1:]), tf.float32)
    stream = tf.data.Dataset.from_generator(
        lambda: (batch.inputs for batch in reader.batches(images_found, BATCH)), output_signature=shape
    )
    # The autotuner of tf.data lets the end of a stream wait up to ten seconds for it.
    options = tf.data.Options()
    options.autotune.enabled = False
    model.predict(stream.prefetch(2).with_options(options), verbose=0)
    return time.perf_counter() - started


if __name__ == "__main__":
    large = int(sys.argv[1]) if len(sys.argv) > 1 else LARGE
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        phantom(folder / "data", DRAWN, SIZE)
        trained(folder)
        for task in (ours, bare):
            task(folder, 2 * BATCH)
        # Two of ours between three: what else the machine does weighs on both alike.
        theirs, mine = [bare(folder, large)], []
        for _ in range(2):
            mine.append(ours(folder, large))
            theirs.append(bare(folder, large))
        memory = [peak(ours, folder, n) for n in (large // 10, large)]
    theirs, mine = median(theirs), median(mine)
    rows = [
        [
            f"{large} images: s of model.predict, of medimg predict",
            theirs,
            mine,
            mine / theirs,
            "<= 1.10",
        ],
        [f"MiB at the peak of {large // 10}, of {large}", *memory, memory[1] / memory[0], "<= 1.10"],
    ]
    table(["measured", "first", "second", "ratio", "promise"], rows)
