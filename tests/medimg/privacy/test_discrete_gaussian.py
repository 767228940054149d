"""The discrete Gaussian against its closed form: every probability, by chi-square, and each step of the algorithm."""

import math
import random
from collections import Counter
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from scipy.stats import chisquare

from medimg.errors import InputError
from medimg.privacy.discrete_gaussian import DiscreteGaussian

# Of a right sampler one run in a million would fall below; the source is fixed, so that none does by chance.
LEAST_P = 1e-6


def probabilities(variance: float, reach: int) -> np.ndarray:
    """Of -reach..reach, by the definition."""
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * variance))
    return weights / weights.sum()


def p_value(samples: list[int], expected: np.ndarray) -> float:
    """Of the samples under these probabilities of -reach..reach, rare ones at both ends taken together."""
    reach, counts = len(expected) // 2, Counter(samples)
    assert max(map(abs, samples)) <= reach
    observed = np.array([counts[x] for x in range(-reach, reach + 1)])
    expected = expected * len(samples)
    kept = expected >= 5
    seen, due = [observed[kept], [observed[~kept].sum()]], [expected[kept], [expected[~kept].sum()]]
    seen, due = np.concatenate(seen), np.concatenate(due)
    # The ends may be too rare for a cell of their own.
    if due[-1] < 5:
        seen, due = np.append(seen[:-2], seen[-2:].sum()), np.append(due[:-2], due[-2:].sum())
    return chisquare(seen, due).pvalue


@pytest.mark.parametrize("variance", [Fraction(1, 10), Fraction(1), Fraction(7, 3), 10, Fraction(1601, 16)])
def test_samples_have_the_probabilities_of_the_definition(variance):
    samples = DiscreteGaussian(variance, random.Random(5)).samples(20_000)
    assert p_value(samples, probabilities(float(variance), 120)) > LEAST_P


def test_another_parameter_is_told_apart():
    """The test above can fail: by a fifth too much noise, and by a rounded continuous one of a small parameter."""
    samples = DiscreteGaussian(12, random.Random(5)).samples(20_000)
    assert p_value(samples, probabilities(10.0, 120)) < LEAST_P
    rounded = np.rint(np.random.default_rng(0).normal(0, 1, 20_000)).astype(int).tolist()
    assert p_value(rounded, probabilities(1.0, 120)) < LEAST_P


def test_what_is_drawn_of_large_parameters():
    """2^40 and more, as noise on gradients has: no floating point, which holds 2^53 at most."""
    deviation = 2**60 + 1
    samples = DiscreteGaussian(deviation**2, random.Random(1)).samples(4000)
    scaled = np.array([float(Fraction(x, deviation)) for x in samples])
    assert scaled.mean() == pytest.approx(0.0, abs=5 / math.sqrt(4000))
    assert scaled.var() == pytest.approx(1.0, abs=5 * math.sqrt(2 / 4000))
    # The lowest bits are as random as the rest.
    assert chisquare(np.bincount([x % 8 for x in samples], minlength=8)).pvalue > LEAST_P


class Written:
    """A written sequence in the place of chance: at each draw the least or the greatest integer."""

    def __init__(self, goes_on: tuple[bool, ...]):
        self.left = iter(goes_on)

    def randrange(self, most: int) -> int:
        return 0 if next(self.left) else most - 1


@pytest.mark.parametrize(("numerator", "denominator"), [(0, 1), (1, 2), (1, 1), (2, 3)])
def test_survival_is_the_exponential_by_brute_force(numerator, denominator):
    """Every sequence of up to eight draws, with its exact probability: what has ended by then bounds the result."""
    survived, open_still = Fraction(0), Fraction(1)
    for tried in range(1, 9):
        share = min(Fraction(1), Fraction(numerator, denominator * tried))
        ends = Written((True,) * (tried - 1) + (False,))
        if share < 1:
            survived += open_still * (1 - share) * DiscreteGaussian(1, ends)._survives(numerator, denominator)
        open_still *= share
    assert float(open_still) <= 1 / math.factorial(8)
    assert float(survived) == pytest.approx(math.exp(-numerator / denominator), abs=float(open_still) + 1e-15)


def test_survival_of_more_than_one():
    """exp(-5/2) is exp(-1) twice and exp(-1/2)."""
    generator, trials = DiscreteGaussian(1, random.Random(2)), 20_000
    found = sum(generator._survives(5, 2) for _ in range(trials)) / trials
    chance = math.exp(-2.5)
    assert found == pytest.approx(chance, abs=5 * math.sqrt(chance * (1 - chance) / trials))


@pytest.mark.parametrize("variance", [0, -1, Fraction(-1, 2)])
def test_no_noise_is_refused(variance):
    with pytest.raises(InputError, match="above 0"):
        DiscreteGaussian(variance)


def test_unlike_draws_without_a_source():
    assert len({tuple(DiscreteGaussian(100).samples(20)) for _ in range(5)}) == 5


def test_coordinates_are_independent():
    samples, near = DiscreteGaussian(1, random.Random(3)).samples(40_000), range(-2, 3)
    single = probabilities(1.0, 40)[38:43]
    pairs = Counter(zip(samples[::2], samples[1::2], strict=True))
    observed = [pairs[pair] for pair in product(near, near)]
    expected = np.outer(single, single).ravel() * 20_000
    ends = 20_000 - sum(observed), 20_000 - expected.sum()
    assert chisquare([*observed, ends[0]], [*expected, ends[1]]).pvalue > LEAST_P
