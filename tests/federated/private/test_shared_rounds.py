"""A site's round under noise in shares, and the sum that masking opens: exact, and with the noise that is counted."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import tensorflow as tf

from federated.engine.records import Layout
from federated.engine.state import State
from federated.private.noise_shares import NoiseShares, SharedStep
from federated.secure.keys import identities
from federated.secure.masking import masked_sum
from federated.secure.network import silent_from
from federated.tff.local_model import LocalModel
from federated.tff.shared_rounds import SharedPool, SharedRounds, _whole
from medimg.errors import InputError
from medimg.models.build import build
from medimg.models.tabular import build_tabular
from tests.federated.private.conftest import TRAINING, _gradient

LAYOUT = Layout((6,), "float32", (), "int64")
RATE_OVER_BATCH, CLIP, NOISE = 0.01, 0.7, 3.0


@cache
def mlp(width=8, dropout=0.0):
    tf.keras.utils.set_random_seed(3)
    return build_tabular("mlp", 6, 3, dropout, {"width": width, "l2": 0.0})


@cache
def rounds_of(model, layout=LAYOUT, clients=4, threshold=4, noise=NOISE, training=TRAINING, clip=CLIP):
    size = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    shares = NoiseShares(clients, threshold, clip * RATE_OVER_BATCH, size, 1024.0)
    step = SharedStep(shares, shares.mechanism(noise), clip, training)
    return SharedRounds(LocalModel(model, "multiclass"), layout, step, seed=5), step


def state_of(model, shift=0.0) -> State:
    return State(0, [w + np.float32(shift) for w in model.get_weights()], [], [], [])


def flat(arrays) -> np.ndarray:
    return np.concatenate([np.ravel(array) for array in arrays])


def whole(vectors, step) -> np.ndarray:
    """The vectors in steps of the grid, which they must be multiples of."""
    found = flat(vectors) / step.shares.unit
    assert (found == np.rint(found)).all()
    return found.astype(np.int64)


def test_the_sum_is_that_of_clipped_gradients_cut_off_towards_zero(site):
    here, model = site(rows=60, patients=25), mlp()
    rounds, step = rounds_of(model)
    expected, clipped = [np.zeros_like(w, np.float64) for w in model.get_weights()], 0
    for patient in np.unique(here.owners):
        gradient = _gradient(model, here, np.flatnonzero(here.owners == patient))
        norm = math.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in gradient))
        clipped += norm > CLIP
        expected = [e + g / max(1.0, norm / CLIP) for e, g in zip(expected, gradient, strict=True)]
    assert clipped > 3
    found = rounds.sums(state_of(model), here.data, 1)
    assert all(array.dtype == np.int64 for array in found)
    in_steps = flat(expected) * RATE_OVER_BATCH / step.shares.unit
    # A step a patient for cutting off, and float32's rounding of a gradient.
    assert np.abs(flat(found) - in_steps).max() < 25 + 2e-5 * 25 * step.shares.sensitivity
    assert np.abs(in_steps).max() > 1e5


@pytest.mark.parametrize("without", [0, 7, 24])
def test_a_patient_moves_the_sum_by_what_is_counted_and_nobody_else_at_all(site, without):
    """Exact: were another's contribution other by a rounding, or its dropout, the difference would be larger."""
    model = mlp(dropout=0.5)
    rounds, step = rounds_of(model)
    every, others = site(rows=60, patients=25, fixed=1), site(rows=60, patients=25, fixed=1, without=without)
    state = state_of(model)
    moved = flat(rounds.sums(state, every.data, 1)) - flat(rounds.sums(state, others.data, 1))
    assert 0 < sum(int(x) ** 2 for x in moved) <= step.shares.sensitivity**2


def test_a_clipped_patient_moves_it_by_nearly_all_that_is_counted(site):
    model = mlp()
    rounds, step = rounds_of(model, clip=1e-3)
    one = site(rows=1, patients=1)
    norm = math.sqrt(sum(int(x) ** 2 for x in flat(rounds.sums(state_of(model), one.data, 1))))
    assert (1 - 2e-4) * step.shares.sensitivity < norm <= step.shares.sensitivity


def test_a_patient_whose_gradient_is_no_number_counts_as_absent(site):
    from federated.engine import records
    from federated.private.site_key import with_key

    here, model = site(rows=60, patients=25, fixed=1), mlp()
    rounds, _ = rounds_of(model)
    x = here.x.copy()
    x[here.owners == 7] = np.inf
    names = [f"patient {owner:03d}" for owner in here.owners]
    folder = here.data.folder + " broken"
    broken = with_key(records.write(folder, "site", x, here.y, here.weights, units=names), 1)
    without = site(rows=60, patients=25, fixed=1, without=7)
    sums = [flat(rounds.sums(state_of(model), data, 1)) for data in (broken, without.data)]
    assert (sums[0] == sums[1]).all()


@pytest.mark.parametrize("value", [1.0, -1.5, 1e9, 3.1e9, 2.0**32, -(2.0**40), 1e25, -3e38, math.inf, math.nan])
def test_no_contribution_is_too_large_to_be_seen(value):
    """2^32 squared is 0 in int64, and what goes beyond int64 becomes -2^63, whose square is 0 as well."""
    rest = np.full(9, 0.25, np.float32)
    most = tf.constant(2**40, tf.int64)
    found = flat(_whole([tf.constant([value], tf.float32), tf.constant(rest)], 8.0, most))
    assert found.dtype == np.int64
    fits = abs(value) < 2.0
    assert found.tolist() == ([int(8 * value), *[2] * 9] if fits else [0] * 10)


def test_a_contribution_counts_up_to_the_sensitivity_and_not_beyond():
    for squares, counts in ((2**40, True), (2**40 - 1, False), (2**40 - 2**21, False)):
        (found,) = _whole([tf.constant([2.0**20, 0.0])], 1.0, tf.constant(squares, tf.int64))
        assert found.numpy().tolist() == ([2**20, 0] if counts else [0, 0])


def test_a_clip_that_float32_has_no_norms_for():
    """Gradients of 1e-22 have a norm of 0 and are clipped by nothing; a large rate makes the update an ordinary one."""
    _, step = rounds_of(mlp())
    with pytest.raises(InputError, match="--dp-clip 1e-30: must be 1e-12 or more"):
        SharedRounds(LocalModel(mlp(), "multiclass"), LAYOUT, replace(step, l2_norm_clip=1e-30), seed=5)


def test_images_too(site):
    tf.keras.utils.set_random_seed(3)
    model = build("baseline_cnn", 8, 1, 2, norm="group", dropout=0.0, model_arg={"width": 8, "stages": 1})
    here = site(rows=12, patients=5, shape=(8, 8, 1), fixed=1)
    rounds, step = rounds_of(model, here.layout)
    others = site(rows=12, patients=5, shape=(8, 8, 1), fixed=1, without=2)
    moved = flat(rounds.sums(state_of(model), here.data, 1)) - flat(rounds.sums(state_of(model), others.data, 1))
    assert 0 < sum(int(x) ** 2 for x in moved) <= step.shares.sensitivity**2


def test_a_round_that_is_repeated_draws_the_same_and_any_other_does_not(site):
    here, other, model = site(rows=10, patients=5), site(name="other", rows=10, patients=5), mlp()
    rounds, step = rounds_of(model)

    def noise(rounds=rounds, data=here.data, shift=0.0, number=1):
        state = state_of(model, shift)
        sums = flat(rounds.sums(state, data, number))
        return whole(rounds.update(state, data, None, number, 1.0).vectors, step) - sums

    again = noise()
    assert (noise(rounds_of.__wrapped__(model)[0]) == again).all()
    renamed = rounds_of(model, training="11ff00ff00ff00ff")[0]
    # Of other weights, another round, other options and another key.
    for changed in (noise(shift=1e-3), noise(number=2), noise(renamed), noise(data=other.data)):
        assert abs(np.corrcoef(changed, again)[0, 1]) < 5 / math.sqrt(len(again))
        assert (changed != again).mean() > 0.99


def test_a_part_of_the_step_is_all_of_it(site):
    here, model = site(rows=10, patients=5), mlp()
    rounds, _ = rounds_of(model)
    one, half = (rounds.update(state_of(model), here.data, None, 1, part).vectors for part in (1.0, 0.5))
    assert (flat(one) == flat(half)).all()


@pytest.fixture
def four(site):
    return [replace(site(name=name, rows=30, patients=12, seed=i).data, name=name) for i, name in enumerate("abcd")]


def opened(pool, model, four, threshold, absent=()):
    """The sum that masking opens of a round, and what it should be without noise; both in steps of the grid."""
    state = state_of(model)
    updates, _ = pool.updates(state, [client.name for client in four], 1, {})
    vectors = {name: flat(update.vectors) for name, update in updates.items()}
    total = masked_sum(
        vectors,
        identities=identities(list(vectors), None),
        threshold=threshold,
        limit=1024.0,
        max_weight=1.0,
        network=silent_from(dict.fromkeys(absent, "mask")),
    )
    return total, vectors


def test_the_opened_sum_is_exact_and_has_the_noise_that_is_counted(four):
    """The variance by its closed form, to five deviations of that of so many numbers."""
    model = mlp(width=300)
    loud = 10 * NOISE
    rounds, step = rounds_of(model, threshold=4, noise=loud)
    total, vectors = opened(SharedPool(rounds, four), model, four, 4)
    in_steps = total.total / step.shares.unit
    # Whole numbers beyond what float32 holds, to the last one.
    exact = sum(whole([vector], step) for vector in vectors.values())
    assert (in_steps == exact).all()
    assert np.abs(exact).max() > 2**24
    assert (flat(vectors["a"].astype(np.float32)) != vectors["a"]).any()
    sums = sum(flat(rounds.sums(state_of(model), client, 1)) for client in four)
    noise = (exact - sums).astype(np.float64)
    share, count = step.mechanism.share_variance, len(noise)
    tolerance = 5 * math.sqrt(2 / count)
    assert count > 2500
    assert noise.var() == pytest.approx(4 * share, rel=tolerance)
    # All that the guarantee counts on, three of four, and more: the fourth site's.
    assert 3 * share >= (loud * step.shares.sensitivity) ** 2
    assert noise.mean() == pytest.approx(0, abs=5 * math.sqrt(4 * share / count))


def test_a_site_that_drops_out_leaves_enough(four):
    model = mlp(width=300)
    rounds, step = rounds_of(model, threshold=3)
    total, vectors = opened(SharedPool(rounds, four), model, four, 3, absent=["c"])
    assert set(total.included) == set("abd")
    sums = sum(flat(rounds.sums(state_of(model), client, 1)) for client in four if client.name != "c")
    noise = total.total / step.shares.unit - sums
    needed, count = (NOISE * step.shares.sensitivity) ** 2, len(noise)
    assert step.mechanism.shares == 2
    assert noise.var() == pytest.approx(3 * needed / 2, rel=5 * math.sqrt(2 / count))
    # One of the three takes its own off, sum and noise: the rest has all that is counted on.
    left = noise - (whole([vectors["a"]], step) - flat(rounds.sums(state_of(model), four[0], 1)))
    assert left.var() == pytest.approx(needed, rel=5 * math.sqrt(2 / count))


def test_a_share_alone_is_less_than_the_guarantee_needs(four):
    """Why no update may leave but in the sum."""
    model = mlp(width=300)
    rounds, step = rounds_of(model, threshold=4)
    state = state_of(model)
    noise = whole(rounds.update(state, four[0], None, 1, 1.0).vectors, step) - flat(rounds.sums(state, four[0], 1))
    needed = (NOISE * step.shares.sensitivity) ** 2
    assert noise.astype(float).var() == pytest.approx(needed / 3, rel=5 * math.sqrt(2 / len(noise)))
