"""How far a privacy budget goes: noise and steps settled before training, so that it is never passed."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from medimg.errors import InputError
from medimg.privacy.accounting import calibrate, pld_epsilon, rdp_epsilon
from medimg.privacy.mechanism import Mechanism

# Nobody trains longer; the search needs an end.
MOST_STEPS = 2**30


@dataclass(frozen=True)
class NoisePlan:
    """What a private training may do.

    Attributes:
        mechanism: with its noise multiplier.
        steps: steps allowed, all phases together; training stops there.
    """

    mechanism: Mechanism
    steps: int


@dataclass(frozen=True)
class Budget:
    """Epsilon at delta that a training may spend.

    Attributes:
        epsilon: by the PLD accountant; None: nothing is claimed beforehand, the noise multiplier is
            given.
        delta: in (0, 1).
        previous: DpEvents that the budget also covers, of earlier trainings; empty: this training
            alone.
    """

    epsilon: float | None
    delta: float
    previous: tuple = ()

    def plan(self, mechanism: Mechanism, steps: int, noise_multiplier: float | None = None) -> NoisePlan:
        """Settle noise and steps.

        Args:
            mechanism: sampling; its noise multiplier is not read.
            steps: wanted, all phases together.
            noise_multiplier: given by the user; None: the least that makes all steps fit.

        Raises:
            InputError: neither an epsilon nor a noise multiplier, or the budget does not allow a
                single step.
        """
        if noise_multiplier is None:
            if self.epsilon is None:
                raise InputError("--dp-epsilon or --dp-noise-multiplier: give one of them")
            noise = calibrate(self.epsilon, self.delta, mechanism, steps, self.previous)
            return NoisePlan(replace(mechanism, noise_multiplier=noise), steps)
        mechanism = replace(mechanism, noise_multiplier=noise_multiplier)
        if self.epsilon is None:
            return NoisePlan(mechanism, steps)
        allowed = steps_within(self.epsilon, self.delta, mechanism, self.previous, steps)
        if allowed == 0:
            raise InputError(
                f"--dp-epsilon {self.epsilon}: not enough for one step with --dp-noise-multiplier {noise_multiplier}; "
                "give more noise or a larger epsilon"
            )
        return NoisePlan(mechanism, allowed)

    def allows(self, mechanism: Mechanism, steps: int) -> bool:
        """Whether so many steps of the mechanism stay within epsilon."""
        if self.epsilon is None:
            return True
        events = (*self.previous, mechanism.event([(0, steps)]))
        return pld_epsilon(events, self.delta) <= self.epsilon


def steps_within(
    epsilon: float, delta: float, mechanism: Mechanism, previous: Iterable = (), most: int = MOST_STEPS
) -> int:
    """The most steps that stay within epsilon by the PLD accountant.

    Args:
        epsilon: budget.
        delta: in (0, 1).
        mechanism: with its noise multiplier.
        previous: DpEvents that the budget must also cover.
        most: steps wanted; not more are looked for.

    Returns:
        0..most. With shuffled batches the last pass is used to its end: its first step costs what
        all of it costs.
    """
    if mechanism.noise_multiplier == 0.0 or math.isinf(epsilon):
        return most if math.isinf(epsilon) else 0
    previous = tuple(previous)
    # Shuffled batches: a pass costs the same however much of it is used.
    stride = mechanism.steps_per_pass if mechanism.sampling == "shuffle" else 1
    target = math.ceil(most / stride)

    def fits(epsilon_by, strides: int) -> bool:
        event = mechanism.event([(0, strides * stride)])
        return epsilon_by((*previous, event), delta) <= epsilon

    # A training that goes on with what it was allowed before.
    if fits(pld_epsilon, target):
        return most
    # Where to start: the cheap accountant's answer is mostly a few per cent short of the tight one's, which decides.
    start = _last(lambda strides: fits(rdp_epsilon, strides), 0, 1, target)
    if not fits(pld_epsilon, start):
        start = _last(lambda strides: fits(pld_epsilon, strides), 0, 1, start)
    else:
        first_gap = max(1, start // 16)
        start = _last(lambda strides: fits(pld_epsilon, strides), start, first_gap, target)
    return min(most, start * stride)


def _last(fits: Callable[[int], bool], fitting: int, gap: int, target: int) -> int:
    """The largest count in fitting..target that fits, by doubling steps from `fitting`, which fits, then by halving."""
    low, high = fitting, fitting
    while high < target:
        high = min(target, low + gap)
        if not fits(high):
            break
        low, gap = high, 2 * gap
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
