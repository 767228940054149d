"""What a model's answer shows to an attacker: loss, entropy, and confidence on the logit scale.

Sources: Carlini et al., Membership Inference Attacks From First Principles, IEEE S&P 2022 (the scale); Song and Mittal,
Systematic Evaluation of Privacy Risks of Machine Learning Models, USENIX Security 2021 (modified entropy, equation 8 of
its preprint: it grows with doubt, and most with certainty in a wrong label).
"""

from dataclasses import dataclass

import numpy as np

# The least float32 above 0: probabilities come as float32.
_TINY = 1e-45
# float32's last step below 1: a sigmoid's probability of 1 means "at least this".
_BELOW_ONE = 1.0 - 2.0**-25
# Losses above this tell no more, and their exponential overflows.
_MOST_LOSS = 500.0


@dataclass(frozen=True, eq=False)
class Signals:
    """Answers of one model on N rows.

    Attributes:
        loss: float64 (N,), cross-entropy; over a multilabel row's classes its sum.
        entropy: float64 (N,), modified prediction entropy in nats; of a multilabel row the sum over classes.
        confidence: float64 (N,), log(p / (1 - p)) for the probability p = exp(-loss) of the label.
        log_probabilities: float64 (N, classes), -30 and up.
    """

    loss: np.ndarray
    entropy: np.ndarray
    confidence: np.ndarray
    log_probabilities: np.ndarray

    def features(self) -> np.ndarray:
        """What a trained attacker learns from: float64 (N, classes + 2)."""
        return np.column_stack([self.log_probabilities, np.minimum(self.loss, 30), self.confidence])


def signals(probabilities: np.ndarray, targets: np.ndarray) -> Signals:
    """Loss, entropy and confidence of a model's answers.

    Args:
        probabilities: float32 (N, classes), as `medimg.evaluation.prediction.predict` gives them.
        targets: int (N,) class indices, or 0 and 1 float (N, classes) of a multilabel set.
    """
    p = np.asarray(probabilities, np.float64)
    if targets.ndim == 2:
        loss, entropy = _of_sigmoids(p, targets)
    else:
        loss, entropy = _of_softmax(p, targets)
    # An exact 0 has no logarithm; as a label's loss it is float32's least.
    loss = np.clip(loss, _TINY, _MOST_LOSS)
    confidence = -np.log(np.expm1(loss))
    return Signals(loss, entropy, confidence, np.log(np.clip(p, np.exp(-30), 1.0)))


def _of_softmax(p: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    chosen = np.arange(p.shape[1]) == targets[:, None]
    # The likeliest class's 1 - p from the others' sum: subtracted, it would round to 0.
    rest = 1.0 - p
    top = np.arange(p.shape[1]) == p.argmax(axis=1)[:, None]
    rest[top] = np.where(top, 0.0, p).sum(axis=1)
    rest = np.clip(rest, 0.0, 1.0)
    loss = np.log1p(rest[chosen] / np.maximum(p[chosen], _TINY))
    doubts = -p * np.log(np.maximum(rest, _TINY))
    return loss, rest[chosen] * loss + np.where(chosen, 0.0, doubts).sum(axis=1)


def _of_sigmoids(p: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p = np.clip(p, _TINY, _BELOW_ONE)
    losses = -np.where(targets > 0.5, np.log(p), np.log1p(-p))
    wrong = np.where(targets > 0.5, 1.0 - p, p)
    # Each class is a softmax of two, whose both terms are alike.
    return losses.sum(axis=1), 2.0 * (wrong * losses).sum(axis=1)
