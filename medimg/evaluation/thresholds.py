"""The operating point: from which probability on a finding is called.

A threshold is chosen on validation predictions only, and then used unchanged on the test part.
Source of the index: Youden, Index for rating diagnostic tests, Cancer 3, 1950.
"""

import math
from dataclasses import dataclass

import numpy as np

from medimg.errors import InputError

FALLBACK = 0.5


@dataclass(frozen=True)
class Rule:
    """How the threshold is chosen.

    Attributes:
        name: the option as given: `youden`, `sensitivity=S` or a number.
        sensitivity: S, when that is the rule.
        fixed: the number, when that is the rule.
    """

    name: str
    sensitivity: float | None = None
    fixed: float | None = None


@dataclass(frozen=True)
class Threshold:
    """A threshold and where it comes from.

    Attributes:
        value: rows whose probability is at least this are called positive.
        chosen_on: `val`, or None when it is fixed or nothing could be chosen.
        note: why it is not the rule's, or empty.
    """

    value: float
    chosen_on: str | None
    note: str = ""


def parse_rule(text: str) -> Rule:
    """Read `youden`, `sensitivity=0.95` or `0.5`.

    Raises:
        InputError: it is none of them, or the number is out of range.
    """
    text = str(text).strip().lower()
    if text == "youden":
        return Rule(text)
    name, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if name == "sensitivity" and 0 < value <= 1:
        return Rule(text, sensitivity=value)
    if name == "" and "=" not in text and 0 <= value <= 1:
        return Rule(text, fixed=value)
    raise InputError(f"--threshold {text}: give youden, sensitivity=S (0 < S <= 1) or a number from 0 to 1")


def choose(rule: Rule, truth: np.ndarray | None, probability: np.ndarray | None) -> Threshold:
    """The threshold of one class.

    Args:
        rule: how to choose.
        truth: bool (N,) of the validation part, or None when there is none.
        probability: float64 (N,) of the validation part.
    """
    if rule.fixed is not None:
        return Threshold(rule.fixed, None, "fixed by --threshold, not chosen on data")
    if truth is None or len(truth) == 0:
        return Threshold(FALLBACK, None, f"{FALLBACK}: there is no validation part to choose it on")
    if truth.all() or not truth.any():
        return Threshold(FALLBACK, None, f"{FALLBACK}: the validation part holds one class only")
    if rule.sensitivity is not None:
        return Threshold(threshold_for_sensitivity(truth, probability, rule.sensitivity), "val")
    return Threshold(youden_threshold(truth, probability), "val")


def youden_threshold(truth: np.ndarray, probability: np.ndarray) -> float:
    """The threshold of the largest sensitivity + specificity - 1.

    Every threshold between two neighbouring scores decides alike; the middle of the gap is taken,
    which is the least bound to these rows. Among equally good gaps the highest is taken.

    Args:
        truth: bool (N,) with both kinds.
        probability: float64 (N,).
    """
    scores, sensitivity, specificity = _operating_points(truth, probability)
    # Equal sums can differ in the last digit; they must not decide.
    index = int(np.argmax(np.round(sensitivity + specificity, 12)))
    if index + 1 == len(scores):
        return float(scores[index])
    middle = float((scores[index] + scores[index + 1]) / 2)
    return middle if middle > scores[index + 1] else float(scores[index])


def threshold_for_sensitivity(truth: np.ndarray, probability: np.ndarray, wanted: float) -> float:
    """The highest threshold whose sensitivity is at least `wanted`.

    Args:
        truth: bool (N,) with at least one positive.
        probability: float64 (N,).
        wanted: sensitivity in (0, 1].
    """
    positives = np.sort(probability[truth])[::-1]
    # 0.95 of 20 is 19, though 0.95 * 20 can come out a hair above.
    needed = max(1, math.ceil(wanted * len(positives) - 1e-9))
    return float(positives[needed - 1])


def _operating_points(truth: np.ndarray, probability: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct scores falling, and sensitivity and specificity with each as the threshold."""
    order = np.argsort(-probability, kind="stable")
    score, hit = probability[order], truth[order]
    ends = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    hits = np.cumsum(hit)[ends]
    alarms = ends + 1 - hits
    return score[ends], hits / hits[-1], 1 - alarms / alarms[-1]
