"""The images that the model is most confidently wrong about, on one sheet."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from medimg.data.imaging import read_image
from medimg.evaluation.operating_point import decision_words
from medimg.evaluation.predictions import Predictions
from medimg.style.figures import styled
from medimg.style.words import shortened

COUNT = 12
COLUMNS = 4


@dataclass(frozen=True)
class Mistake:
    """A row that the model is wrong about.

    Attributes:
        row: position in the predictions.
        label: what it is.
        predicted: what the model calls it.
        probability: of what the model calls it.
        truth_probability: of what it is; the lower, the worse.
        decision: the prediction in words: with a positive class its probability and threshold.
    """

    row: int
    label: str
    predicted: str
    probability: float
    truth_probability: float
    decision: str


def worst_mistakes(predictions: Predictions, count: int = COUNT) -> list[Mistake]:
    """Wrong rows, the least probability given to the truth first.

    Each label gets an even share of the places, so that missed findings are seen beside false
    alarms wherever the threshold lies; places that a label leaves free go to the worst of the
    others. In a multilabel task a row counts once, with the label it is most wrong about, and the
    worst rows are taken whatever their label.

    Args:
        predictions: of one split.
        count: most mistakes to return.
    """
    if predictions.task == "multilabel":
        return _worst_labels(predictions, count)
    truth, called = predictions.truth.argmax(axis=1), predictions.decisions.argmax(axis=1)
    rows = np.arange(len(predictions))
    of_truth = predictions.probabilities[rows, truth]
    wrong = np.flatnonzero(truth != called)
    wrong = wrong[np.argsort(of_truth[wrong], kind="stable")]
    worst = wrong[np.sort(_even_share(truth[wrong], count))]
    limits = np.broadcast_to(0.0 if predictions.threshold is None else predictions.threshold, len(predictions))
    return [
        Mistake(
            row=int(row),
            label=predictions.classes[truth[row]],
            predicted=predictions.classes[called[row]],
            probability=float(predictions.probabilities[row, called[row]]),
            truth_probability=float(of_truth[row]),
            decision=decision_words(
                predictions.task, predictions.classes, called[row], predictions.probabilities[row], limits[row]
            ),
        )
        for row in worst
    ]


def _even_share(labels: np.ndarray, count: int) -> np.ndarray:
    """Positions of `count` rows: the first ones of each label in turn, the rest in order."""
    place = np.zeros(len(labels), np.int64)
    present = np.unique(labels)
    for label in present:
        mine = np.flatnonzero(labels == label)
        place[mine] = np.arange(len(mine))
    late = place >= count // max(1, len(present))
    return np.argsort(late, kind="stable")[:count]


def _worst_labels(predictions: Predictions, count: int) -> list[Mistake]:
    truth, called = predictions.truth, predictions.decisions
    of_truth = np.where(truth, predictions.probabilities, 1 - predictions.probabilities)
    of_truth = np.where(truth != called, of_truth, np.inf)
    label, least = of_truth.argmin(axis=1), of_truth.min(axis=1)
    wrong = np.flatnonzero(np.isfinite(least))
    worst = wrong[np.argsort(least[wrong], kind="stable")][:count]
    mistakes = []
    for row in worst:
        name, has = predictions.classes[label[row]], truth[row, label[row]]
        negative = f"no {name}"
        mistakes.append(
            Mistake(
                row=int(row),
                label=name if has else negative,
                predicted=negative if has else name,
                probability=float(1 - least[row]),
                truth_probability=float(least[row]),
                decision=f"{shortened(negative if has else name, 18)} {1 - least[row]:.3f}",
            )
        )
    return mistakes


def mistakes_figure(mistakes: list[Mistake], paths: list[Path]) -> Figure | None:
    """A contact sheet: image, label, prediction with its probability, file name.

    Args:
        mistakes: what to show; None is returned when there are none.
        paths: the image of each mistake.

    Raises:
        InputError: an image can't be read.
    """
    if not mistakes:
        return None
    columns = min(COLUMNS, len(mistakes))
    rows = math.ceil(len(mistakes) / columns)
    with styled():
        figure = Figure(figsize=(2.75 * columns, 3.6 * rows))
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for panel, mistake, path in zip(panels, mistakes, paths, strict=False):
            panel.imshow(_displayable(read_image(path)), cmap="gray", interpolation="antialiased")
            panel.set_title(
                f"label: {shortened(mistake.label, 26)}\npredicted: {mistake.decision}",
                fontsize=9.5,
                loc="left",
            )
            panel.set_xlabel(shortened(path.name, 34), fontsize=8)
            panel.set(xticks=[], yticks=[])
            panel.grid(False)
        for panel in panels[len(mistakes) :]:
            panel.set_visible(False)
    return figure


def _displayable(image: np.ndarray) -> np.ndarray:
    """Grey as RGB so that no colour map rescales it; 16-bit images between their extremes."""
    if image.dtype != np.uint8:
        image = image.astype(np.float64)
        low, high = np.percentile(image, (0.5, 99.5))
        image = (np.clip((image - low) / max(high - low, 1), 0, 1) * 255).astype(np.uint8)
    return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
