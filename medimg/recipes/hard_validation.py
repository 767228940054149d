"""Hard validation: the same patients as validation, seen as other machines might show them.

A validation part drawn from the training part's machine hides what another machine does to a model. Each validation
image is judged as it is and as its views of other framing, exposure and sharpness; the worst of these counts.
"""

import math
from dataclasses import dataclass

import numpy as np

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.evaluation.calibrator import activation
from medimg.pipeline.augmentation import STRENGTHS, Augmentation
from medimg.pipeline.batches import training_batches
from medimg.pipeline.pixels import PixelCache

KINDS = ("as it is", *STRENGTHS["acquisition"].kinds)
# Views that no training has drawn.
_KEY = 7919


def seen_otherwise(forward, cache: PixelCache, seed: int, batch_size: int) -> list[np.ndarray]:
    """What a function of pixels makes of every image, as it is and in a view of each kind: a list of (N, ...)."""
    rows, kinds = np.arange(len(cache)), len(KINDS) - 1
    other = Augmentation.seeded(STRENGTHS["acquisition"], len(cache), seed + _KEY, kinds)
    plain = _of(forward, training_batches(cache, rows, lambda _: rows, batch_size, (0, 1)))
    views = _of(forward, training_batches(cache, rows, lambda _: rows, batch_size, (0, kinds), augmentation=other))
    return [plain, *np.split(views, kinds)]


def _of(forward, stream) -> np.ndarray:
    return np.concatenate([forward(pixels).numpy() for pixels, _ in stream])


@dataclass(frozen=True, eq=False)
class Truth:
    """What is true of rows.

    Attributes:
        task: of the Dataset.
        targets: int (N,), or (N, classes) of 0 and 1.
        classes: how many.
    """

    task: str
    targets: np.ndarray
    classes: int

    @property
    def table(self) -> np.ndarray:
        """bool (N, classes)."""
        if self.targets.ndim == 2:
            return self.targets.astype(bool)
        return self.targets[:, None] == np.arange(self.classes)


@dataclass(frozen=True)
class Score:
    """How well rows are told apart.

    Attributes:
        auroc: of the kind of view where it is least; of several classes the mean over those that have both kinds; NaN:
            none has.
        kind: that kind.
        loss: mean over kinds of the log loss, each class counting alike.
        plain: AUROC of images as they are.
        rows: how many.
    """

    auroc: float
    kind: str
    loss: float
    plain: float
    rows: int

    def words(self) -> str:
        """A clause."""
        if math.isnan(self.auroc):
            return f"AUROC undefined on {self.rows} rows kept apart, which are of one class"
        worst = f"at worst {self.auroc:.3f} ({self.kind})"
        return f"AUROC {self.plain:.3f} on {self.rows} rows kept apart, {worst}"

    def beats(self, other: "Score") -> bool:
        """Better by more than rounding of the AUROC to hundredths, or as good there and of less loss."""
        defined = not math.isnan(self.auroc + other.auroc)
        return (defined and -round(self.auroc, 2), self.loss) < (defined and -round(other.auroc, 2), other.loss)


def score(views: list[np.ndarray], truth: Truth) -> Score:
    """Of logits (N, classes) of each kind of view; a single one of a table."""
    aurocs = [_auroc(logits, truth) for logits in views]
    worst = int(np.argmin(aurocs))
    losses = [_balanced_loss(logits, truth) for logits in views]
    return Score(
        aurocs[worst], KINDS[worst] if len(views) > 1 else "rows", float(np.mean(losses)), aurocs[0], len(truth.table)
    )


def _auroc(logits: np.ndarray, truth: Truth) -> float:
    from sklearn.metrics import roc_auc_score

    table = truth.table
    both = [k for k in range(table.shape[1]) if 0 < table[:, k].sum() < len(table)]
    chances = activation(logits, truth.task)
    return float(np.mean([roc_auc_score(table[:, k], chances[:, k]) for k in both])) if both else math.nan


def _balanced_loss(logits: np.ndarray, truth: Truth) -> float:
    """Log loss; of one label a row, each class counts alike."""
    table, chances = truth.table, np.clip(activation(logits, truth.task), 1e-12, 1 - 1e-12)
    if truth.task == "multilabel":
        return float(-np.where(table, np.log(chances), np.log1p(-chances)).mean())
    each = -np.log(chances[table])
    labels = table.argmax(axis=1)
    return float(np.mean([each[labels == k].mean() for k in np.unique(labels)]))


def pixels_of(dataset: Dataset, rows, config: TrainConfig, channels: int) -> PixelCache:
    """In memory, at the size of the model."""
    return PixelCache.in_memory(dataset.paths(rows), config.image_size, channels)
