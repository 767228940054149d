"""Which examples a client trains on, step by step: a function of (seed, round, client) alone."""

import zlib
from dataclasses import dataclass

import numpy as np

from medimg.errors import InputError


@dataclass(frozen=True)
class LocalTraining:
    """What a client does in a round.

    Attributes:
        epochs: passes over its examples; not used with `steps`.
        steps: batches of a round; None: by epochs.
        batch_size: examples of a batch; an epoch's last one may be smaller.
        optimizer: `sgd`, `momentum` (0.9) or `adam`.
        learning_rate: of the client.
    """

    epochs: int = 1
    steps: int | None = None
    batch_size: int = 32
    optimizer: str = "sgd"
    learning_rate: float = 0.1

    def __post_init__(self):
        for name in ("epochs", "steps", "batch_size"):
            value = getattr(self, name)
            option = name if name == "batch_size" else f"local_{name}"
            if value is not None and value < 1:
                raise InputError(f"--{option.replace('_', '-')} {value}: must be at least 1")
        if not self.learning_rate > 0:
            raise InputError(f"--learning-rate {self.learning_rate}: must be above 0")


def words(seed: int, round_number: int, client: str) -> np.random.SeedSequence:
    """The source of everything random that a client does in a round."""
    return np.random.SeedSequence([seed, round_number, zlib.crc32(client.encode())])


def steps(
    local: LocalTraining, examples: int, seed: int, round_number: int, client: str
) -> np.ndarray:
    """Rows of the client's examples for each of its steps.

    Every epoch is a new permutation, cut into batches; `local.steps` goes on through as many epochs as it takes.

    Returns:
        int64 (steps, batch size), -1 where an epoch's last batch has no more examples.
    """
    per_epoch = -(-examples // local.batch_size)
    wanted = local.steps or local.epochs * per_epoch
    generator = np.random.default_rng(words(seed, round_number, client))
    blocks = []
    for _ in range(-(-wanted // per_epoch)):
        rows = np.full(per_epoch * local.batch_size, -1, np.int64)
        rows[:examples] = generator.permutation(examples)
        blocks.append(rows.reshape(per_epoch, local.batch_size))
    return np.concatenate(blocks)[:wanted]


def dropout_seed(seed: int, round_number: int, client: str) -> np.ndarray:
    """int32 (2,) for TensorFlow's stateless random numbers."""
    child = words(seed, round_number, client).spawn(1)[0]
    return child.generate_state(2).astype(np.uint32).view(np.int32)


def local_steps(steps: int, work: float) -> int:
    """That share of a client's local steps, rounded, at least one of them."""
    return max(1, int(steps * work + 0.5))
