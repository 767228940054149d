"""A DCGAN across clients: TFF's rounds are the networks' steps, clients stay apart, a stopped training goes on."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import federated  # noqa: F401  (before TFF: it silences a warning of TFF's)
from federated.algorithms.strategy import Strategy
from federated.audit_log import verify
from federated.engine import local_training, records
from federated.engine.local_training import LocalTraining, Share
from federated.engine.records import Layout
from federated.private.site_key import with_key
from federated.private.steps import SiteMechanism
from federated.tff.engine import Engine
from medimg.data.dataset import Dataset
from medimg.data.imaging import read_image
from medimg.errors import InputError
from medimg.privacy.accounting import epsilon_of
from medimg.privacy.draws import keyed
from medimg.privacy.mechanism import Mechanism
from synthetic.config import SynthesizeConfig
from synthetic.federation.images.model import Averaged, GanModel
from synthetic.federation.images.privacy import PrivateGanSteps, private_options
from synthetic.federation.images.training import check
from synthetic.federation.images.work import GanWork, NumberedBatches, conditions, one_step
from synthetic.images.networks import build
from synthetic.images.private import clipped_real
from synthetic.images.step import NetworkSteps
from synthetic.synthesize import synthesize
from tests.federated.tff.conftest import one_round
from tests.synthetic.images.conftest import make_set

SMALL = {"model": "dcgan", "image_size": 16, "filters": 4, "latent_size": 4}
ACROSS = {**SMALL, "partition": "site", "local_steps": 2, "rounds": 4, "batch_size": 8, "count": 8}
LOCAL = LocalTraining(steps=5, batch_size=16)


@pytest.fixture(scope="module")
def sites(tmp_path_factory) -> Dataset:
    """Three sites of 16 images; one has the dark class alone."""
    labels = ["bright" if i % 3 == 0 and i < 32 else "dark" for i in range(48)]
    root = tmp_path_factory.mktemp("sites") / "data"
    dataset = make_set(root, labels, [f"p{i}" for i in range(48)], ["train"] * 48)
    site = [f"site-{i // 16}" for i in range(48)]
    replace(dataset, manifest=dataset.manifest.assign(site=site)).save()
    return Dataset.load(root)


@pytest.fixture(scope="module")
def across(sites, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("across") / "made"
    return synthesize(sites.root, out, SynthesizeConfig(**ACROSS, sample_every=1))


def model(regularise: str) -> GanModel:
    options = SynthesizeConfig(model="dcgan", regularise=regularise, discriminator_steps=2)
    return GanModel(build(16, 1, 2, filters=4, latent_size=4, seed=0), options)


def clients(folder: Path) -> list[records.ClientData]:
    random = np.random.default_rng(0)
    return [
        records.write(
            folder / str(n),
            f"client-{n}",
            random.integers(0, 256, (examples, 16, 16, 1)).astype(np.uint8),
            random.integers(0, 2, examples),
        )
        for n, examples in enumerate((40, 24))
    ]


def by_hand(steps: NetworkSteps, weights, client: records.ClientData, number: int) -> list[np.ndarray]:
    """The client's update, computed without TFF, by steps whose state is that of the weights."""
    averaged = Averaged(steps)
    averaged.assign(weights)
    folder = Path(client.folder)
    pixels = np.fromfile(folder / records.INPUTS, np.uint8).reshape(-1, 16, 16, 1)
    targets = np.fromfile(folder / records.TARGETS, np.int64)
    seed = local_training.dropout_seed(0, number, client.name)
    for i, (count, *planned) in enumerate(NumberedBatches().planned(LOCAL, client, 0, number)):
        rows = [row for row in planned if row >= 0]
        one_step(
            steps,
            tf.constant(pixels[rows], tf.float32),
            conditions(tf.constant(targets[rows]), 2),
            tf.constant(count),
            tf.random.experimental.stateless_fold_in(seed, i),
        )
    return [a - b.numpy() for a, b in zip(weights, averaged.read(), strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("regularise", [pytest.param("r1", marks=pytest.mark.slow), "spectral"])
def test_rounds_on_tff_are_the_mean_of_the_steps_by_hand(execution, tmp_path, regularise):
    gan, data = model(regularise), clients(tmp_path)
    layout = records.Layout((16, 16, 1), "uint8", (), "int64")
    engine = Engine(execution, gan, layout, Strategy(clients=2), LOCAL, work=GanWork)
    state = engine.initialize(gan.initial())
    weights, steps = gan.initial(), NetworkSteps(gan.gan, gan.options, 0)
    for number in (1, 2):
        state, _ = one_round(engine, state, data)
        updates = [by_hand(steps, weights, client, number) for client in data]
        weights = [w - (40 * a + 24 * b) / 64 for w, a, b in zip(weights, *updates, strict=True)]
        assert max(np.abs(a).max() for a in updates[0]) > 0.01
        for found, expected in zip(state.weights, weights, strict=True):
            np.testing.assert_allclose(found, expected, atol=2e-6)


def test_what_is_averaged_goes_in_and_out_unchanged():
    gan = model("spectral")
    steps = NetworkSteps(gan.gan, gan.options, 0)
    averaged = Averaged(steps)
    # Networks, average, two moments of each trained weight, and a vector for each kernel of the discriminator.
    trained = len(gan.gan.generator.weights) + len(gan.gan.discriminator.weights)
    kernels = sum(v.shape.rank > 1 for v in gan.gan.discriminator.weights)
    expected = 3 * trained + len(gan.gan.average.weights) + kernels
    arrays = [np.abs(array) + 0.5 for array in gan.initial()]
    assert len(arrays) == len(averaged.read()) == expected
    averaged.assign(arrays)
    for found, array in zip(averaged.read(), arrays, strict=True):
        np.testing.assert_allclose(found, array, rtol=1e-6)
    generator = len(gan.gan.generator.weights)
    place = 2 * generator + len(gan.gan.discriminator.weights) + 2 * generator - 1
    second = steps.generator_optimizer.variables[-1]
    np.testing.assert_allclose(second.numpy(), arrays[place] ** 2, rtol=1e-6)
    averaged.assign([-array for array in arrays])
    assert not second.numpy().any()


@pytest.mark.slow
def test_it_leaves_a_dataset_with_rounds_and_a_log(across, sites):
    made = Dataset.load(across)
    assert made.synthetic
    assert len(made.manifest) == 8
    assert (made.manifest["label"] == "dark").sum() == 6
    rounds = pd.read_csv(across / "training" / "rounds.csv")
    assert rounds["client"].tolist() == ["site-0", "site-1", "site-2"] * 4
    assert (rounds["examples"] == 16).all()
    assert np.isfinite(rounds["loss"]).all()
    history = pd.read_csv(across / "training" / "history.csv")
    assert history["round"].tolist() == [1, 2, 3, 4]
    assert np.isfinite(history[["loss", "generator_loss"]]).all().all()
    assert (history["generator_loss"] != history["loss"]).all()
    assert "generator_loss" not in rounds
    log = verify(across / "training" / "audit.jsonl")
    assert log.ok
    assert log.rounds == (1, 2, 3, 4)
    assert log.compared == ("rounds.csv (12 rows)", "history.csv")
    assert (across / "training" / "losses.png").is_file()
    grids = sorted(path.name for path in (across / "training").glob("samples-*.png"))
    assert grids[-1] == "samples-0004.png"
    assert made.preparation["federation"]["clients"] == dict.fromkeys(["site-0", "site-1", "site-2"], 16)
    assert any(
        "simulated in one process; the clients sent both networks with Adam's moments, and no image" in note
        for note in made.preparation["notes"]
    )


@pytest.mark.slow
def test_the_clients_records_do_not_stay(across, sites):
    # Neither copies of images nor the networks, which may know them by heart.
    left = {path.name for path in across.rglob("*") if path.is_file()}
    assert not left & {"inputs.bin", "targets.bin"}
    assert not any(n.endswith(".npz") for n in left)


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_same_images(across, sites, tmp_path):
    def stop(what, done, total):
        if what == "rounds" and done == 2:
            raise KeyboardInterrupt

    config = SynthesizeConfig(**ACROSS, sample_every=1)
    with pytest.raises(KeyboardInterrupt):
        synthesize(sites.root, tmp_path / "made", config, listener=stop)
    assert not (tmp_path / "made" / "dataset.yaml").exists()
    synthesize(sites.root, tmp_path / "made", config, resume=True)
    for name in Dataset.load(across).manifest["image"]:
        np.testing.assert_array_equal(read_image(tmp_path / "made" / name), read_image(across / name))
    assert (tmp_path / "made" / "training" / "rounds.csv").read_text().count("\n") == 13


@pytest.mark.slow
@pytest.mark.parametrize("secure", ["masking", "ckks"])
def test_a_secure_sum_makes_the_same_images(across, sites, tmp_path, secure):
    config = SynthesizeConfig(**{**ACROSS, "secure": secure}, sample_every=0)
    out = synthesize(sites.root, tmp_path / "made", config)
    differences = [
        np.abs(read_image(out / name).astype(int) - read_image(across / name)).max()
        for name in Dataset.load(across).manifest["image"]
    ]
    assert max(differences) <= 3
    assert "masked" in str(Dataset.load(out).preparation["federation"]) or secure == "ckks"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dp_epsilon": 3.0, "regularise": "r1"}, "--regularise r1"),
        ({"aggregation": "robust-clip"}, "--aggregation robust-clip"),
        ({"aggregation": "krum"}, "Krum needs at least 5 clients"),
        ({"secure": "masking", "secure_threshold": 1}, "--secure-threshold 1"),
        ({"partition": "iid", "clients": 60}, "--clients"),
        ({"image_size": 27}, "--image-size 27"),
    ],
)
def test_what_can_not_be_done_is_refused(sites, options, words):
    with pytest.raises(InputError, match=words):
        check(sites, SynthesizeConfig(**{**ACROSS, **options}))


def test_a_set_without_sites_is_refused_by_name(two_without_sites):
    with pytest.raises(InputError, match="site"):
        check(two_without_sites, SynthesizeConfig(**ACROSS))


@pytest.fixture
def two_without_sites(tmp_path) -> Dataset:
    labels = ["bright", "dark"] * 20
    return make_set(tmp_path / "data", labels, [f"p{i}" for i in range(40)], ["train"] * 40)


PRIVATE = {**ACROSS, "channels": 1, "dp_epsilon": 5.0, "dp_delta": 1e-3, "dp_seed": 1, "discriminator_steps": 2}


@pytest.fixture(scope="module")
def private(sites, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("private") / "made"
    return synthesize(sites.root, out, SynthesizeConfig(**PRIVATE))


@pytest.mark.slow
def test_a_private_federations_ledger_is_that_of_its_steps(private):
    ledger = json.loads((private / "privacy.json").read_text())
    assert set(ledger["sites"]) == {"site-0", "site-1", "site-2"}
    noise = {name: site["noise_multiplier"] for name, site in ledger["sites"].items()}
    for name in ledger["sites"]:
        # 4 rounds of 2 steps, each of half of the site's 16 patients.
        events = [Mechanism.poisson(0.5, noise[name]).event([(0, 8)])]
        expected = epsilon_of(events, 1e-3)["pld"]
        assert ledger["sites"][name]["epsilon"]["pld"] == pytest.approx(expected)
        assert 4.5 < expected <= 5.0
    assert ledger["epsilon"]["pld"] == max(s["epsilon"]["pld"] for s in ledger["sites"].values())
    assert ledger["status"] == "complete"
    assert not any("partition.csv" in sentence for sentence in ledger["assumptions"])


@pytest.mark.slow
def test_a_private_federation_tells_no_losses_and_no_class_counts(private):
    made = Dataset.load(private)
    assert pd.read_csv(private / "training" / "rounds.csv")["loss"].isna().all()
    assert made.manifest["label"].value_counts().to_dict() == {"bright": 4, "dark": 4}
    assert "epsilon" in made.preparation["privacy"]
    assert not any("bright" in note for note in made.preparation["notes"])
    assert not list(private.rglob("key.bin"))


@pytest.mark.slow
def test_private_draws_depend_on_the_key(private, sites, tmp_path):
    def images(folder):
        return [read_image(folder / name) for name in Dataset.load(private).manifest["image"]]

    same = synthesize(sites.root, tmp_path / "same", SynthesizeConfig(**PRIVATE))
    secret = synthesize(sites.root, tmp_path / "secret", SynthesizeConfig(**{**PRIVATE, "dp_seed": None}))
    np.testing.assert_array_equal(images(same), images(private))
    assert np.abs(np.subtract(images(secret), images(private), dtype=float)).max() > 0


def test_a_patients_share_in_a_private_step_is_clipped():
    gan = model("none")
    # Shifted, which depends on the image and on nobody else.
    steps = NetworkSteps(gan.gan, replace(gan.options, gan_augment="light"), 0)
    random = np.random.default_rng(0)
    pixels = tf.constant(random.uniform(0, 255, (6, 16, 16, 1)), tf.float32)
    condition, patients = tf.one_hot([0, 1, 0, 1, 0, 1], 2), np.array([0, 0, 1, 1, 1, 2])
    keys, clip = tf.constant(keyed.row_keys(b"key", patients.astype(str))), 0.05

    def flat(of) -> np.ndarray:
        groups = tf.constant(np.unique(patients[of], return_inverse=True)[1], tf.int32)
        own = (tf.gather(values, of) for values in (pixels, condition))
        part = clipped_real(steps, *own, groups, tf.gather(keys, of), clip)
        return np.concatenate([np.ravel(gradient) for gradient in part])

    whole = flat(np.arange(6))
    each = [flat(np.flatnonzero(patients == patient)) for patient in range(3)]
    np.testing.assert_allclose(whole, np.sum(each, axis=0), atol=1e-6)
    for share in each:
        assert np.linalg.norm(share) == pytest.approx(clip, rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("expected", [100, 20])
def test_a_patient_moves_a_sites_step_by_the_clip_at_most(tmp_path, expected):
    """Sampling and shifts of 70 patients, more than are computed at once; at q = 1 and q < 1."""
    clip, count = 0.05, 6
    random = np.random.default_rng(0)
    names = np.array([f"p{i}" for i in range(70)] + ["p0", "p0"])
    pixels = random.uniform(0, 255, (72, 16, 16, 1)).astype(np.float32)
    targets = np.arange(72) % 2

    def sums(kept: np.ndarray, folder) -> np.ndarray:
        data = records.write(folder, "a", pixels[kept], targets[kept], units=names[kept])
        data = with_key(data, 3)
        site = SiteMechanism(data.units, expected, 1.0)
        private = PrivateGanSteps({"a": site}, clip, "0" * 16)
        gan = model("none")
        steps = NetworkSteps(gan.gan, replace(gan.options, gan_augment="light"), 0)
        layout = Layout.of(pixels, targets)
        share = Share(
            weights=[tf.zeros(1)],
            shared=[],
            client_state=[],
            folder=tf.constant(data.folder),
            steps=tf.zeros([count, 2], tf.int64),
            seed=tf.constant([1, 2]),
        )

        @tf.function
        def run():
            drawing = private.drawing(layout, share, tf.constant(0, tf.int64))
            found = tf.TensorArray(tf.float32, count)
            for place in tf.range(count):
                parts = private.clipped_sum(steps, drawing, share, place)
                found = found.write(place, tf.concat([tf.reshape(p, [-1]) for p in parts], 0))
            return found.stack()

        return run().numpy()

    whole = sums(np.ones(72, bool), tmp_path / "whole")
    drawn = 0
    for patient in ("p0", "p35", "p69"):
        moved = np.linalg.norm(whole - sums(names != patient, tmp_path / patient), axis=1)
        assert moved.max() <= clip * (1 + 1e-5)
        drawn += (moved > 0.99 * clip).sum()
    # They were in all steps, or in some.
    assert (drawn == 3 * count) == (expected == 100)
    assert drawn > 0


def test_the_sites_accounts_know_what_the_budget_covers():
    config = SynthesizeConfig(model="dcgan", partition="site", dp_epsilon=3.0, dp_budget="dataset")
    assert private_options(config, 4, 8).dp_budget == "dataset"
