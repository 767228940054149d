"""Noise in shares: the bound against the divergence of the convolved shares themselves, and what ledgers keep of it."""

import json
import math
from fractions import Fraction

import dp_accounting
import numpy as np
import pytest

from medimg.errors import InputError
from medimg.privacy.accounting import epsilon_of, pld_epsilon
from medimg.privacy.budget import Budget
from medimg.privacy.events import from_dict, to_dict
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.segments import Segment
from medimg.privacy.summed_mechanism import SummedMechanism
from medimg.privacy.summed_noise import SummedNoiseDpEvent, excess, renyi

DELTA = 1e-5
LARGE = SummedMechanism.of(sensitivity=2**20, shares=3, dimension=74, noise_multiplier=18.0)


def convolved(variance: float, shares: int, reach: int = 400) -> np.ndarray:
    """Probabilities of the sum of so many discrete Gaussians, by brute force, of -reach..reach."""
    one = np.exp(-(np.arange(-reach, reach + 1.0) ** 2) / (2 * variance))
    one /= one.sum()
    total = one
    for _ in range(shares - 1):
        total = np.convolve(total, one)[reach:-reach]
    return total


def divergence(p: np.ndarray, order: float, shift: int) -> float:
    """Renyi, of the distribution moved by `shift` from itself."""
    moved, kept = p[:-shift], p[shift:]
    # Below, the convolution is rounding alone.
    both = (moved > 1e-290) & (kept > 1e-290)
    terms = order * np.log(moved[both]) + (1 - order) * np.log(kept[both])
    return float(terms.max() + np.log(np.exp(terms - terms.max()).sum())) / (order - 1)


@pytest.mark.parametrize("variance", [1, 2, 5])
@pytest.mark.parametrize("shares", [1, 2, 3, 5])
@pytest.mark.parametrize("sensitivity", [1, 3])
def test_the_bound_holds_by_brute_force(variance, shares, sensitivity):
    orders, p = np.array([1.5, 2.0, 4.0, 8.0]), convolved(variance, shares)
    bound = renyi(SummedNoiseDpEvent(sensitivity, variance, shares, 1), orders)
    for order, most in zip(orders, bound, strict=True):
        exact = divergence(p, order, sensitivity)
        assert exact <= most * (1 + 1e-9)
        if excess(SummedNoiseDpEvent(sensitivity, variance, shares, 1)) < 1e-9:
            # That of a Gaussian, but for what the grid leaves out.
            assert exact == pytest.approx(order * sensitivity**2 / (2 * shares * variance), rel=1e-3)


def test_a_sum_of_shares_is_not_a_discrete_gaussian():
    """Taken for one, it would count too little: that is what tau is for."""
    p, order = convolved(0.26, 3, 60), 1.1
    exact, as_one = divergence(p, order, 1), order / (2 * 3 * 0.26)
    tau = 10 * sum(math.exp(-2 * math.pi**2 * 0.26 * k / (k + 1)) for k in (1, 2))
    assert exact > 1.1 * as_one
    assert exact <= order / 2 * (math.sqrt(1 / (3 * 0.26)) + tau) ** 2


def test_tau_by_hand():
    event = SummedNoiseDpEvent(sensitivity=1, share_variance=1, shares=3, dimension=4)
    tau = 10 * (math.exp(-(math.pi**2)) + math.exp(-2 * math.pi**2 * 2 / 3))
    assert excess(event) == pytest.approx(tau, rel=1e-12)
    euclidean, order = 1 / math.sqrt(3), 6.0
    candidates = (
        order / 2 * euclidean**2 + tau * 4,
        order / 2 * (euclidean**2 + 2 * euclidean * tau + tau**2 * 4),
        order / 2 * (euclidean + 2 * tau) ** 2,
    )
    assert renyi(event, np.array([order]))[0] == pytest.approx(min(candidates), rel=1e-12)
    assert excess(SummedNoiseDpEvent(LARGE.sensitivity, LARGE.share_variance, 3, 74)) == 0.0


def test_of_a_fine_grid_it_is_the_renyi_account_of_a_gaussian():
    gaussian = Mechanism.shuffle(1, LARGE.noise_multiplier).event([(0, 20)])
    found = epsilon_of([LARGE.event([(0, 20)])], DELTA)
    expected = dp_accounting.rdp.RdpAccountant().compose(gaussian).get_epsilon(DELTA)
    assert found == dict.fromkeys(found, pytest.approx(expected, rel=1e-9))
    # Nothing tighter is claimed.
    assert found["pld"] > pld_epsilon([gaussian], DELTA)


def test_fewer_shares_need_more_noise_in_each():
    """What is counted on together is the same: a half of it each, or a third."""
    mechanisms = [SummedMechanism.of(2**20, shares, 5, 2.0) for shares in (1, 2, 3)]
    for mechanism in mechanisms:
        whole = mechanism.shares * mechanism.share_variance
        assert 0 <= whole - Fraction(2 * 2**20) ** 2 < mechanism.shares
    epsilons = [pld_epsilon([m.event([(0, 7)])], DELTA) for m in mechanisms]
    assert epsilons == [pytest.approx(epsilons[0], rel=1e-9)] * 3


def test_a_share_is_never_rounded_down():
    mechanism = SummedMechanism.of(3, 7, 1, 0.1)
    assert mechanism.share_variance == 1
    assert SummedMechanism.of(2**21 - 1, 7, 1, 1 / 3).share_variance >= Fraction(1 / 3) ** 2 * (2**21 - 1) ** 2 / 7


@pytest.mark.parametrize("epsilon", [0.5, 3.0])
def test_a_budget_is_kept_and_used(epsilon):
    plan = Budget(epsilon, DELTA).plan(replace_noise(LARGE, 0.0), 12)
    assert isinstance(plan.mechanism, SummedMechanism)
    spent = pld_epsilon([plan.mechanism.event([(0, 12)])], DELTA)
    assert 0.999 * epsilon <= spent <= epsilon
    given = Budget(epsilon, DELTA).plan(LARGE, 10_000, plan.mechanism.noise_multiplier)
    assert given.steps == 12


def replace_noise(mechanism: SummedMechanism, noise: float) -> SummedMechanism:
    return SummedMechanism.of(mechanism.sensitivity, mechanism.shares, mechanism.dimension, noise)


def test_with_other_trainings_both_count():
    event, gaussian = LARGE.event([(0, 5)]), Mechanism.poisson(0.2, 2.0).event([(0, 50)])
    together = pld_epsilon([event, gaussian], DELTA)
    accountant = dp_accounting.rdp.RdpAccountant()
    accountant.compose(gaussian).compose(dp_accounting.GaussianDpEvent(LARGE.noise_multiplier), 5)
    assert together == pytest.approx(accountant.get_epsilon(DELTA), rel=1e-9)
    assert together > max(pld_epsilon([event], DELTA), pld_epsilon([gaussian], DELTA))


def test_ledgers_keep_it():
    segment = Segment("run", "site", "draw", LARGE, ((0, 4),))
    again = Segment.from_dict(json.loads(json.dumps(segment.to_dict())))
    assert again == segment
    assert isinstance(again.mechanism, SummedMechanism)
    event = segment.event()
    assert from_dict(json.loads(json.dumps(to_dict(event)))) == event
    # A mechanism of one site's own noise is another one, though its common numbers are alike.
    own = Segment("run", "site", "draw", Mechanism.shuffle(1, 18.0), ((0, 4),))
    assert own.key != segment.key


@pytest.mark.parametrize("values", [{"shares": 0}, {"sensitivity": 2.5}, {"dimension": True}, {"sampling": "poisson"}])
def test_a_ledger_with_other_numbers_is_refused(values):
    content = Segment("run", "site", "draw", LARGE, ((0, 4),)).to_dict()
    content["mechanism"] |= values
    with pytest.raises(InputError):
        Segment.from_dict(content)


def test_no_noise_protects_nobody():
    event = replace_noise(LARGE, 0.0).event([(0, 1)])
    assert epsilon_of([event], DELTA)["pld"] == math.inf
