"""Accounting against the documented values, closed forms and dp-accounting on the composed event."""

import math

import dp_accounting
import pytest
from scipy.stats import norm

from medimg.errors import InputError
from medimg.privacy import renyi
from medimg.privacy.accounting import calibrate, epsilon_of, pld_epsilon
from medimg.privacy.budget import Budget, steps_within
from medimg.privacy.events import composed, from_dict, steps_per_pass, to_dict, without_amplification
from medimg.privacy.mechanism import Mechanism

DELTA = 1e-5


def gaussian_delta(epsilon: float, noise_multiplier: float) -> float:
    """Delta of one Gaussian mechanism of sensitivity 1 (Balle and Wang 2018, theorem 8)."""
    half, ratio = 0.5 / noise_multiplier, epsilon * noise_multiplier
    return norm.cdf(half - ratio) - math.exp(epsilon) * norm.cdf(-half - ratio)


def pld_of(event, delta: float) -> float:
    return dp_accounting.pld.PLDAccountant().compose(event).get_epsilon(delta)


def test_documented_values():
    steps = 60 * 60_000 // 256
    epsilon = epsilon_of([Mechanism.poisson(256 / 60_000, 1.1).event([(0, steps)])], DELTA)
    assert round(epsilon["rdp"], 3) == 2.597
    assert round(epsilon["pld"], 3) == 2.382
    # The accountant of the documented 54.0 is the PLD, on 60 passes; the Renyi one gives 56.95.
    assert round(epsilon["pld_without_amplification"], 1) == 54.0
    assert round(epsilon["rdp_without_amplification"], 2) == 56.95


def test_more_of_the_same_steps_are_quick_to_count():
    """A training asks after every epoch; what one step costs by the Renyi accountant takes 0.1 s to compute."""
    first, more = (Mechanism.poisson(0.2, 2.5).event([(0, steps)]) for steps in (5, 10))
    epsilon_of([first], DELTA)
    computed = renyi.divergences.cache_info().misses
    found = epsilon_of([more], DELTA)
    assert renyi.divergences.cache_info().misses == computed
    assert found["rdp"] == dp_accounting.rdp.RdpAccountant().compose(more).get_epsilon(DELTA)


@pytest.mark.parametrize(("passes", "noise"), [(1, 0.8), (9, 3.0), (100, 40.0)])
def test_shuffled_passes_are_one_gaussian(passes, noise):
    event = Mechanism.shuffle(25, noise).event([(0, 25 * passes)])
    epsilon = pld_epsilon([event], DELTA)
    assert gaussian_delta(epsilon, noise / math.sqrt(passes)) == pytest.approx(DELTA, rel=5e-3)


@pytest.mark.parametrize(
    ("ranges", "passes"),
    [
        ([(0, 1)], 1),
        ([(0, 10)], 1),
        ([(0, 11)], 2),
        ([(9, 11)], 2),
        ([(3, 5), (7, 9)], 1),
        ([(0, 5), (25, 31)], 3),
        ([], 0),
    ],
)
def test_shuffled_steps_count_the_passes_they_touch(ranges, passes):
    assert Mechanism.shuffle(10, 1.0).event(ranges).count == passes


def test_without_amplification_counts_passes_of_one_training():
    event = Mechanism.poisson(256 / 60_000, 1.1).event([(0, 14_062)])
    assert steps_per_pass(256 / 60_000) == math.ceil(60_000 / 256)
    plain = dp_accounting.GaussianDpEvent(1.1)
    assert without_amplification(event) == dp_accounting.SelfComposedDpEvent(plain, 60)
    # Half a pass of each of two trainings may meet the same patient twice.
    halves = [Mechanism.poisson(0.01, 2.0).event([(0, 50)])] * 2
    assert composed(map(without_amplification, halves)).events[0].count == 2


def test_events_survive_json_and_unknown_ones_are_refused():
    import json

    gaussian = dp_accounting.GaussianDpEvent(1.3)
    events = (
        gaussian,
        dp_accounting.LaplaceDpEvent(2.0),
        dp_accounting.PoissonSampledDpEvent(0.1, gaussian),
        dp_accounting.SampledWithoutReplacementDpEvent(100, 7, gaussian),
        dp_accounting.SingleEpochTreeAggregationDpEvent(3.0, (2, 4)),
        dp_accounting.NonPrivateDpEvent(),
    )
    event = dp_accounting.ComposedDpEvent(
        (dp_accounting.SelfComposedDpEvent(dp_accounting.ComposedDpEvent(events), 5), gaussian)
    )
    assert from_dict(json.loads(json.dumps(to_dict(event)))) == event
    for bad in ({"type": "Nonsense"}, {"type": "attr"}, {"type": "GaussianDpEvent", "x": 1}, []):
        with pytest.raises(InputError, match="event"):
            from_dict(bad)


@pytest.mark.slow
def test_two_runs_equal_dp_accounting_on_the_composed_event():
    first = dp_accounting.SelfComposedDpEvent(
        dp_accounting.PoissonSampledDpEvent(0.05, dp_accounting.GaussianDpEvent(1.5)), 300
    )
    second = dp_accounting.SelfComposedDpEvent(
        dp_accounting.PoissonSampledDpEvent(0.02, dp_accounting.GaussianDpEvent(0.9)), 200
    )
    both = dp_accounting.ComposedDpEvent([first, second, first])
    ours = epsilon_of([first, second, first], DELTA)
    rdp = dp_accounting.rdp.RdpAccountant().compose(both).get_epsilon(DELTA)
    assert ours["rdp"] == pytest.approx(rdp, rel=1e-12)
    assert ours["pld"] == pytest.approx(pld_of(both, DELTA), rel=1e-4)
    # Event kinds that only the accountant itself knows take another way to the same figure.
    laplace = dp_accounting.LaplaceDpEvent(4.0)
    mixed = dp_accounting.ComposedDpEvent([first, laplace, dp_accounting.GaussianDpEvent(3.0)])
    assert pld_epsilon(mixed.events, DELTA) == pytest.approx(pld_of(mixed, DELTA), rel=1e-4)
    assert max(pld_of(first, DELTA), pld_of(second, DELTA)) < ours["pld"]


def test_epsilon_is_monotone():
    def epsilon(noise=1.2, q=0.05, steps=200, delta=DELTA):
        return pld_epsilon([Mechanism.poisson(q, noise).event([(0, steps)])], delta)

    base = epsilon()
    assert epsilon(noise=1.4) < base < epsilon(noise=1.0)
    assert epsilon(q=0.03) < base < epsilon(q=0.08)
    assert epsilon(steps=100) < base < epsilon(steps=400)
    assert epsilon(delta=1e-4) < base < epsilon(delta=1e-6)
    assert pld_epsilon([], DELTA) == 0.0


def test_no_noise_no_privacy():
    epsilon = epsilon_of([Mechanism.poisson(0.1, 0.0).event([(0, 1)])], DELTA)
    assert all(math.isinf(value) for value in epsilon.values())


@pytest.mark.parametrize(
    ("mechanism", "steps", "budget"),
    [
        (Mechanism.poisson(0.05), 400, 3.0),
        (Mechanism.poisson(0.02), 1000, 0.2),
        (Mechanism.shuffle(10), 100, 1.0),
        (Mechanism.poisson(1.0), 20, 2.0),
    ],
)
def test_calibration_is_the_inverse_of_accounting(mechanism, steps, budget):
    plan = Budget(budget, DELTA).plan(mechanism, steps)
    epsilon = pld_epsilon([plan.mechanism.event([(0, steps)])], DELTA)
    assert 0.999 * budget < epsilon <= budget
    assert plan.steps == steps


def test_calibration_covers_what_was_spent_before():
    mechanism, before = Mechanism.poisson(0.05), Mechanism.poisson(0.05, 1.5).event([(0, 300)])
    spent = pld_epsilon([before], DELTA)
    noise = calibrate(spent + 1.0, DELTA, mechanism, 300, [before])
    after = Mechanism.poisson(0.05, noise).event([(0, 300)])
    assert pld_epsilon([before, after], DELTA) == pytest.approx(spent + 1.0, rel=2e-3)
    assert noise < calibrate(1.0, DELTA, mechanism, 300)
    with pytest.raises(InputError, match="already spent"):
        calibrate(spent, DELTA, mechanism, 300, [before])


@pytest.mark.parametrize(("total", "least"), [(8.5, 2.356), (9.0, 1.744), (9.3, 1.562)])
def test_noise_is_found_where_only_the_tight_accountant_has_something_left(total, least):
    """The Renyi accountant has the first training alone at 9.215, so it has no noise for the first two."""
    before, mechanism = Mechanism.poisson(0.152, 0.9973).event([(0, 105)]), Mechanism.poisson(0.152)
    noise = calibrate(total, 1e-3, mechanism, 105, [before])
    assert noise == pytest.approx(least, rel=2e-3)

    def epsilon(noise_multiplier):
        after = Mechanism.poisson(0.152, noise_multiplier).event([(0, 105)])
        return pld_epsilon([before, after], 1e-3)

    assert epsilon(noise) <= total < epsilon(0.997 * noise)


def test_steps_are_found_where_only_the_tight_accountant_has_something_left():
    before, mechanism = Mechanism.poisson(0.152, 0.9973).event([(0, 105)]), Mechanism.poisson(0.152, 2.0)

    def epsilon(steps):
        return pld_epsilon([before, mechanism.event([(0, steps)])], 1e-3)

    steps = steps_within(8.5, 1e-3, mechanism, [before], 105)
    assert epsilon(steps) <= 8.5 < epsilon(steps + 1)
    assert Budget(8.5, 1e-3, (before,)).plan(mechanism, 105, 2.0).steps == steps


def test_the_same_events_cost_the_same_to_the_last_bit_in_any_order():
    a, b = Mechanism.poisson(0.1, 1.3).event([(0, 70)]), Mechanism.poisson(0.2, 2.1).event([(0, 9)])
    assert composed([a, b]) == composed([b, a])


@pytest.mark.slow
@pytest.mark.parametrize(("mechanism", "stride"), [(Mechanism.poisson(0.1, 1.0), 1), (Mechanism.shuffle(8, 4.0), 8)])
def test_steps_within_are_the_last_that_fit(mechanism, stride):
    before = (Mechanism.shuffle(1, 5.0).event([(0, 1)]),)
    steps = steps_within(4.0, DELTA, mechanism, before)
    assert steps % stride == 0

    def epsilon(steps):
        return pld_epsilon((*before, mechanism.event([(0, steps)])), DELTA)

    assert epsilon(steps) <= 4.0 < epsilon(steps + stride)
    assert steps_within(4.0, DELTA, mechanism, before, steps - 1) == steps - 1
    budget = Budget(4.0, DELTA, before)
    assert budget.allows(mechanism, steps)
    assert not budget.allows(mechanism, steps + stride)
    plan = budget.plan(mechanism, 10 * steps, mechanism.noise_multiplier)
    assert plan.steps == steps


def test_a_budget_too_small_for_a_step_is_refused():
    little = Mechanism.poisson(0.5)
    assert steps_within(0.1, DELTA, Mechanism.poisson(0.5, 0.5)) == 0
    assert steps_within(5.0, DELTA, little) == 0
    with pytest.raises(InputError, match="not enough for one step"):
        Budget(0.1, DELTA).plan(little, 10, noise_multiplier=0.5)
    with pytest.raises(InputError, match="give one of them"):
        Budget(None, DELTA).plan(little, 10)
    assert Budget(None, DELTA).plan(little, 10, 0.5).steps == 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: epsilon_of([], 0.0), "--dp-delta 0.0"),
        (lambda: calibrate(0.0, DELTA, Mechanism.poisson(0.1), 10), "--dp-epsilon 0.0"),
        (lambda: calibrate(math.inf, DELTA, Mechanism.poisson(0.1), 10), "--dp-epsilon inf"),
        (lambda: calibrate(1.0, DELTA, Mechanism.poisson(0.1), 0), "0 steps"),
        (lambda: Mechanism.poisson(0.0), "sampling probability"),
        (lambda: Mechanism.poisson(0.5, -1.0), "--dp-noise-multiplier -1.0"),
        (lambda: Mechanism("other", 0.5, 2), "--dp-sampling other"),
    ],
)
def test_bad_values_are_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
