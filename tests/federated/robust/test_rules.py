"""The rules against brute force, SciPy and their papers' promises."""

import itertools
import tracemalloc

import numpy as np
import pytest
from scipy.stats import trim_mean

from federated.robust import vectors as in_blocks
from federated.robust.krum import krum, multi_krum, squared_distances
from federated.robust.mean import mean
from federated.robust.median import median
from federated.robust.rules import RULES, aggregate, check_compatible, check_enough
from federated.robust.trimmed_mean import trimmed_clients, trimmed_mean
from medimg.errors import InputError


def updates(n, d=37, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).normal(0.0, 1.0, (n, d)).astype(dtype)


@pytest.fixture(params=[1, 7, 1_000_000])
def any_block(request, monkeypatch):
    monkeypatch.setattr(in_blocks, "BLOCK_VALUES", request.param)


@pytest.mark.parametrize("n", [3, 4, 5, 8])
def test_median_is_numpys(n, any_block):
    values = updates(n)
    np.testing.assert_allclose(median(list(values)).vector, np.median(values, axis=0), rtol=1e-15)


@pytest.mark.parametrize("seed", range(20))
def test_weighted_median_is_that_of_repeated_clients(seed):
    draw = np.random.default_rng(seed)
    values = draw.integers(-3, 4, (5, 40)).astype(float)
    counts = draw.integers(1, 6, 5)
    repeated = np.median(np.repeat(values, counts, axis=0), axis=0)
    np.testing.assert_allclose(median(values, counts).vector, repeated, rtol=0, atol=1e-12)


def test_median_share_is_the_fraction_of_coordinates():
    values = np.array([[0.0, 0.0, 5.0, 1.0], [1.0, 9.0, 6.0, 1.0], [2.0, 1.0, 7.0, 3.0]])
    # Middle: client 1, 2, 1, and in the last coordinate clients 0 and 1 alike.
    assert median(values).share == pytest.approx([0.125, 0.625, 0.25])
    even = median(np.array([[0.0], [1.0], [2.0], [9.0]]))
    assert even.vector == pytest.approx([1.5])
    assert even.share == pytest.approx([0, 0.5, 0.5, 0])
    assert even.used.tolist() == [False, True, True, False]


@pytest.mark.parametrize(("n", "trim"), [(5, 1), (5, 0.2), (10, 0.3), (9, 0.0), (100, 0.07), (7, 3)])
def test_trimmed_mean_is_scipys(n, trim, any_block):
    values = updates(n)
    k = trimmed_clients(trim, n)
    expected = trim_mean(values, (k + 1e-9) / n, axis=0)
    np.testing.assert_allclose(trimmed_mean(values, trim).vector, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("seed", range(10))
def test_weighted_trimmed_mean_by_brute_force(seed):
    draw = np.random.default_rng(seed)
    values, weights = draw.normal(0, 1, (6, 11)), draw.integers(1, 50, 6)
    result = trimmed_mean(values, 2, weights)
    shares = np.zeros(6)
    for j in range(values.shape[1]):
        left = np.argsort(values[:, j])[2:-2]
        assert result.vector[j] == pytest.approx(np.average(values[left, j], weights=weights[left]))
        shares[left] += weights[left] / weights[left].sum() / values.shape[1]
    assert result.share == pytest.approx(shares)


def test_trimmed_ties_are_divided_and_the_order_of_clients_does_not_matter():
    values = np.array([[1.0], [1.0], [1.0], [2.0], [2.0]])
    result = trimmed_mean(values, 1)
    assert result.vector == pytest.approx([4 / 3])
    assert result.share == pytest.approx([2 / 9, 2 / 9, 2 / 9, 1 / 6, 1 / 6])
    for order in itertools.permutations(range(5)):
        assert trimmed_mean(values[list(order)], 1).share == pytest.approx(result.share[list(order)])


def test_trimmed_fraction_rounds_up():
    assert [trimmed_clients(t, 5) for t in (0.0, 0.01, 0.2, 0.21, 2)] == [0, 1, 1, 2, 2]
    assert trimmed_clients(0.07, 100) == 7


def reference_krum_scores(values, f):
    n = len(values)
    scores = []
    for i in range(n):
        distances = sorted(((values[i] - values[j]) ** 2).sum() for j in range(n) if j != i)
        scores.append(sum(distances[: n - f - 2]))
    return np.array(scores)


@pytest.mark.parametrize(("n", "f"), [(3, 0), (5, 1), (7, 2), (12, 3)])
def test_krum_by_brute_force(n, f, any_block):
    values = updates(n, seed=n)
    scores = reference_krum_scores(values, f)
    result = krum(list(values), f)
    np.testing.assert_allclose(result.scores, scores, rtol=1e-10)
    np.testing.assert_array_equal(result.vector, values[scores.argmin()])
    assert result.share.tolist() == (np.arange(n) == scores.argmin()).tolist()
    for keep in range(1, n - f + 1):
        chosen = np.argsort(scores)[:keep]
        many = multi_krum(list(values), f, keep)
        np.testing.assert_allclose(many.vector, values[chosen].mean(axis=0), rtol=1e-12)
        assert set(np.flatnonzero(many.used)) == set(chosen)


def test_multi_krum_weights_what_it_keeps():
    values, weights = updates(7, seed=3), np.arange(1, 8)
    result = multi_krum(values, 1, weights=weights)
    chosen = np.flatnonzero(result.used)
    assert len(chosen) == 7 - 1 - 2
    expected = np.average(values[chosen], axis=0, weights=weights[chosen])
    np.testing.assert_allclose(result.vector, expected, rtol=1e-12)


def test_krum_of_equals_takes_the_first():
    assert krum(np.ones((5, 3)), 1).share.tolist() == [1, 0, 0, 0, 0]


def test_small_distances_survive_a_common_shift_and_a_huge_attacker():
    values = updates(5, d=1000) * 1e-6 + 1e4
    values[4] = 1e12
    exact = ((values[:, None] - values[None]) ** 2).sum(axis=-1)
    np.testing.assert_allclose(squared_distances(values), exact, rtol=1e-6, atol=0)


def test_krum_withstands_updates_whose_squares_overflow():
    values = updates(5)
    values[0], values[1] = 1e200, -1e200
    with pytest.raises(InputError):
        krum(values, 2)
    assert krum(values[[0, 2, 3, 4, 2]], 1).share[0] == 0


@pytest.mark.parametrize("rule", ["median", "trimmed-mean", "krum", "multi-krum"])
@pytest.mark.parametrize("attack", [1e30, -1e30, -10.0])
def test_one_attacker_stays_inside_the_honest_range(rule, attack):
    honest = updates(6, seed=1)
    forged = attack * honest.mean(axis=0) if attack == -10.0 else np.full(honest.shape[1], attack)
    result = aggregate(rule, [*honest, forged], trim=1, byzantine=1).vector
    assert (result >= honest.min(axis=0) - 1e-12).all()
    assert (result <= honest.max(axis=0) + 1e-12).all()
    moved = aggregate("mean", [*honest, forged]).vector
    if abs(attack) > 100:
        assert not (moved <= honest.max(axis=0)).all() or not (moved >= honest.min(axis=0)).all()


@pytest.mark.parametrize("rule", RULES)
def test_without_attack_and_noise_every_rule_gives_the_common_update(rule):
    common = updates(1)[0].astype(np.float32)
    result = aggregate(rule, [common] * 5, weights=[1, 2, 3, 4, 5])
    assert result.vector.dtype == np.float32
    np.testing.assert_allclose(result.vector, common, rtol=1e-6)
    assert result.share.sum() == pytest.approx(1)


def test_mean_weighs_by_examples():
    values = updates(3)
    result = mean(values, [10, 30, 60])
    np.testing.assert_allclose(result.vector, np.average(values, axis=0, weights=[10, 30, 60]))
    assert result.share == pytest.approx([0.1, 0.3, 0.6])


@pytest.mark.parametrize("rule", RULES)
def test_memory_is_that_of_blocks(rule, tmp_path, monkeypatch):
    monkeypatch.setattr(in_blocks, "BLOCK_VALUES", 100_000)
    n, d = 20, 400_000
    stored = np.memmap(tmp_path / "updates", np.float32, "w+", shape=(n, d))
    stored[:] = updates(n, 4000, dtype=np.float32).repeat(100, axis=1)
    tracemalloc.start()
    aggregate(rule, stored, byzantine=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    block = 8 * in_blocks.BLOCK_VALUES
    assert peak < 9 * block + 4 * d < n * d * 8 / 5


def test_too_few_clients_are_refused_with_the_remedy():
    with pytest.raises(InputError, match=r"at least 5 clients .* got 4; give --byzantine 0 or less"):
        krum(updates(4), 1)
    with pytest.raises(InputError, match=r"--aggregation mean"):
        check_enough("multi-krum", 2, byzantine=0)
    with pytest.raises(InputError, match="at least 3 clients"):
        median(updates(2))
    with pytest.raises(InputError, match=r"leaves out 2 of 4 clients .* at most 1"):
        check_enough("trimmed-mean", 4, trim=0.5)
    with pytest.raises(InputError, match=r"--trim 1\.5"):
        trimmed_mean(updates(5), 1.5)
    with pytest.raises(InputError, match="keep 1 to 4"):
        multi_krum(updates(5), 1, keep=5)
    with pytest.raises(InputError, match="no client's update"):
        mean([])
    check_enough("krum", 5, byzantine=1)
    check_enough("mean", 1)


def test_wrong_material_is_refused():
    with pytest.raises(ValueError, match="vectors of one length"):
        mean([np.zeros(3), np.zeros(4)])
    with pytest.raises(ValueError, match="vectors of one length"):
        mean([np.zeros((3, 2))])
    with pytest.raises(ValueError, match="int64"):
        mean([np.zeros(3, np.int64)])
    with pytest.raises(ValueError, match="update 1 holds NaN"):
        median([np.zeros(3), np.array([0, np.nan, 0]), np.zeros(3)])
    with pytest.raises(ValueError, match="3 positive numbers"):
        mean(np.zeros((3, 2)), [1, 0, 2])
    with pytest.raises(ValueError, match="'best'"):
        aggregate("best", updates(5))


@pytest.mark.parametrize("secure", ["masking", "ckks"])
def test_rules_that_see_each_update_exclude_secure_sums(secure):
    check_compatible("mean", secure)
    check_compatible("median", "none")
    for rule in ("median", "trimmed-mean", "krum", "multi-krum", "robust-clip"):
        with pytest.raises(InputError, match=f"{rule} with --secure {secure}: .*only their sum"):
            check_compatible(rule, secure)
