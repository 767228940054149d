"""What an attacker can do at most against (epsilon, delta)-differential privacy.

Source: Kairouz, Oh and Viswanath, The Composition Theorem for Differential Privacy, ICML 2015: every test of
membership has TPR <= e^epsilon FPR + delta and 1 - FPR <= e^epsilon (1 - TPR) + delta.
"""

import math
from dataclasses import dataclass

import numpy as np

from medimg.privacy.recount import promised
from medimg.run import Run

# e to this is near the largest float.
_MOST_EXPONENT = 700.0


@dataclass(frozen=True)
class Claim:
    """What a Run's ledger claims.

    Attributes:
        epsilon: by the PLD accountant; infinite when there is no guarantee.
        delta: in [0, 1).
        unit: who is protected: `patient` or `client`.
    """

    epsilon: float
    delta: float
    unit: str

    def most_tpr(self, fpr: np.ndarray) -> np.ndarray:
        """The largest TPR at each FPR."""
        fpr = np.asarray(fpr, np.float64)
        if math.isinf(self.epsilon):
            return np.ones_like(fpr)
        growth = math.exp(min(self.epsilon, _MOST_EXPONENT))
        steep = growth * fpr + self.delta
        flat = 1.0 - (1.0 - self.delta - fpr) / growth
        return np.clip(np.minimum(steep, flat), 0.0, 1.0)

    @property
    def most_advantage(self) -> float:
        """The largest TPR - FPR of any attack."""
        if math.isinf(self.epsilon):
            return 1.0
        # tanh(e/2) = (e^e - 1) / (e^e + 1), without overflow.
        turn = 0.5 * (1.0 - math.tanh(self.epsilon / 2))
        return math.tanh(self.epsilon / 2) + 2 * self.delta * turn

    @property
    def most_auc(self) -> float:
        """The area under `most_tpr`."""
        if math.isinf(self.epsilon):
            return 1.0
        corner = (1.0 - self.delta) * 0.5 * (1.0 - math.tanh(self.epsilon / 2))
        rising = corner * (self.delta + 1.0 - corner) / 2
        flattening = (1.0 - self.delta - corner) * (2.0 - corner) / 2
        return rising + flattening + self.delta


def claim_of(run: Run) -> Claim | None:
    """The claim of a Run's `privacy.json`; None when it was not trained privately.

    Raises:
        InputError: the file can't be read, or claims less than its events give.
    """
    content = promised(run.root)
    if content is None:
        return None
    epsilon = content["epsilon"]["pld"]
    value = math.inf if isinstance(epsilon, str) else float(epsilon)
    return Claim(value, float(content["delta"]), content["unit"])
