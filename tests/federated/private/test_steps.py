import numpy as np
import pytest
import tensorflow as tf

from federated.algorithms.strategy import Strategy
from federated.engine import local_training
from federated.engine.local_training import LocalTraining
from federated.engine.records import Layout
from federated.private import draws, stream
from federated.private.steps import PatientSteps, SiteMechanism, steps_of
from federated.tff.client_work import ClientWork
from federated.tff.local_model import LocalModel
from medimg.errors import InputError
from medimg.models.build import build
from medimg.models.tabular import build_tabular
from tests.federated.private.conftest import RATE, TRAINING, Bench, difference, reference, share
from tests.federated.tff.conftest import one_round

LAYOUT = Layout((6,), "float32", (), "int64")
MECHANISMS = {
    "quiet": SiteMechanism(40, 20, 0.0),
    "loud": SiteMechanism(40, 20, 1.5),
    "rare": SiteMechanism(10**12, 1, 1.5),
}


def mlp(width):
    tf.keras.utils.set_random_seed(3)
    return build_tabular("mlp", 6, 3, 0.0, {"width": width, "l2": 0.0})


def cnn():
    tf.keras.utils.set_random_seed(3)
    return build("baseline_cnn", 8, 1, 2, norm="group", dropout=0.0, model_arg={"width": 8, "stages": 1})


@pytest.fixture(scope="module")
def small_chunks():
    before, draws.CHUNK = draws.CHUNK, 16
    yield
    draws.CHUNK = before


@pytest.fixture(scope="module")
def bench(small_chunks):
    return Bench(mlp(width=64), LAYOUT, MECHANISMS, 0.7)


def zeros(vectors):
    return [np.zeros_like(v) for v in vectors]


@pytest.mark.slow
def test_without_noise_the_round_is_clipped_sgd_on_the_drawn_patients(site, bench):
    here = site(rows=120)
    expected, sizes = reference(bench.model, here, MECHANISMS["quiet"], 0.7, steps=3)
    # Several chunks a step.
    assert len(sizes) > 6
    found, measures = bench.update(here, "quiet", steps=3)
    assert difference(found, expected) < 1e-6
    assert difference(found, zeros(found)) > 1e-3
    # What is not private is not told.
    assert np.isnan(measures["loss"])
    assert np.isnan(measures["accuracy"])


@pytest.mark.slow
def test_without_clip_and_noise_the_round_is_sgd(site, small_chunks):
    here, model = site(rows=120), mlp(width=5)
    plain = Bench(model, LAYOUT, MECHANISMS | {"loud": MECHANISMS["quiet"], "rare": MECHANISMS["quiet"]}, float("inf"))
    expected, _ = reference(model, here, MECHANISMS["quiet"], float("inf"), steps=3)
    assert difference(plain.update(here, "quiet", steps=3)[0], expected) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "shape"), [(40, (6,)), (20, (6,)), (20, (8, 8, 1))])
def test_a_patient_moves_a_steps_sum_by_at_most_the_clip(site, small_chunks, batch, shape):
    """Dropout and sampling of the others stay as they were, whoever is left out."""
    clip, mechanism = 0.3, {"quiet": SiteMechanism(40, batch, 0.0)}
    tf.keras.utils.set_random_seed(3)
    if len(shape) == 1:
        model = build_tabular("mlp", 6, 3, 0.5, {"width": 16, "l2": 0.0})
    else:
        model = build("baseline_cnn", 8, 1, 2, norm="group", dropout=0.5, model_arg={"width": 8, "stages": 1})
    here = site(rows=90, patients=40, shape=shape, fixed=1)
    bench = Bench(model, here.layout, mechanism, clip)
    moved = []
    for seed in ((1, 2), (-5, 7)):
        everyone = bench.update(here, "quiet", seed=seed)[0]
        for left_out in (0, 17, 39):
            rest = site(rows=90, patients=40, shape=shape, fixed=1, without=left_out)
            found = bench.update(rest, "quiet", seed=seed)[0]
            parts = [(a - b).ravel() for a, b in zip(everyone, found, strict=True)]
            moved.append(np.linalg.norm(np.concatenate(parts).astype(float)) * batch / RATE / clip)
    assert max(moved) <= 1 + 1e-4
    assert max(moved) > 0.9


@pytest.mark.slow
def test_noise_has_the_promised_deviation_and_is_the_clips_alone(site, bench):
    here = site()
    quiet, loud = (bench.update(here, name)[0] for name in ("quiet", "loud"))
    noise = np.concatenate([(a - b).ravel() for a, b in zip(loud, quiet, strict=True)])
    deviation, n = RATE * 1.5 * 0.7 / 20, len(noise)
    assert n > 4000
    assert noise.std() == pytest.approx(deviation, rel=4 / np.sqrt(2 * n))
    assert abs(noise.mean()) < 4 * deviation / np.sqrt(n)
    # Gaussian in the tails too, and no variable shares another's noise.
    assert np.mean(np.abs(noise) > 2 * deviation) == pytest.approx(0.0455, abs=0.015)
    first, second = ((loud[i] - quiet[i]).ravel()[:190] for i in (0, 2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.3


@pytest.mark.slow
def test_every_step_has_noise_of_its_own(site, bench):
    """Had all steps the same noise, that of four would deviate four times as much as that of one, not twice."""
    nobody = site()
    one, four = (np.concatenate([v.ravel() for v in bench.update(nobody, "rare", steps=steps)[0]]) for steps in (1, 4))
    # No patient is ever drawn: what is released is noise alone.
    assert one.std() == pytest.approx(RATE * 1.5 * 0.7, rel=0.05)
    assert four.std() == pytest.approx(2 * RATE * 1.5 * 0.7, rel=0.05)


def test_a_repeated_round_is_identical_and_nothing_else_is(site, bench):
    here = site()
    base = bench.update(here, "loud")[0]
    assert difference(base, bench.update(here, "loud")[0]) == 0
    moved = [w + np.float32(1e-6) for w in bench.model.get_weights()]
    assert difference(base, bench.update(here, "loud", seed=(1, 3))[0]) > 0.005
    assert difference(base, bench.update(here, "loud", weights=moved)[0]) > 0.005
    told = share(bench.model, here, 1)
    keys = [stream.round_key(told, training).numpy() for training in (1, 1, 2)]
    assert np.array_equal(keys[0], keys[1])
    assert not np.array_equal(keys[0], keys[2])


def test_two_sites_draw_differently_and_a_fixed_seed_repeats(site, bench):
    updates = {
        name: bench.update(site(name, fixed=fixed), "loud")[0]
        for name, fixed in (("a", None), ("b", None), ("c", 7), ("d", 7))
    }
    assert difference(updates["a"], updates["b"]) > 0.005
    # Two sites under one fixed seed have different noise, or their difference would be bare.
    assert difference(updates["c"], updates["d"]) > 0.005
    assert difference(updates["c"], bench.update(site("c", fixed=7), "loud")[0]) == 0


def test_steps_of_a_round():
    assert steps_of(LocalTraining(epochs=2, batch_size=32), SiteMechanism(70, 32, 1.0)) == 6
    assert steps_of(LocalTraining(steps=5), SiteMechanism(70, 32, 1.0)) == 5
    # A site smaller than a batch: everyone in every step.
    assert steps_of(LocalTraining(epochs=3, batch_size=32), SiteMechanism(9, 9, 1.0)) == 3


def test_records_that_do_not_fit_the_plan_are_refused(site):
    data = site(patients=30).data
    steps = PatientSteps({"site": SiteMechanism(31, 10, 1.0)}, 1.0, TRAINING)
    with pytest.raises(InputError, match="30 patients, and the privacy plan is for 31"):
        steps.planned(LocalTraining(), data, 0, 1)
    with pytest.raises(InputError, match="client other"):
        steps.planned(LocalTraining(), site("other").data, 0, 1)


@pytest.mark.parametrize("strategy", ["fedsgd", "mimelite"])
def test_full_gradients_are_refused(strategy):
    steps = PatientSteps({"site": SiteMechanism(30, 10, 1.0)}, 1.0, TRAINING)
    model = LocalModel(mlp(5), "multiclass")
    with pytest.raises(InputError, match=f"--strategy {strategy}"):
        ClientWork(model, LAYOUT, LocalTraining(), Strategy(strategy), steps=steps)


def engine(execution, sites, model, strategy, local, noise, clip):
    from federated.tff.engine import Engine

    data = [made.data for made in sites]
    mechanisms = {client.name: SiteMechanism(client.units, 10, noise) for client in data}
    steps, layout = PatientSteps(mechanisms, clip, TRAINING), sites[0].layout
    local_model = LocalModel(model, "multiclass")
    return Engine(execution, local_model, layout, strategy, local, 5, steps=steps), data


@pytest.mark.slow
@pytest.mark.parametrize(("model", "shape"), [(lambda: mlp(5), (6,)), (cnn, (8, 8, 1))])
def test_a_worker_of_tff_clips_by_patient_too(execution, site, model, shape):
    # TFF's graphs have the semantics of TensorFlow 1, where `==` of tensors compares objects: norms were wrong once.
    here, model = site("a", rows=80, patients=20, shape=shape), model()
    local = LocalTraining(steps=2, learning_rate=RATE)
    there, data = engine(execution, [here], model, Strategy(), local, 0.0, 0.5)
    found = there.client_updates(there.initialize(), data)["a"].vectors
    seed = local_training.dropout_seed(5, 1, "a")
    expected, _ = reference(model, here, SiteMechanism(20, 10, 0.0), 0.5, 2, seed)
    assert difference(found, expected) < 1e-5
    assert difference(found, zeros(found)) > 1e-3


@pytest.mark.slow
def test_rounds_of_scaffold_repeat_exactly_and_stragglers_do_the_first_steps(execution, site):
    sites = [site(name, rows=40, patients=20) for name in "ab"]
    local = LocalTraining(batch_size=10, learning_rate=RATE)
    strategy = Strategy("scaffold", clients=2)
    private, data = engine(execution, sites, mlp(5), strategy, local, 1.0, 1.0)
    start = private.initialize()
    state, _ = one_round(private, start, data)
    later, told = one_round(private, state, data)
    again, _ = one_round(private, state, data)
    assert all(np.array_equal(a, b) for a, b in zip(later.weights, again.weights, strict=True))
    assert np.isnan(told["a"].measures.loss)
    assert told["a"].measures.examples == 40
    half = private.client_updates(start, data, work={"a": 0.5})
    whole = private.client_updates(start, data)
    assert difference(half["a"].vectors, whole["a"].vectors) > 1e-3
    assert difference(half["b"].vectors, whole["b"].vectors) == 0
