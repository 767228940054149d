"""Epsilon of what happened, and the noise that a budget needs; all counting is dp-accounting's.

Neighbouring relation throughout: add or remove one unit (one patient with all its images). The
number of units and the sampling probability count as public.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

from medimg.errors import InputError
from medimg.privacy.events import composed, without_amplification
from medimg.privacy.loss_distribution import interval_of, largest_loss, pld, pld_at
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.renyi import rdp

# Noise multipliers that are looked at.
LEAST_NOISE, MOST_NOISE = 1e-3, 1e7
# How much wider the cells are where a figure is a first guess only.
COARSE = 10.0
MOST_CELLS = 1e6
# Share of a budget of which the rest is what an earlier search for its noise left over.
USED_UP = 0.999
# Of the budget, that may stay unused; and how often a first guess is corrected.
CLOSE, MOST_CORRECTIONS = 5e-5, 8


def epsilon_of(events: Iterable, delta: float) -> dict[str, float]:
    """Epsilon of all events together, by both accountants, with and without amplification by sampling.

    N = 60,000, batch 256, noise multiplier 1.1, 60 epochs (14,062 steps), delta 1e-5: RDP 2.597,
    PLD 2.382. Without amplification, when each unit is in one known batch of each of the 60 passes:
    PLD 54.0, RDP 57.0. That is not the cost of the steps as 14,062 releases on everybody, which
    would be 6,271.

    Args:
        events: DpEvents, one for each training (`Mechanism.event`).
        delta: probability that the guarantee fails, in (0, 1).

    Returns:
        `pld` (privacy loss distributions: the tight one, Koskela et al. 2020, Doroshenko et al.
        2022; with noise in shares, which has none, as `rdp`), `rdp` (Renyi, Mironov 2017),
        `pld_without_amplification`, `rdp_without_amplification`; infinity where there is no noise.

    Raises:
        InputError: delta is out of range, or an event has no such accounting.
    """
    _check_delta(delta)
    events = tuple(events)
    amplified = composed(events)
    plain = composed(map(without_amplification, events))
    return {
        "pld": pld(amplified, delta),
        "rdp": rdp(amplified, delta),
        "pld_without_amplification": pld(plain, delta),
        "rdp_without_amplification": rdp(plain, delta),
    }


def largest(epsilons: Iterable[dict[str, float]]) -> dict[str, float]:
    """By each accountant the largest of several epsilons, as `epsilon_of` gives them: of who has lost most."""
    each = list(epsilons)
    return {name: max(epsilon[name] for epsilon in each) for name in each[0]}


def pld_epsilon(events: Iterable, delta: float) -> float:
    """The tight epsilon of all events together, which budgets go by; 0 where nothing happened."""
    _check_delta(delta)
    return pld(composed(events), delta)


def rdp_epsilon(events: Iterable, delta: float) -> float:
    """The epsilon that is quick to compute and a little too high; 0 where nothing happened."""
    _check_delta(delta)
    return rdp(composed(events), delta)


def calibrate(epsilon: float, delta: float, mechanism: Mechanism, steps: int, previous: Iterable = ()) -> float:
    """The least noise multiplier with which `steps` steps stay within epsilon.

    Args:
        epsilon: budget by the PLD accountant.
        delta: in (0, 1).
        mechanism: sampling; its noise multiplier is not read.
        steps: of the whole training, all phases.
        previous: DpEvents that the budget must also cover.

    Returns:
        Noise multiplier whose epsilon is at most the budget, and within 1e-4 of it where noise decides it.

    Raises:
        InputError: the budget is not positive, or `previous` has used it up.
    """
    _check_budget(epsilon, delta)
    previous = tuple(previous)
    if steps < 1:
        raise InputError(f"{steps} steps: a private training needs at least one")
    spent = pld_epsilon(previous, delta)
    if spent >= USED_UP * epsilon:
        raise InputError(
            f"--dp-epsilon {epsilon}: earlier trainings on these patients have already spent {spent:.4g} "
            f"at delta {delta}, or hold it in reserve; give a larger one"
        )

    def event(noise_multiplier: float):
        part = replace(mechanism, noise_multiplier=noise_multiplier).event([(0, steps)])
        return composed((*previous, part))

    interval = COARSE * interval_of(event(1.0), epsilon)

    def coarse(noise_multiplier: float) -> float:
        # So little noise is far from any budget, and its table would fit no memory.
        if largest_loss(noise_multiplier) > MOST_CELLS * interval:
            return math.inf
        return pld_at(event(noise_multiplier), delta, interval)

    noise = _least(lambda noise: pld(event(noise), delta), coarse, epsilon)
    if noise is None:
        raise InputError(
            f"--dp-epsilon {epsilon}: too little is left for {steps} steps with any noise, after {spent:.5g} at delta "
            f"{delta} by earlier trainings on these patients; give a larger one"
        )
    return noise


def _least(exact: Callable[[float], float], coarse: Callable[[float], float], epsilon: float) -> float | None:
    """The least noise multiplier that stays within epsilon.

    The quick figure is bisected; where it is off by a factor, its budget is corrected by that factor, which takes two
    or three exact figures.

    Args:
        exact: noise -> epsilon, as it is reported; falls as the noise grows.
        coarse: the same in wider cells.
        epsilon: budget.

    Returns:
        A noise whose exact epsilon fits; None: none up to MOST_NOISE does.
    """
    fitting, target, last = None, epsilon, None
    for _ in range(MOST_CORRECTIONS):
        noise = _root(coarse, target, last or 1.0, 2.0 if last is None else 1.003)
        if noise is None:
            break
        spent = exact(noise)
        if spent <= epsilon:
            fitting = noise if fitting is None else min(noise, fitting)
            if spent >= epsilon * (1.0 - 2.0 * CLOSE) or noise == LEAST_NOISE:
                return fitting
        # Aim a little below the budget, so as to end on its right side.
        target, last = target * epsilon * (1.0 - CLOSE) / max(spent, 1e-9), noise
    # Wide cells only overstate: that they have no answer does not mean that there is none.
    return fitting or _root(exact, epsilon, last or 1.0, 1.01)


def _root(epsilon_of_noise: Callable[[float], float], epsilon: float, start: float, stride: float) -> float | None:
    """The least noise multiplier that stays within epsilon by one accountant, to 1e-4 relative.

    Args:
        epsilon_of_noise: falls as the noise grows.
        epsilon: budget.
        start: where to look first.
        stride: first factor between two looks, squared each time.

    Returns:
        A noise whose epsilon was computed and fits; None: none up to MOST_NOISE does.
    """
    from scipy.optimize import brentq

    def excess(log_noise: float) -> float:
        value = epsilon_of_noise(math.exp(log_noise))
        return math.log(min(max(value, 1e-9), 1e9) / epsilon)

    least, most = math.log(LEAST_NOISE), math.log(MOST_NOISE)
    here, stride = min(max(math.log(start), least), most), math.log(stride)
    fits = excess(here) <= 0.0
    while True:
        there = min(max(here - stride if fits else here + stride, least), most)
        if there == here:
            return LEAST_NOISE if fits else None
        if (excess(there) <= 0.0) != fits:
            break
        here, stride = there, 2.0 * stride
    low, high = min(here, there), max(here, there)
    # Without full_output it is one number.
    root: float = brentq(excess, low, high, xtol=2e-5)  # pyright: ignore[reportAssignmentType]
    # The root may be on either side, and cells of another width make a jump somewhere: hold to what was computed.
    step = 3e-5
    while root + step < high:
        if excess(root + step) <= 0.0:
            return math.exp(root + step)
        step *= 2.0
    return math.exp(high)


def _check_delta(delta: float) -> None:
    if not 0.0 < delta < 1.0:
        raise InputError(f"--dp-delta {delta}: must be between 0 and 1, below one over the patients")


def _check_budget(epsilon: float, delta: float) -> None:
    _check_delta(delta)
    if not (epsilon > 0.0 and math.isfinite(epsilon)):
        raise InputError(f"--dp-epsilon {epsilon}: must be above 0 and finite")
