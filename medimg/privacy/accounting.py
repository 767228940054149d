"""Epsilon of what happened, and the noise that a budget needs; all counting is dp-accounting's.

Neighbouring relation throughout: add or remove one unit (one patient with all its images). The
number of units and the sampling probability count as public.
"""

import functools
import math
from collections.abc import Iterable
from dataclasses import replace

from medimg.errors import InputError
from medimg.privacy.events import composed, without_amplification
from medimg.privacy.mechanism import Mechanism

# Epsilon above which only the RDP accountant is asked.
MEANINGLESS = 1000.0


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
        2022), `rdp` (Renyi, Mironov 2017), `pld_without_amplification`,
        `rdp_without_amplification`; infinity where there is no noise.

    Raises:
        InputError: delta is out of range, or an event has no such accounting.
    """
    _check_delta(delta)
    events = tuple(events)
    amplified = composed(events)
    plain = composed(map(without_amplification, events))
    return {
        "pld": _pld(amplified, delta),
        "rdp": _rdp(amplified, delta),
        "pld_without_amplification": _pld(plain, delta),
        "rdp_without_amplification": _rdp(plain, delta),
    }


def pld_epsilon(events: Iterable, delta: float) -> float:
    """The tight epsilon of all events together, which budgets go by; 0 where nothing happened."""
    _check_delta(delta)
    return _pld(composed(events), delta)


def rdp_epsilon(events: Iterable, delta: float) -> float:
    """The epsilon that is quick to compute and a little too high; 0 where nothing happened."""
    _check_delta(delta)
    return _rdp(composed(events), delta)


def calibrate(
    epsilon: float, delta: float, mechanism: Mechanism, steps: int, previous: Iterable = ()
) -> float:
    """The least noise multiplier with which `steps` steps stay within epsilon.

    Args:
        epsilon: budget by the PLD accountant.
        delta: in (0, 1).
        mechanism: sampling; its noise multiplier is not read.
        steps: of the whole training, all phases.
        previous: DpEvents that the budget must also cover.

    Returns:
        Noise multiplier, to 1e-4 relative; the epsilon it gives never passes the budget.

    Raises:
        InputError: the budget is not positive, or `previous` has used it up.
    """
    _check_budget(epsilon, delta)
    previous = tuple(previous)
    if steps < 1:
        raise InputError(f"{steps} steps: a private training needs at least one")
    spent = pld_epsilon(previous, delta)
    if spent >= epsilon:
        raise InputError(
            f"--dp-epsilon {epsilon}: earlier trainings on these patients have already spent {spent:.3f} "
            f"at delta {delta}; give a larger one"
        )

    def event(noise_multiplier: float):
        part = replace(mechanism, noise_multiplier=noise_multiplier).event([(0, steps)])
        return composed((*previous, part))

    noise = _search(event, epsilon, delta)
    # The report may discretise otherwise than the search did: hold the result to the reported figure.
    while _pld(event(noise), delta) > epsilon:
        noise *= 1.0001
    return noise


def _search(event, epsilon: float, delta: float) -> float:
    """Noise multiplier by dp-accounting's search, bracketed around the cheap accountant's answer."""
    import dp_accounting

    interval = _interval(event(1.0), epsilon)
    upper = 1.0
    while _rdp(event(upper), delta) > epsilon:
        upper *= 2.0
        if upper > 1e7:
            raise InputError(
                f"--dp-epsilon {epsilon}: no noise is enough at delta {delta}; give a larger one"
            )
    while upper > 1e-3 and _rdp(event(upper / 1.1), delta) <= epsilon:
        upper /= 1.1
    while _pld_at(event(upper), delta, interval) > epsilon:
        upper *= 1.1
    lower = upper / 1.1
    while _pld_at(event(lower), delta, interval) <= epsilon:
        upper, lower = lower, lower / 1.1
    return dp_accounting.calibrate_dp_mechanism(
        lambda: dp_accounting.pld.PLDAccountant(value_discretization_interval=interval),
        event,
        epsilon,
        delta,
        dp_accounting.ExplicitBracketInterval(lower, upper),
        tol=1e-4 * lower,
    )


@functools.lru_cache(maxsize=512)
def _rdp(event, delta: float) -> float:
    import dp_accounting

    if not event.events:
        return 0.0
    return float(_compose(dp_accounting.rdp.RdpAccountant(), event).get_epsilon(delta))


@functools.lru_cache(maxsize=512)
def _pld(event, delta: float) -> float:
    if not event.events:
        return 0.0
    roughly = _rdp(event, delta)
    # So large an epsilon protects nobody; the tight figure would need a table that fits no memory.
    if roughly > MEANINGLESS:
        return roughly
    return _pld_at(event, delta, _interval(event, roughly))


def _pld_at(event, delta: float, interval: float) -> float:
    import dp_accounting
    from dp_accounting.pld import privacy_loss_distribution

    sampled = dp_accounting.PoissonSampledDpEvent
    if not all(
        isinstance(part.event, sampled)
        and isinstance(part.event.event, dp_accounting.GaussianDpEvent)
        for part in event.events
    ):
        accountant = dp_accounting.pld.PLDAccountant(value_discretization_interval=interval)
        return float(_compose(accountant, event).get_epsilon(delta))
    # What the accountant does, but keeping the loss of a single step, which takes nearly all of its time.
    total = privacy_loss_distribution.identity(value_discretization_interval=interval)
    for part in event.events:
        total = total.compose(_sampled_gaussian(part.event, interval).self_compose(part.count))
    return float(total.get_epsilon_for_delta(delta))


@functools.lru_cache(maxsize=32)
def _sampled_gaussian(event, interval: float):
    """Privacy loss distribution of one Poisson-sampled Gaussian step."""
    from dp_accounting.pld import privacy_loss_distribution

    return privacy_loss_distribution.from_gaussian_mechanism(
        standard_deviation=event.event.noise_multiplier,
        value_discretization_interval=interval,
        sampling_prob=event.sampling_probability,
    )


def _compose(accountant, event):
    import dp_accounting

    try:
        return accountant.compose(event)
    except dp_accounting.UnsupportedEventError as error:
        raise InputError(
            f"privacy ledger: no accounting for this event ({' '.join(str(error).split())})"
        ) from error


def _interval(event, epsilon: float) -> float:
    """Width of the cells of the privacy loss, for an epsilon that is right to 1e-4 relative.

    Losses are rounded up in each step, so any width gives a valid epsilon, but cells wider than the loss of a step
    add up: 1e-3 gives 0.30 instead of 0.10 after 100,000 small steps, and 1e-4 takes minutes for an epsilon of
    thousands. The loss of one of n steps is about epsilon / sqrt(n).
    """
    steps = sum(part.count for part in event.events)
    width = max(epsilon, 1e-6) / max(300.0, 100.0 * math.sqrt(steps))
    return 10.0 ** min(-1, max(-6, math.floor(math.log10(width))))


def _check_delta(delta: float) -> None:
    if not 0.0 < delta < 1.0:
        raise InputError(
            f"--dp-delta {delta}: must be between 0 and 1, below one over the patients"
        )


def _check_budget(epsilon: float, delta: float) -> None:
    _check_delta(delta)
    if not (epsilon > 0.0 and math.isfinite(epsilon)):
        raise InputError(f"--dp-epsilon {epsilon}: must be above 0 and finite")
