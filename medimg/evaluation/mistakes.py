"""The images that the model is most confidently wrong about."""

from dataclasses import dataclass

import numpy as np

from medimg.evaluation.operating_point import decision_words
from medimg.evaluation.predictions import Predictions
from medimg.style.words import shortened

COUNT = 12


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
