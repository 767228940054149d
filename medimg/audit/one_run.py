"""A lower bound of epsilon from a single training in which each example was put in, or left out, by a coin.

Source: Steinke, Nasr and Jagielski, Privacy Auditing with One (1) Training Run, NeurIPS 2023, theorem 5.2: of an
(epsilon, delta)-private mechanism, the right guesses among `guesses` are no more than a binomial with success
probability e^epsilon / (1 + e^epsilon), up to a term of delta.
"""

import numpy as np
from scipy.special import expit
from scipy.stats import binom

# Shares of the examples that are guessed at; the attack abstains from the rest. The best is taken, corrected.
SHARES = (1.0, 0.5, 0.25, 0.1)
_MOST_EPSILON = 30.0


def p_value(examples: int, guesses: int, right: int, epsilon: float, delta: float) -> float:
    """The most likely that an (epsilon, delta)-private mechanism gives so many right guesses, or more.

    Args:
        examples: put in or left out by a fair coin each.
        guesses: of them that are guessed at.
        right: right guesses, 0..guesses.
        epsilon: at least 0.
        delta: in [0, 1).
    """
    success = expit(epsilon)
    tail = float(binom.sf(right - 1, guesses, success))
    if right == 0 or delta == 0.0:
        return min(1.0, tail)
    below = np.cumsum(binom.pmf(right - np.arange(1, right + 1), guesses, success))
    alpha = float((below / np.arange(1, right + 1)).max())
    return min(1.0, tail + 2 * examples * delta * alpha)


def epsilon_lower_bound(examples: int, guesses: int, right: int, delta: float, alpha: float) -> float:
    """The epsilon below which so many right guesses have a p-value under `alpha`; 0 when nothing is shown."""
    if guesses == 0 or p_value(examples, guesses, right, 0.0, delta) > alpha:
        return 0.0
    low, high = 0.0, _MOST_EPSILON
    while high - low > 1e-6:
        middle = (low + high) / 2
        rejected = p_value(examples, guesses, right, middle, delta) <= alpha
        low, high = (middle, high) if rejected else (low, middle)
    return low


def audit_guesses(scores: np.ndarray, inside: np.ndarray, delta: float, alpha: float) -> dict:
    """Guess the highest scores as put in and the lowest as left out, and bound epsilon.

    Args:
        scores: float (M,), higher = rather put in.
        inside: bool (M,), what the coins said.
        delta: of the claim.
        alpha: the bound is too high with probability at most this, over all shares of guesses together.

    Returns:
        `value`, and of the best share `guesses`, `right`; `most` that M examples could show.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    ranked = np.asarray(inside)[order]
    examples, each = len(ranked), alpha / len(SHARES)
    bounds = []
    for share in SHARES:
        side = round(examples * share / 2)
        right = int(ranked[:side].sum() + (~ranked[examples - side :]).sum())
        value = epsilon_lower_bound(examples, 2 * side, right, delta, each)
        bounds.append({"value": value, "guesses": 2 * side, "right": right})
    best = max(bounds, key=lambda one: one["value"])
    most = epsilon_lower_bound(examples, bounds[0]["guesses"], bounds[0]["guesses"], delta, each)
    return {**best, "most": most, "delta": delta, "confidence": 1 - alpha}
