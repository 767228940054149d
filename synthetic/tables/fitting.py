"""One generator: rows and settings -> something that makes rows of given classes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from medimg.data.schema import Feature
from synthetic.tables.ctgan import Ctgan
from synthetic.tables.encoding import Code, Encoding
from synthetic.tables.generator_inputs import GeneratorInputs, targets_of
from synthetic.tables.marginals import Marginals
from synthetic.tables.privacy import PrivateGenerator
from synthetic.tables.settings import Settings
from synthetic.tables.training import Generator, randomness, train
from synthetic.tables.tvae import Tvae

MODELS = {"ctgan": Ctgan, "tvae": Tvae, "marginals": Marginals}
# Rows made at once: the generator normalises by their statistics, so they are as many as it was trained with, at least.
_BATCH = 500


@dataclass(frozen=True, eq=False)
class Task:
    """What a generator is fitted to.

    Attributes:
        model: one of MODELS.
        rows: labelled training rows of a manifest.
        features: columns to learn; private: with what is stated of them.
        classes: labels of the rows, in order.
        settings: sizes, rates and epochs.
        seed: of everything random.
        bounds: column -> lowest and highest value; others are read off the rows. Private: not used.
        checkpoint: file of the training's state; None: none is kept.
        progress: called with epochs done and in all.
    """

    model: str
    rows: pd.DataFrame
    features: tuple[Feature, ...]
    classes: tuple[str, ...]
    settings: Settings
    seed: int = 0
    bounds: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    checkpoint: Path | None = None
    progress: Callable[[int, int], None] = lambda done, total: None


@dataclass(frozen=True, eq=False)
class Fitted:
    """A trained generator.

    Attributes:
        task: what it was fitted to.
        encoding: of the training rows.
        targets: int (N,), classes of the training rows.
        model: the networks.
        history: losses, one row an epoch.
    """

    task: Task
    encoding: Encoding
    targets: np.ndarray
    model: Generator
    history: pd.DataFrame

    def sample(self, counts: np.ndarray, seed: int) -> pd.DataFrame:
        """Make rows; as `sampled`."""
        return sampled(self.model, self.encoding.code, self.task.classes, counts, seed)


def sampled(model: Generator, code: Code, classes: tuple[str, ...], counts: np.ndarray, seed: int) -> pd.DataFrame:
    """Make rows.

    Args:
        model: trained.
        code: that it makes rows in.
        classes: labels, in order.
        counts: int (classes,), rows of each class.
        seed: of what is made; their order too.

    Returns:
        `label` and the columns, in random order.
    """
    wanted = np.repeat(np.arange(len(counts)), counts)
    with randomness(seed, "sample") as random:
        # Mixed, so that each batch has the classes as the training had.
        wanted = random.permutation(wanted)
        parts = [model.sample(wanted[i : i + _BATCH], random) for i in range(0, len(wanted), _BATCH)]
        made = code.decode(np.concatenate(parts))
    labels = np.array(classes, dtype=object)[wanted]
    return pd.concat([pd.Series(labels, name="label"), made], axis=1)


def fit(task: Task, private: PrivateGenerator | None = None) -> Fitted:
    """Train a generator.

    Args:
        task: what to.
        private: how its steps are made private; None: they are not.

    Raises:
        InputError: nothing can be learnt from the rows.
    """
    seed = private.secret if private else task.seed
    with randomness(seed, "networks"):
        if private:
            steps = private.steps()
            encoding = Encoding.apart(task.rows, task.features, steps.keys)
        else:
            steps, encoding = None, Encoding.fit(task.rows, task.features, task.seed, task.bounds)
        targets = targets_of(task.rows, task.classes)
        material = GeneratorInputs(encoding, targets, len(task.classes), task.settings, steps)
        model = MODELS[task.model](material)
    history = train(
        model,
        task.settings.epochs,
        task.settings.steps_per_epoch,
        seed,
        task.checkpoint,
        private.record if private else lambda first, last: None,
        task.progress,
        private.require_counted if private else lambda steps: None,
    )
    return Fitted(task, encoding, targets, model, history)
