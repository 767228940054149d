"""A small CNN trained from nothing: what images hold beyond the features that the other classifiers are given."""

import numpy as np
import tensorflow as tf

from medimg.models.build import build
from medimg.training.adam import Adam
from medimg.training.features import forward_function
from medimg.training.losses import loss_for
from medimg.training.randomness import use_generators

BATCH, WIDTH, STAGES, LEARNING_RATE = 32, 16, 3, 1e-3


def fit_predict(
    images: np.ndarray, targets: np.ndarray, tested: np.ndarray, classes: int, steps: int, seed: int
) -> np.ndarray:
    """Train the CNN and score other images.

    Args:
        images: float32 (N, S, S, C) in 0..255.
        targets: int (N,) of class indices, or float (N, classes) of 0 and 1.
        tested: float32 (M, S, S, C).
        classes: number of classes.
        steps: batches of BATCH; the same for every training set, so that none is trained longer.
        seed: of first weights, order and dropout.

    Returns:
        float64 (M, classes), probabilities.
    """
    multilabel = targets.ndim == 2
    use_generators()
    tf.keras.utils.set_random_seed(seed)
    stages = max(1, min(STAGES, int(np.log2(images.shape[1])) - 2))
    model = build(
        "baseline_cnn", images.shape[1], images.shape[3], classes, model_arg={"width": WIDTH, "stages": stages}
    )
    model.compile(
        Adam(tf.keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)),
        loss_for("multilabel" if multilabel else "categorical"),
    )
    generator = np.random.default_rng(seed)
    size = min(BATCH, len(images))
    order = np.concatenate([generator.permutation(len(images)) for _ in range(-(-steps * size // len(images)))])
    for step in range(steps):
        rows = order[step * size : (step + 1) * size]
        model.train_on_batch(images[rows], targets[rows])
    forward = forward_function(model)
    batches = [tested[start : start + 64] for start in range(0, len(tested), 64)]
    logits = tf.concat([forward(tf.constant(batch)) for batch in batches], axis=0)
    answer = tf.sigmoid(logits) if multilabel else tf.nn.softmax(logits)
    return answer.numpy().astype(np.float64)
