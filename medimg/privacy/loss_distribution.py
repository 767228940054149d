"""Epsilon by privacy loss distributions: tight (Koskela et al. 2020, Doroshenko et al. 2022).

A ledger may be a stranger's, and some numbers would need tables that fill any memory: there the Renyi figure stands,
which holds as well and is a little larger.
"""

import functools
import math

from medimg.privacy.renyi import counted, rdp

# Epsilon above which only the RDP accountant is asked.
MEANINGLESS = 1000.0
# Cells of the tables of single steps together, which take a second for 70,000; and of all steps of a kind composed.
MOST_CELLS, MOST_COMPOSED = 4e6, 2e7
# Steps of a kind: tables of few cells are composed one by one.
MOST_STEPS = 1_000_000
# Mass that dp-accounting cuts off of a composed distribution.
_CUT_OFF = 1e-15


@functools.lru_cache(maxsize=512)
def pld(event, delta: float) -> float:
    """Epsilon of a composed event.

    Args:
        event: of `medimg.privacy.events.composed`.
        delta: in (0, 1).

    Raises:
        InputError: a part of it has no such accounting, or numbers that no training has.
    """
    if not event.events:
        return 0.0
    roughly = rdp(event, delta)
    # So large an epsilon protects nobody; the tight figure would need a table that fits no memory.
    if roughly > MEANINGLESS:
        return roughly
    interval = interval_of(event, roughly)
    return pld_at(event, delta, interval) if _fits(event, interval) else roughly


def pld_at(event, delta: float, interval: float) -> float:
    """Epsilon of a composed event by cells of this width; of noise in shares, which has no distribution, `rdp`."""
    import dp_accounting
    from dp_accounting.pld import privacy_loss_distribution

    from medimg.privacy.summed_noise import SummedNoiseDpEvent

    # Of noise in shares only a bound of the Renyi divergences is known; what is composed with it is counted alike.
    if any(isinstance(part.event, SummedNoiseDpEvent) for part in event.events):
        return rdp(event, delta)
    if not all(_is_sampled_gaussian(part.event) for part in event.events):
        accountant = dp_accounting.pld.PLDAccountant(value_discretization_interval=interval)
        return float(counted(accountant, event).get_epsilon(delta))
    # What the accountant does, but keeping the loss of a single step, which takes nearly all of its time.
    total = privacy_loss_distribution.identity(value_discretization_interval=interval)
    for part in event.events:
        total = total.compose(_sampled_gaussians(part.event, part.count, interval))
    return float(total.get_epsilon_for_delta(delta))


def largest_loss(noise_multiplier: float, sampling_probability: float = 1.0) -> float:
    """Largest privacy loss of one step that a table has a cell for."""
    loss = 0.5 / noise_multiplier**2 + 10.0 / noise_multiplier
    # log(1 + q (e^loss - 1)), without overflow.
    sampled = math.log(sampling_probability) + loss
    return sampled if sampled > 30.0 else math.log1p(sampling_probability * math.expm1(loss))


def interval_of(event, epsilon: float) -> float:
    """Width of the cells of the privacy loss, for an epsilon that is right to 1e-4 relative.

    Losses are rounded up in each step, so any width gives a valid epsilon, but cells wider than the loss of a step
    add up: 1e-3 gives 0.30 instead of 0.10 after 100,000 small steps, and 1e-4 takes minutes for an epsilon of
    thousands. The loss of one of n steps is about epsilon / sqrt(n).
    """
    steps = sum(part.count for part in event.events)
    width = max(epsilon, 1e-6) / max(300.0, 100.0 * math.sqrt(steps))
    return 10.0 ** min(-1, max(-6, math.floor(math.log10(width))))


def _fits(event, interval: float) -> bool:
    """Whether the tables are of a size that a training's are."""
    if any(part.count > MOST_STEPS for part in event.events):
        return False
    sampled = [part for part in event.events if _is_sampled_gaussian(part.event)]
    cells = [
        largest_loss(part.event.event.noise_multiplier, part.event.sampling_probability) / interval for part in sampled
    ]
    if sum(cells) > MOST_CELLS:
        return False
    pairs = zip(sampled, cells, strict=True)
    return all(
        one * part.count <= MOST_COMPOSED or _composed_cells(part.event, part.count, interval) <= MOST_COMPOSED
        for part, one in pairs
    )


def _composed_cells(event, count: int, interval: float) -> float:
    """Cells that dp-accounting keeps of so many steps, for neighbours with one more and with one less."""
    from dp_accounting.pld import common

    single = _sampled_gaussian(event, interval)
    sizes = []
    # Neither is None: a pair of distributions is what the Gaussian mechanism has.
    for mass in filter(None, (single._pmf_remove, single._pmf_add)):
        probabilities = mass.to_dense_pmf()._probs.tolist()
        low, high = common.compute_self_convolve_bounds(probabilities, count, _CUT_OFF)
        sizes.append(high - low)
    return max(sizes)


def _is_sampled_gaussian(event) -> bool:
    import dp_accounting

    sampled = dp_accounting.PoissonSampledDpEvent
    return isinstance(event, sampled) and isinstance(event.event, dp_accounting.GaussianDpEvent)


@functools.lru_cache(maxsize=32)
def _sampled_gaussians(event, count: int, interval: float):
    """Privacy loss distribution of so many steps; those of earlier trainings are asked for again and again."""
    return _sampled_gaussian(event, interval).self_compose(count)


@functools.lru_cache(maxsize=32)
def _sampled_gaussian(event, interval: float):
    """Privacy loss distribution of one Poisson-sampled Gaussian step."""
    from dp_accounting.pld import privacy_loss_distribution

    return privacy_loss_distribution.from_gaussian_mechanism(
        standard_deviation=event.event.noise_multiplier,
        value_discretization_interval=interval,
        sampling_prob=event.sampling_probability,
    )
