"""fit_and_sample: what it makes, that it learns, that it repeats and resumes, its privacy, its refusals."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from medimg.data.dataset import Dataset
from medimg.data.imaging import read_image
from medimg.errors import InputError
from medimg.pipeline.pixels import PixelCache
from medimg.privacy.draws.noise_seed import Secret
from medimg.privacy.units import Units
from synthetic.config import SynthesizeConfig
from synthetic.images.classes import class_mix, conditions_of
from synthetic.images.dcgan import fit_and_sample
from synthetic.images.networks import build
from synthetic.images.plan import check, settle
from synthetic.images.private import PrivateDiscriminator
from synthetic.images.step import NetworkSteps
from synthetic.synthesize import synthesize
from tests.synthetic.images.conftest import make_set

SMALL = {"model": "dcgan", "image_size": 16, "filters": 8, "latent_size": 4, "batch_size": 16}
PRIVATE = {**SMALL, "channels": 1, "epochs": 2, "dp_epsilon": 3.0, "dp_delta": 1e-3}


def quiet(what, done, total):
    pass


@pytest.fixture(scope="module")
def made(two_classes, tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    rates = {"generator_learning_rate": 5e-3, "discriminator_learning_rate": 5e-3, "r1_weight": 1.0}
    config = SynthesizeConfig(**SMALL, **rates, epochs=60, count=30, sample_every=20, ema_decay=0.9, gan_augment="none")
    return folder, fit_and_sample(two_classes, folder, config, quiet)


def pixels(folder, names) -> np.ndarray:
    return np.stack([read_image(folder / name) for name in names])


@pytest.mark.slow
def test_it_learns_what_the_classes_look_like(made):
    folder, result = made
    levels = pixels(folder, result.rows["image"]).reshape(30, -1).mean(axis=1)
    bright = result.rows["label"].to_numpy() == "bright"
    assert bright.sum() == 10
    assert abs(levels[bright].mean() - 190) < 45
    assert abs(levels[~bright].mean() - 60) < 45


@pytest.mark.slow
def test_it_leaves_images_grids_history_and_curves(made):
    folder, result = made
    assert pixels(folder, result.rows["image"]).shape == (30, 16, 16)
    assert len(list((folder / "images").iterdir())) == 30
    grids = sorted(path.name for path in (folder / "training").glob("samples-*.png"))
    assert grids == ["samples-0020.png", "samples-0040.png", "samples-0060.png"]
    assert (folder / "training" / "losses.png").is_file()
    history = pd.read_csv(folder / "training" / "history.csv")
    assert history["epoch"].tolist() == list(range(1, 61))
    assert np.isfinite(history[["real_loss", "fake_loss", "generator_loss"]]).all(axis=None)
    assert result.privacy == "no formal guarantee"
    assert any("'bright' has 16 patients" in note for note in result.notes)


@pytest.mark.slow
def test_a_stopped_training_goes_on_to_the_same_images(two_classes, tmp_path):
    config = SynthesizeConfig(**SMALL, epochs=4, count=6, regularise="spectral")
    whole = fit_and_sample(two_classes, tmp_path / "whole", config, quiet)

    def stop(what, done, total):
        if what == "steps" and done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_and_sample(two_classes, tmp_path / "broken", config, stop)
    resumed = fit_and_sample(two_classes, tmp_path / "broken", config, quiet)
    assert resumed.rows.equals(whole.rows)
    images = whole.rows["image"]
    assert np.array_equal(pixels(tmp_path / "whole", images), pixels(tmp_path / "broken", images))


@pytest.mark.slow
def test_colour_equal_classes_and_a_perturbed_generator_that_is_kept(tmp_path):
    labels = ["bright" if i % 8 == 0 else "dark" for i in range(48)]
    dataset = make_set(tmp_path / "data", labels, [f"p{i}" for i in range(48)], "train", True)
    config = SynthesizeConfig(**SMALL, epochs=1, count=8, class_mix="equal", perturb=0.1, keep_generator=True)
    result = fit_and_sample(dataset, tmp_path / "out", config, quiet)
    assert result.rows["label"].value_counts().to_dict() == {"bright": 4, "dark": 4}
    assert pixels(tmp_path / "out", result.rows["image"]).shape == (8, 16, 16, 3)
    assert result.privacy.startswith("no formal guarantee")
    assert result.details["perturbation"]["relative_noise"] == 0.1
    layers = json.loads((tmp_path / "out/training/perturbation.json").read_text())["layers"]
    kept = tf.keras.models.load_model(tmp_path / "out/training/generator.keras")
    assert [layer["weights"] for layer in layers] == [v.name for v in kept.weights]


@pytest.mark.slow
def test_several_labels_an_image(tmp_path):
    labels = [("dark", "bright", "dark|bright", "none")[i % 4] for i in range(48)]
    dataset = make_set(
        tmp_path / "data", ["" if x == "none" else x for x in labels], range(48), "train",
        task="multilabel",
    )  # fmt: skip
    dataset.manifest["label"] = labels
    replace(dataset, negative="none").save()
    dataset = Dataset.load(dataset.root)
    config = SynthesizeConfig(**SMALL, epochs=1, count=8)
    result = fit_and_sample(dataset, tmp_path / "out", config, quiet)
    assert set(result.rows["label"]) == set(labels)
    with pytest.raises(InputError, match="multilabel"):
        fit_and_sample(dataset, tmp_path / "private", SynthesizeConfig(**PRIVATE), quiet)


@pytest.mark.slow
def test_a_private_training_keeps_its_budget_and_tells_no_loss_of_patients(two_classes, tmp_path):
    config = SynthesizeConfig(**PRIVATE, count=6)
    result = fit_and_sample(two_classes, tmp_path, config, quiet)
    ledger = json.loads((tmp_path / "privacy.json").read_text())
    assert ledger["status"] == "complete"
    assert 2.5 < ledger["epsilon"]["pld"] <= 3.0
    assert {event["phase"] for event in ledger["events"]} == {"class counts", "discriminator"}
    assert ledger["steps"] == 1 + 2 * 3
    assert "epsilon, delta) = (3, 0.001)" in result.privacy
    assert pd.read_csv(tmp_path / "training" / "history.csv")["real_loss"].isna().all()
    assert not any("patients" in note for note in result.notes)


@pytest.mark.slow
def test_private_without_clip_and_noise_is_the_plain_step(two_classes, tmp_path):
    rows = two_classes.rows("train")
    options = {**SMALL, "batch_size": len(rows), "regularise": "none", "gan_augment": "none"}
    plain = SynthesizeConfig(**options)
    config = replace(plain, dp_noise_multiplier=1e-10, dp_clip=1e3, dp_sampling="shuffle")
    plan = settle(two_classes, rows, config)
    secret, units = Secret.fixed(1, {}), Units.of(rows["patient"])
    keys = secret.row_keys(rows["patient"])
    private = PrivateDiscriminator(tmp_path, two_classes, units, config, plan, secret, keys)
    cache = PixelCache.in_memory(two_classes.paths(rows), 16, 1)
    conditions = conditions_of(two_classes, rows)
    fakes = class_mix(two_classes, rows).drawn(len(rows), np.random.default_rng(0))
    weights = []
    for number in range(2):
        steps = NetworkSteps(build(16, 1, 2, 8, 4, 0), plain, 5)
        before = steps.gan.discriminator.get_weights()
        if number:
            private.step(steps, cache, conditions, fakes, 3)
        else:
            images = cache.take(np.arange(len(rows))).astype(np.float32)
            steps.discriminator_step(images, conditions, fakes, 3)
        weights.append(steps.gan.discriminator.get_weights())
        assert not np.array_equal(weights[-1][0], before[0])
    for a, b in zip(*weights, strict=True):
        # Adam's first step is the rate times the gradient's sign: where the gradient is 0, the sign is rounding's.
        assert np.mean(np.abs(a - b) > 1e-5) < 0.01


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({**PRIVATE, "regularise": "r1"}, "--regularise r1"),
        ({**PRIVATE, "dp_delta": 0.1}, "--dp-delta"),
        ({**PRIVATE, "dp_engine": "tf-privacy"}, "--dp-engine"),
        ({**PRIVATE, "dp_clip": float("inf")}, "--dp-clip"),
        ({**PRIVATE, "channels": 0}, "not be read off the patients' images; give --channels 1 or 3"),
        ({**PRIVATE, "image_size": None}, "give --image-size, e.g. 64$"),
        ({"image_size": 30}, "--image-size 30"),
    ],
)
def test_options_that_do_not_fit_are_refused(two_classes, options, words, tmp_path):
    with pytest.raises(InputError, match=words):
        fit_and_sample(two_classes, tmp_path / "out", SynthesizeConfig(**{**SMALL, **options}), quiet)
    assert not (tmp_path / "out").exists()


def test_sets_that_could_only_be_repeated_are_refused(tmp_path):
    labels = ["dark"] * 40 + ["bright"]
    lonely = make_set(tmp_path / "lonely", labels, [f"p{i}" for i in range(41)], "train")
    config = SynthesizeConfig(**SMALL, epochs=1, count=4)
    with pytest.raises(InputError, match="'bright' in split 'train' has a single patient"):
        fit_and_sample(lonely, tmp_path / "out", config, quiet)
    rows = check(lonely, replace(config, rare_classes="leave-out"))
    assert set(rows["label"]) == {"dark"}
    two = make_set(tmp_path / "two", ["dark", "bright"], ["a", "b"], "train")
    with pytest.raises(InputError, match="2 labelled images of 2 patients"):
        fit_and_sample(two, tmp_path / "out", config, quiet)


SYNTHESIZE = """
import sys
from pathlib import Path
from synthetic.config import SynthesizeConfig
from synthetic.synthesize import synthesize
config = SynthesizeConfig.from_dict({options})
synthesize(Path(sys.argv[1]), Path(sys.argv[2]), config)
"""


def start(data, out, options: dict) -> subprocess.Popen:
    code = SYNTHESIZE.format(options=options)
    return subprocess.Popen([sys.executable, "-c", code, data, out], stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_kill_and_resume_give_the_same_private_images(two_classes, tmp_path):
    options = {**SMALL, "epochs": 8, "count": 6, "filters": 4}
    options |= {"channels": 1, "dp_noise_multiplier": 2.0, "dp_delta": 1e-3, "dp_seed": 7}
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    config = SynthesizeConfig.from_dict(options)
    # Only what is killed needs a process of its own.
    killed = start(two_classes.root, broken, options)
    while killed.poll() is None:
        if any((broken / "checkpoints").glob("last-*")):
            os.kill(killed.pid, signal.SIGKILL)
            break
        time.sleep(0.005)
    assert killed.wait() == -signal.SIGKILL, killed.communicate()[1] or "it ended before it could be killed"
    synthesize(two_classes.root, whole, config)
    synthesize(two_classes.root, broken, config, resume=True)
    names = Dataset.load(whole).manifest["image"]
    assert np.array_equal(pixels(whole, names), pixels(broken, names))
    ledgers = [json.loads((out / "privacy.json").read_text()) for out in (whole, broken)]
    assert ledgers[0]["epsilon"] == ledgers[1]["epsilon"]
    assert ledgers[0]["steps"] == ledgers[1]["steps"]
    assert not (broken / "checkpoints").exists()
