"""Epsilon by Renyi divergences: quick, and a little too high (Mironov, Renyi Differential Privacy, CSF 2017)."""

import functools
import math

import numpy as np

from medimg.errors import InputError

# Terms that dp-accounting's series of a fractional order may need; 10^6 take seconds.
_MOST_TERMS = 1e6
# Noise below this is none: dp-accounting's sums overflow or don't end there.
_LEAST_NOISE = 1e-4
# Beyond so many steps of a kind the rounding of one step's divergence may tell; it is then added.
_MOST_STEPS, _ROUNDING = 1e6, 1e-13


@functools.lru_cache(maxsize=512)
def rdp(event, delta: float) -> float:
    """Epsilon of a composed event.

    Args:
        event: of `medimg.privacy.events.composed`.
        delta: in (0, 1).

    Raises:
        InputError: a part of it has no such accounting, or numbers that no training has.
    """
    import dp_accounting

    if not event.events:
        return 0.0
    orders = _orders()
    # What the accountant does, but keeping the divergences of a single step, which take nearly all of its time.
    total = sum((_all_steps(part) for part in event.events), np.zeros(len(orders)))
    try:
        return float(dp_accounting.rdp.compute_epsilon(orders.tolist(), total.tolist(), delta)[0])
    except (ValueError, ArithmeticError) as error:
        raise _uncountable(event, error) from error


def _orders() -> np.ndarray:
    """Those that dp-accounting looks at."""
    import dp_accounting

    return np.asarray(dp_accounting.rdp.RdpAccountant().orders)


def _all_steps(part) -> np.ndarray:
    one = divergences(part.event)
    return part.count * (one if part.count <= _MOST_STEPS else one + _ROUNDING)


@functools.lru_cache(maxsize=64)
def divergences(event):
    """Renyi divergences of one step, float64 (orders,); a training asks for them again after every epoch."""
    import dp_accounting

    from medimg.privacy.summed_noise import SummedNoiseDpEvent, renyi

    orders = _orders()
    if isinstance(event, SummedNoiseDpEvent):
        return renyi(event, orders)
    if _noise(event) < _LEAST_NOISE:
        return np.full(len(orders), np.inf)
    asked = np.ones(len(orders), bool) if _has_series(event) else orders % 1 == 0
    # Epsilon is the least over orders: with fewer of them it holds as well.
    result = np.full(len(orders), np.inf)
    result[asked] = counted(dp_accounting.rdp.RdpAccountant(orders[asked].tolist()), event).rdp
    return result


def _noise(event) -> float:
    """Noise multiplier of a Gaussian, sampled or not; infinite where it is none."""
    return getattr(getattr(event, "event", event), "noise_multiplier", math.inf)


def _has_series(event) -> bool:
    """Whether fractional orders are computed in seconds; their terms grow as z0 of Mironov, Talwar and Zhang 2019."""
    import dp_accounting

    sampled = isinstance(event, dp_accounting.PoissonSampledDpEvent)
    return not sampled or _noise(event) * _noise(event) * math.log(1.0 / event.sampling_probability) <= _MOST_TERMS


def counted(accountant, event):
    """The accountant, with the event in it.

    Raises:
        InputError: it knows no such event, or no such numbers.
    """
    import dp_accounting

    try:
        return accountant.compose(event)
    except dp_accounting.UnsupportedEventError as error:
        raise InputError(f"privacy ledger: no accounting for this event ({' '.join(str(error).split())})") from error
    except (ValueError, ArithmeticError) as error:
        raise _uncountable(event, error) from error


def _uncountable(event, error: Exception) -> InputError:
    why = " ".join(str(error).split())
    return InputError(f"privacy ledger: numbers that no training has ({str(event)[:200]}: {why}); restore the ledger")
