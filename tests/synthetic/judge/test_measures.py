"""The measures against closed forms, brute force and libraries."""

from itertools import combinations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score

from medimg.errors import InputError
from synthetic.judge import attribute, closest, membership, thresholds
from synthetic.judge.config import JudgeConfig
from synthetic.judge.figures import distance_figure
from synthetic.judge.frechet import frechet_distance
from synthetic.judge.neighbours import credit, nearest, radii
from synthetic.judge.permutation import p_value
from synthetic.judge.pictures import low_frequencies
from synthetic.judge.prdc import prdc
from synthetic.judge.similarity import WEIGHTS, ms_ssim

pytestmark = pytest.mark.final_figures


@pytest.fixture
def draw():
    return np.random.default_rng(0)


def test_nearest_is_brute_force_and_leaves_own_group_out(draw):
    queries, candidates = draw.normal(size=(30, 4)), draw.normal(size=(50, 4))
    groups = np.arange(30) % 5, np.arange(50) % 5
    distances, positions = nearest(queries, candidates, 3, groups)
    for i in range(30):
        every = np.linalg.norm(candidates - queries[i], axis=1)
        every[groups[1] == groups[0][i]] = np.inf
        assert positions[i].tolist() == np.argsort(every)[:3].tolist()
        assert distances[i] == pytest.approx(np.sort(every)[:3])


def test_nearest_with_too_few_candidates_is_at_infinity():
    distances, _ = nearest(np.zeros((2, 1)), np.ones((1, 1)), 3)
    assert distances.tolist() == [[1.0, np.inf, np.inf]] * 2


def test_credit_is_shared_by_candidates_at_the_same_distance():
    made, pool = np.array([[0.0], [0.0], [5.0]]), np.array([[-1.0], [1.0], [1.0], [5.5]])
    assert credit(made, pool) == pytest.approx([2 / 3, 2 / 3, 2 / 3, 1])


def test_radii_are_those_of_the_kth_other_point(draw):
    points = draw.normal(size=(20, 3))
    assert radii(points, 4) == pytest.approx(np.sort(cdist(points, points), axis=1)[:, 4])


def test_prdc_is_the_paper_in_plain_loops(draw):
    real, fake, k = draw.normal(size=(25, 2)), draw.normal(0.8, 1.3, size=(18, 2)), 3
    real_radius = np.sort(cdist(real, real), axis=1)[:, k]
    fake_radius = np.sort(cdist(fake, fake), axis=1)[:, k]
    inside = np.array([[np.linalg.norm(r - f) < s for f in fake] for r, s in zip(real, real_radius, strict=True)])
    around = np.array([[np.linalg.norm(r - f) < s for f, s in zip(fake, fake_radius, strict=True)] for r in real])
    assert prdc(real, fake, k) == pytest.approx(
        {
            "precision": np.mean([inside[:, j].any() for j in range(18)]),
            "recall": np.mean([around[i].any() for i in range(25)]),
            "density": inside.sum() / (k * 18),
            "coverage": np.mean([inside[i].any() for i in range(25)]),
        }
    )


def test_frechet_distance_of_one_dimension_and_of_a_shift(draw):
    first, second = draw.normal(size=(40, 1)), 3 + 2 * draw.normal(size=(60, 1))
    expected = (first.mean() - second.mean()) ** 2 + (first.std(ddof=1) - second.std(ddof=1)) ** 2
    assert frechet_distance(first, second) == pytest.approx(expected)
    points = draw.normal(size=(40, 6)) @ draw.normal(size=(6, 6))
    assert frechet_distance(points, points + 2.0) == pytest.approx(6 * 4.0)


def test_frechet_distance_is_the_matrix_square_root(draw):
    from scipy.linalg import sqrtm

    first, second = draw.normal(size=(50, 5)), draw.normal(size=(50, 5)) @ draw.normal(size=(5, 5))
    one, two = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    shift = first.mean(axis=0) - second.mean(axis=0)
    expected = shift @ shift + np.trace(one + two - 2 * sqrtm(one @ two).real)
    assert frechet_distance(first, second) == pytest.approx(expected)


@pytest.mark.parametrize("size", [28, 64])
def test_ms_ssim_is_tensorflows(size, draw):
    import tensorflow as tf

    first = draw.uniform(0, 255, (4, size, size))
    second = np.clip(first + draw.normal(0, 40, first.shape), 0, 255)
    scales = {28: 2, 64: 3}[size]
    factors = np.array(WEIGHTS[:scales]) / sum(WEIGHTS[:scales])
    expected = tf.image.ssim_multiscale(
        tf.constant(first[..., None], tf.float32),
        tf.constant(second[..., None], tf.float32),
        255,
        power_factors=factors.tolist(),
    ).numpy()
    assert ms_ssim(first, second) == pytest.approx(expected, abs=1e-4)
    assert ms_ssim(first, first) == pytest.approx(np.ones(4))


def test_low_frequencies_keep_the_energy_of_a_smooth_image():
    flat = np.full((1, 40, 40, 1), 7.0, np.float32)
    assert low_frequencies(flat)[0] == pytest.approx([7.0] + [0.0] * 63, abs=1e-4)
    ramp = np.tile(np.linspace(0, 255, 32, dtype=np.float32), (32, 1))[None, :, :, None]
    kept = np.linalg.norm(low_frequencies(ramp))
    assert kept == pytest.approx(np.sqrt((ramp**2).mean()), rel=2e-3)


def test_share_closer_to_train_does_not_depend_on_the_sizes_of_the_parts():
    pool = np.concatenate([np.arange(60), np.arange(20) + 100.0])[:, None]
    member, patients = np.arange(80) < 60, np.arange(80)
    # 30 of 40 are at train, which is three times as large: no more than by chance.
    made = np.concatenate([np.arange(30), np.arange(10) + 100.0])[:, None]
    found = closest.closer_to_train(made, pool, member, patients, 200, 0)
    assert found["value"] == pytest.approx(0.5)
    assert found["p"] > 0.2
    assert found["low"] < 0.5 < found["high"]


def test_credit_of_one_patient_is_of_no_more_than_one():
    """All synthetic rows lie nearest to one training patient: every resample with that patient says 1."""
    draw = np.random.default_rng(0)
    pool = draw.normal(size=(40, 3))
    found = closest.closer_to_train(
        np.repeat(pool[:1], 30, axis=0) + 0.001, pool, np.arange(40) < 20, range(40), 200, 0
    )
    assert (found["value"], found["high"]) == (1.0, 1.0)
    assert found["low"] == pytest.approx(0.025)


def test_a_copycat_is_closer_to_train_and_an_outsider_is_not(draw):
    pool = draw.normal(size=(120, 5))
    member, patients = np.arange(120) < 70, np.arange(120) // 2
    copied = closest.closer_to_train(pool[:70] + 0.01, pool, member, patients, 300, 0)
    assert copied["value"] > 0.95
    assert copied["p"] < 0.01
    fresh = closest.closer_to_train(draw.normal(size=(70, 5)), pool, member, patients, 300, 0)
    assert fresh["p"] > 0.01


def test_distance_ratio_of_a_copy_is_0_and_of_a_tie_1():
    train = np.array([[0.0], [3.0], [10.0], [10.0]])
    assert closest.distance_ratio(np.array([[0.0]]), train)["median"] == 0.0
    assert closest.distance_ratio(np.array([[1.0]]), train)["median"] == pytest.approx(0.5)
    assert closest.distance_ratio(np.array([[10.0]]), train)["median"] == 1.0


def test_p_is_that_of_all_exchanges():
    values, member = np.array([5.0, 4.0, 1.0, 2.0, 3.0, 0.0]), np.arange(6) < 2

    def total(members):
        return members @ values

    every = [values[list(pair)].sum() for pair in combinations(range(6), 2)]
    exact = np.mean([one >= 9.0 for one in every])
    assert p_value(total, member, list("abcdef"), 4000, 0) == pytest.approx(exact, abs=0.015)


def test_patients_are_exchanged_as_a_whole():
    member = np.array([True, True, False, False])
    seen = []

    def watch(members):
        seen.append(members)
        return members[:, 0] * 1.0

    p_value(watch, member, ["a", "a", "b", "b"], 50, 0)
    drawn = np.concatenate(seen)
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert (drawn[:, 2] == drawn[:, 3]).all()
    assert 0 < drawn[:, 0].mean() < 1


def test_membership_is_told_by_distance(draw):
    pool = draw.normal(size=(80, 6))
    member, patients = np.arange(80) < 40, np.arange(80)
    made = pool[:40] + draw.normal(0, 0.3, (40, 6))
    found = membership.infer(made, pool, member, patients, 200, 0)
    score = membership.scores(made, pool, patients)["distance"]
    assert found["distance"]["auc"]["value"] == pytest.approx(roc_auc_score(member, score))
    assert found["distance"]["auc"]["low"] > 0.8
    assert found["calibrated"]["p"] < 0.01
    fresh = membership.infer(draw.normal(size=(40, 6)), pool, member, patients, 200, 0)
    assert min(attack["p"] for attack in fresh.values()) > 0.01


def test_the_fewest_resamples_let_a_leak_sound_every_alarm(draw):
    pool = draw.normal(size=(80, 6))
    least = JudgeConfig(bootstrap=thresholds.LEAST_RESAMPLES).bootstrap
    found = membership.infer(pool[:40], pool, np.arange(80) < 40, np.arange(80), least, 0)
    assert len(found) == thresholds.ATTACKS
    for attack in found.values():
        assert attack["p"] == 1 / (least + 1) < thresholds.ALARM_P / len(found)
    assert 1 / least >= thresholds.ALARM_P / len(found)
    with pytest.raises(InputError, match=f"bootstrap.*at least {least}"):
        JudgeConfig(bootstrap=least - 1)


def test_the_features_of_distances_are_named_in_full_within_the_figure():
    name = "low frequencies of the pixels (8 x 8 coefficients of the discrete cosine transform at 28 px; no network)"
    figure = distance_figure({"synthetic": np.arange(9.0), "held out": np.arange(9.0)}, name)
    figure.canvas.draw()
    label = figure.axes[0].xaxis.label
    assert " ".join(label.get_text().split()).endswith(name)
    drawn = label.get_window_extent()
    assert drawn.x0 >= 0
    assert drawn.x1 <= figure.bbox.x1


def test_attribute_inference_sees_the_excess_over_held_out_patients(draw):
    n = 120
    known = draw.normal(size=(2 * n, 3))
    secret = draw.integers(0, 4, 2 * n).astype(float)
    encoded = np.column_stack([known, secret == 0, secret == 1, secret == 2, secret == 3])
    sources = ("a", "b", "c", *("secret",) * 4)
    values = np.column_stack([known, secret])
    parts = (slice(0, n), slice(0, n), slice(n, 2 * n))
    found = attribute.infer(
        ("a", "b", "c", "secret"),
        tuple(encoded[part] for part in parts),
        sources,
        tuple(values[part] for part in parts),
        (True, True, True, False),
    )
    assert found["secret"]["train"] == 1.0
    rest = cdist(known[n:], known[:n]).argmin(axis=1)
    assert found["secret"]["test"] == pytest.approx((secret[:n][rest] == secret[n:]).mean())
    assert found["secret"]["excess"]["low"] > 0.5
    apart = attribute.infer(
        ("secret",),
        tuple(encoded[p] for p in (slice(0, 80), slice(80, 160), slice(160, 240))),
        sources,
        tuple(values[p, 3:] for p in (slice(0, 80), slice(80, 160), slice(160, 240))),
        (False,),
    )
    assert apart["secret"]["excess"]["low"] < 0


def test_attribute_inference_counts_patients(draw):
    """Ten times the rows of the same patients are no better evidence."""
    known, secret = draw.normal(size=(24, 2)), draw.integers(0, 3, 24).astype(float)
    encoded, values = np.column_stack([known, np.eye(3)[secret.astype(int)]]), np.column_stack([known, secret])
    each = [np.repeat(np.arange(12), 10), np.repeat(np.arange(12, 24), 10)]
    parts = (np.arange(12), *each)
    of = (("a", "b", "secret"), tuple(encoded[part] for part in parts), ("a", "b", *("secret",) * 3))
    of = (*of, tuple(values[part] for part in parts), (True, True, False))
    by_rows, by_patient = attribute.infer(*of)["secret"], attribute.infer(*of, each)["secret"]
    parts = (np.arange(12), np.arange(12), np.arange(12, 24))
    of = (of[0], tuple(encoded[part] for part in parts), of[2], tuple(values[part] for part in parts), of[4])
    assert by_patient == attribute.infer(*of)["secret"]
    assert by_patient["train"] == by_rows["train"] == 1.0
    assert by_patient["excess"]["low"] < by_rows["excess"]["low"] - 0.1
