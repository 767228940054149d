"""What a Run's training looked like, so that it can be told what is unlike it: features, sizes, colour, depth.

Features are what the model's last layer is given. How far a row's lie from those of training is their Mahalanobis
distance (Lee et al., "A simple unified framework for detecting out-of-distribution samples", NeurIPS 2018, with one
Gaussian for all classes), the covariance shrunk after Ledoit and Wolf (2004). Far is what 1% of validation is at most.

Means, a covariance and a few counts are kept in the Run; of single patients the extremes of sizes alone. Of a private
Run all of it comes from the validation part, which it does not protect.
"""

import hashlib
import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from medimg import atomic
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.prediction.images import Batch, Form
from medimg.privacy.release import reference_split
from medimg.run import Run
from medimg.untrusted.arrays import read_arrays

FILE = "familiarity.npz"
# Rows of a part that are looked at: more change nothing.
_MOST_ROWS = 5000
_INSIDE = 0.99
# Of the largest variance: a direction of less counts as having this much.
_LEAST_VARIANCE = 1e-6

# Rows of the Run's Dataset -> batches of them, and inputs -> (features (B, F), logits).
Batches = Callable[[Dataset, pd.DataFrame], Iterable[Batch]]
Forward = Callable[[list[np.ndarray]], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Facts:
    """What is kept beside the arrays.

    Attributes:
        model: SHA-256 of the model.keras whose features they are.
        part: train, or val of a private Run.
        rows: that the features' mean and covariance are of.
        calibrated_on: validation rows that the limit is of.
        limit: distance within which 99% of them lie; infinite where there are too few rows.
        widths, heights: lowest and highest in pixels, None where the sources' are not known.
        colours: whether the images had colour: False, True or both.
        twelve_bit: most 16-bit images used no more than 12 bits, as all that come then may.
    """

    model: str
    part: str
    rows: int
    calibrated_on: int
    limit: float
    widths: tuple[int, int] | None = None
    heights: tuple[int, int] | None = None
    colours: tuple[bool, ...] = ()
    twelve_bit: bool = False


@dataclass(frozen=True, eq=False)
class Familiarity:
    """A Run's training in numbers.

    Attributes:
        facts: of it.
        mean: float32 (F,).
        whitening: float32 (F, F): whitened differences from the mean have unit covariance.
    """

    facts: Facts
    mean: np.ndarray
    whitening: np.ndarray

    def of_features(self, features: np.ndarray) -> list[str]:
        """A warning for each row (B, F) that is far; '' for the others."""
        limit = self.facts.limit
        if np.isinf(limit):
            return [""] * len(features)
        return [
            f"far from the training set: distance {d:.3g}, 99% of validation within {limit:.3g}" if d > limit else ""
            for d in self.distances(features)
        ]

    def distances(self, features: np.ndarray) -> np.ndarray:
        """float32 (B,), from the mean of training."""
        return _distances(features, self.mean, self.whitening)

    def of_form(self, form: Form) -> list[str]:
        """Warnings of an image's size, colour and depth."""
        facts, warnings = self.facts, []
        for side, value, seen in (("wide", form.width, facts.widths), ("high", form.height, facts.heights)):
            if seen and value and not seen[0] <= value <= seen[1]:
                span = f"{seen[0]}" if seen[0] == seen[1] else f"{seen[0]} to {seen[1]}"
                warnings.append(f"{value} pixels {side}, training images {span}")
        if facts.colours and form.is_colour not in facts.colours:
            warnings.append(f"{_colour(form.is_colour)}, training images {_colour(facts.colours[0])}")
        if form.is_twelve_bit and not facts.twelve_bit:
            warnings.append("12-bit values in a 16-bit file, which read as nearly black; training images had none")
        return warnings

    def save(self, path: Path) -> None:
        """Write atomically."""
        with atomic.replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, mean=self.mean, whitening=self.whitening, facts=json.dumps(asdict(self.facts)))

    @classmethod
    def load(cls, path: Path) -> "Familiarity":
        """Read what `save` wrote.

        Raises:
            ValueError, KeyError, TypeError, OSError: it is something else.
        """
        arrays = read_arrays(path)
        values = json.loads(str(arrays["facts"]))
        facts = Facts(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
        return cls(facts, arrays["mean"], arrays["whitening"])


def familiarity(run: Run, dataset: Dataset | None, forward: Forward, batches: Batches) -> Familiarity | None:
    """The Run's own where it is kept and of this model, else computed, and kept where the Run can be written.

    Args:
        run: the Run.
        dataset: its Dataset, None where it is not on this machine.
        forward: of its model.
        batches: how its rows are read.

    Returns:
        None where neither it nor the Dataset is there, or where nothing of the part can be read.
    """
    # Of a command that was killed at it.
    atomic.sweep_beside(run.root / FILE)
    model = hashlib.sha256((run.root / "model.keras").read_bytes()).hexdigest()
    # Made by another version, or cut off: made anew.
    with suppress(ValueError, KeyError, TypeError, OSError):
        stored = Familiarity.load(run.root / FILE)
        if stored.facts.model == model:
            return stored
    learnt = None if dataset is None else _learnt(run, dataset, model, forward, batches)
    if learnt is not None:
        with suppress(InputError):
            learnt.save(run.root / FILE)
    return learnt


def _learnt(run: Run, dataset: Dataset, model: str, forward: Forward, batches: Batches) -> Familiarity | None:
    part = reference_split(run.config["options"])
    fitted, checked = dataset.rows(part, labelled=True), dataset.rows("val", labelled=True)
    if part == "val":
        # Rows that a covariance was fitted to lie nearer than others would.
        second = pd.factorize(checked["patient"])[0] % 2 == 1
        fitted, checked = checked[~second], checked[second]
    features, forms = _seen(dataset, _some(fitted), forward, batches)
    if not len(features):
        return None
    held_out, _ = _seen(dataset, _some(checked), forward, batches)
    mean, whitening, limit = features[0], np.zeros((0, 0), np.float32), np.inf
    if len(features) > 1 and len(held_out) and np.ptp(features, axis=0).any():
        mean, whitening = _gaussian(features)
        limit = float(np.quantile(_distances(held_out, mean, whitening), _INSIDE, method="higher"))
    deep = [form.is_twelve_bit for form in forms if form.is_deep]
    widths, heights = _sizes(dataset, fitted, forms)
    facts = Facts(
        model,
        part,
        len(features),
        len(held_out),
        limit,
        widths,
        heights,
        tuple(sorted({form.is_colour for form in forms})),
        len(deep) > 0 and sum(deep) > len(deep) / 2,
    )
    return Familiarity(facts, mean, whitening)


def _some(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.sample(min(len(rows), _MOST_ROWS), random_state=0)


def _seen(dataset: Dataset, rows: pd.DataFrame, forward: Forward, batches: Batches) -> tuple[np.ndarray, list[Form]]:
    features, forms = [np.zeros((0, 0), np.float32)], []
    for batch in batches(dataset, rows):
        if batch.inputs and len(batch.inputs[0]):
            features.append(forward(batch.inputs)[0])
        forms += batch.forms
    return np.concatenate(features[1:] or features), forms


def _distances(features: np.ndarray, mean: np.ndarray, whitening: np.ndarray) -> np.ndarray:
    import tensorflow as tf

    # By TensorFlow's threads: those of NumPy's library spin between two batches and take the model its cores.
    return tf.norm(tf.matmul(features - mean, whitening), axis=1).numpy()


def _gaussian(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (F,) and whitening (F, F) of features (N, F)."""
    from sklearn.covariance import LedoitWolf

    estimate = LedoitWolf().fit(features.astype(np.float64))
    variance, axes = np.linalg.eigh(estimate.covariance_)
    variance = np.maximum(variance, _LEAST_VARIANCE * variance[-1])
    return estimate.location_.astype(np.float32), (axes / np.sqrt(variance)).astype(np.float32)


def _sizes(dataset: Dataset, rows: pd.DataFrame, forms: list[Form]) -> tuple:
    """Lowest and highest width and height of the sources' images; None where only the prepared ones' are known."""
    if not forms:
        return None, None
    if (dataset.preparation.get("options") or {}).get("image_size") is None:
        return _span([form.width for form in forms]), _span([form.height for form in forms])
    if {"source_width", "source_height"} <= set(rows):
        return _span(rows["source_width"]), _span(rows["source_height"])
    return None, None


def _span(values: Iterable[int]) -> tuple[int, int]:
    return int(min(values)), int(max(values))


def _colour(is_colour: bool) -> str:
    return "in colour" if is_colour else "grey"
