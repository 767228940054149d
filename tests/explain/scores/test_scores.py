"""Scores against brute force on models of known attribution, and against quantus and xplique."""

import contextlib
import io
import warnings

import numpy as np
import pytest
import tensorflow as tf

from explain.methods.evidence import Evidence, blurred
from explain.scores import controls, intervals, perturbation
from explain.scores.localisation import CUTS, energy, hit, overlaps
from explain.scores.randomisation import STAGES, cascade
from explain.scores.scoring import Scoring, Subjects
from explain.scores.similarity import rank_correlation
from medimg.models.build import build
from tests.explain.toys import SIZE, bright_spot_model, heat_maps, spots


def linear_model(seed: int = 0) -> tuple[tf.keras.Model, np.ndarray]:
    """Logits of two labels that are weighted sums of 8 x 8 pixels; the weights (8, 8, 2)."""
    weights = np.random.default_rng(seed).normal(0, 1e-3, (64, 2)).astype(np.float32)
    pixels = tf.keras.Input((8, 8, 1))
    dense = tf.keras.layers.Dense(2, name="logits")
    model = tf.keras.Model(pixels, dense(tf.keras.layers.Flatten()(pixels)))
    dense.set_weights([weights, np.zeros(2, np.float32)])
    return model, weights.reshape(8, 8, 2)


@pytest.fixture
def linear():
    model, weights = linear_model()
    draw = np.random.default_rng(1)
    x = draw.uniform(0, 255, (3, 8, 8, 1)).astype(np.float32)
    chosen = np.array([0, 1, 1])
    return Evidence(model, "multilabel"), x, chosen, weights[..., chosen].transpose(2, 0, 1)


@pytest.mark.slow
def test_deletion_and_insertion_are_those_of_xplique(linear):
    from xplique.metrics import Deletion, Insertion

    evidence, x, chosen, weights = linear
    maps = (weights * (x - blurred(x))[..., 0]).astype(np.float32)
    deletion, insertion = perturbation.areas(evidence, [x], chosen, maps, steps=8)
    targets = np.eye(2, dtype=np.float32)[chosen]
    for ours, theirs in ((deletion, Deletion), (insertion, Insertion)):
        reference = theirs(
            evidence.model, x, targets, steps=8, baseline_mode=lambda images: blurred(np.asarray(images)),
            activation="sigmoid",
        ).evaluate(maps)  # fmt: skip
        assert ours.mean() == pytest.approx(reference, abs=1e-5)
    # Of a linear model the exact attribution's order is the best one: no other deletes faster.
    other = perturbation.areas(evidence, [x], chosen, -maps, steps=8)
    assert (deletion < other[0]).all()
    assert (insertion > other[1]).all()


@pytest.mark.slow
def test_faithfulness_is_that_of_quantus(linear):
    import quantus

    evidence, x, chosen, weights = linear
    noisy = (weights + np.random.default_rng(2).normal(0, 1e-3, weights.shape)) * x[..., 0]
    runs, count = 40, 16
    np.random.seed(3)
    hidden = np.zeros((runs, 3, 64), bool)
    for run in range(runs):
        for row in range(3):
            hidden[run, row, np.random.choice(64, count, replace=False)] = True
    whole, ours = evidence.scores([x], chosen), []
    for row in range(3):
        black = np.where(hidden[:, row].reshape(-1, 8, 8, 1), 0, x[row])
        lost = whole[row] - evidence.scores([black], np.full(runs, chosen[row]))
        ours += [*perturbation.faithfulness(noisy[row][None], hidden[:, row].reshape(-1, 8, 8), lost[None])]
    np.random.seed(3)
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = quantus.FaithfulnessCorrelation(
            nr_runs=runs, subset_size=count, normalise=False, perturb_baseline=0.0, return_aggregate=False,
            disable_warnings=True,
            # Its own asks SciPy for an axis that the version here has not.
            similarity_func=lambda a, b, batched: np.diag(np.corrcoef(a, b)[: len(a), len(a) :]),
        )(
            model=evidence.model, x_batch=x, y_batch=chosen, a_batch=noisy[:, None], softmax=False,
            channel_first=False,
        )  # fmt: skip
    np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_of_a_linear_model_the_exact_attribution_is_perfectly_faithful(linear):
    evidence, x, chosen, weights = linear
    exact = weights * (x - blurred(x))[..., 0]
    hidden = perturbation.subsets(8, 0)
    lost = perturbation.drops(evidence, [x], chosen, hidden)
    np.testing.assert_allclose(lost, exact.reshape(3, -1) @ hidden.reshape(len(hidden), -1).T, atol=1e-3)
    np.testing.assert_allclose(perturbation.faithfulness(exact, hidden, lost), 1.0, atol=1e-4)
    assert np.isnan(perturbation.faithfulness(np.ones((3, 8, 8)), hidden * 0, lost)).all()


@pytest.mark.slow
def test_localisation_is_that_of_quantus_and_brute_force():
    import quantus

    draw = np.random.default_rng(0)
    maps = draw.uniform(0, 1, (20, 8, 8))
    regions = draw.random((20, 8, 8)) < 0.3
    of = {"a_batch": maps[:, None], "s_batch": regions[:, None]}
    # Of no meaning to these scores.
    of |= {"model": linear_model()[0], "x_batch": maps[:, None], "y_batch": np.zeros(20, int)}
    quiet = {"normalise": False, "disable_warnings": True, "return_aggregate": False}
    hits = quantus.PointingGame(abs=False, **quiet)(**of)
    pairs = list(zip(maps, regions, strict=True))
    assert [hit(m, r) for m, r in pairs] == [float(h) for h in hits]
    mass = quantus.RelevanceMassAccuracy(abs=False, **quiet)(**of)
    np.testing.assert_allclose([energy(m, r) for m, r in pairs], mass, atol=1e-6)
    for m, r in pairs[:4]:
        for cut, overlap in zip(CUTS, overlaps(m, r), strict=True):
            above = m >= cut * m.max()
            assert overlap == pytest.approx((above & r).sum() / (above | r).sum())
    assert np.isnan(energy(np.zeros((8, 8)), regions[0]))
    assert hit(np.zeros((8, 8)), regions[0]) == pytest.approx(regions[0].mean())


@pytest.mark.slow
def test_rank_correlation_is_spearmans():
    from quantus.functions.similarity_func import correlation_spearman

    draw = np.random.default_rng(0)
    a = np.round(draw.normal(size=(5, 6, 6)), 1)
    b = a + draw.normal(size=a.shape)
    expected = [correlation_spearman(m.ravel(), o.ravel()) for m, o in zip(a, b, strict=True)]
    np.testing.assert_allclose(rank_correlation(a, b), expected, atol=1e-9)
    flat = np.zeros((1, 6, 6))
    assert rank_correlation(flat, a[:1])[0] == 0
    assert np.isnan(rank_correlation(flat, flat)[0])


def test_a_cascade_changes_all_layers_in_the_end_and_leaves_the_model_as_it_is():
    model = build("baseline_cnn", SIZE, 1, 2, model_arg={"width": "4", "stages": "2"})
    before = [w.copy() for w in model.get_weights()]
    clone = tf.keras.models.clone_model(model)
    stages = [[w.copy() for w in copy.get_weights()] for copy in cascade(model, clone, 0)]
    assert len(stages) == STAGES
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    changed = [sum(not np.array_equal(a, b) for a, b in zip(before, stage, strict=True)) for stage in stages]
    assert changed == sorted(changed)
    assert changed[0] == 1
    # A permutation: nothing is lost; what is the same number everywhere stays.
    for a, b in zip(before, stages[-1], strict=True):
        np.testing.assert_array_equal(np.sort(a.ravel()), np.sort(b.ravel()))
        assert not np.array_equal(a, b) or len(np.unique(a)) == 1


class Explaining:
    """Of a toy, what scores ask of an Explainer."""

    def __init__(self, model):
        self.model, self.evidence = model, Evidence(model, "binary")

    def with_model(self, model):
        return Explaining(model)


@pytest.fixture(scope="module")
def scoring():
    x, region = spots(n=8)
    ones, patients = np.ones(8, int), np.arange(8) // 2
    region[0] = False
    region[0, 3, 3] = True
    subjects = Subjects([x], ones, patients, region)
    return Scoring(Explaining(bright_spot_model()), subjects, subjects, subjects, 0)


def test_a_method_that_shows_the_evidence_beats_maps_that_know_nothing(scoring):
    found, maps = scoring.of(lambda one, inputs, chosen: heat_maps(one.model, inputs[0], chosen, "hirescam"), cell=2.0)
    assert maps.shape == (8, SIZE, SIZE)
    assert found["n"] == {
        "images": 8, "patients": 4, "findings": 7, "findings_smaller_than_a_cell": 1, "cell_pixels": 2.0,
    }  # fmt: skip
    assert found["pointing_game"]["value"] == 1.0
    assert found["pointing_game"]["low"] < 1.0
    assert set(found["controls"]) == {"random", "centre", "edges"}
    for name, its in found["controls"].items():
        assert set(its) == set(found) - {"controls", "n"}
        for score, better in (
            ("deletion", -1),
            ("insertion", 1),
            ("faithfulness", 1),
            ("iou", 1),
            ("energy_in_box", 1),
        ):
            assert better * (found[score]["value"] - its[score]["value"]) > 0, (name, score)


def test_the_randomisation_check_fails_an_edge_detector(scoring):
    found, _ = scoring.of(lambda one, inputs, chosen: controls.edges(inputs[0]), cell=1.0)
    assert found["randomisation"] == {
        "value": pytest.approx(1.0),
        "low": pytest.approx(1.0),
        "high": pytest.approx(1.0),
    }
    ours, _ = scoring.of(lambda one, inputs, chosen: heat_maps(one.model, inputs[0], chosen, "gradcam"), cell=1.0)
    assert ours["randomisation"]["high"] < 0.9
    assert ours["controls"]["edges"]["randomisation"]["low"] == pytest.approx(1.0)
    assert abs(ours["controls"]["random"]["randomisation"]["value"]) < 0.2


def test_intervals_are_by_patient_and_leave_out_what_is_not_defined():
    values, patients = np.array([1.0, 1.0, 0.0, np.nan, 0.5]), np.array(["a", "a", "b", "b", "c"])
    found = intervals.mean(values, patients)
    assert found["value"] == pytest.approx(2.5 / 4)
    assert found["low"] == 0.0
    assert found["high"] == 1.0
    assert intervals.mean(values[:2], patients[:2]) == {"value": 1.0, "low": None, "high": None}
    assert intervals.mean(values[:0], patients[:0])["value"] is None
    both = intervals.ratio(np.array([2.0, 4.0, 6.0]), np.array([1.0, 2.0, 3.0]), np.array(["a", "b", "c"]))
    assert tuple(both.values()) == pytest.approx((2, 2, 2))
    from statsmodels.stats.proportion import proportion_confint

    hits = np.array([1, 1, 0, 1, 0, 0, 1, 1])
    share = intervals.share(hits, np.arange(8) // 2)
    assert (share["low"], share["high"]) == pytest.approx(proportion_confint(5 / 8 * 4, 4, method="wilson"))
