"""A patient more or less moves the discriminator's private sum by the clip at most, whatever the step draws."""

from dataclasses import replace

import numpy as np
import pytest

from medimg.pipeline.pixels import PixelCache
from medimg.privacy.class_counts import noisy_class_counts
from medimg.privacy.draws.noise_seed import Secret
from medimg.privacy.units import Units
from synthetic.config import SynthesizeConfig
from synthetic.images.classes import conditions_of
from synthetic.images.networks import build
from synthetic.images.plan import settle
from synthetic.images.private import PHYSICAL_BATCH, PrivateDiscriminator
from synthetic.images.step import NetworkSteps
from tests.synthetic.images.conftest import make_set

CLIP = 0.05
SMALL = {"model": "dcgan", "image_size": 16, "channels": 1, "filters": 4, "latent_size": 4}
# First, middle and last of the manifest; p0 and p33 have three images.
PATIENTS = ("p0", "p33", "p64")


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    patients = [f"p{i}" for i in range(65)] + ["p0", "p33"] * 2
    labels = ["bright" if i % 3 == 0 else "dark" for i in range(len(patients))]
    dataset = make_set(tmp_path_factory.mktemp("several") / "data", labels, patients, "train")
    # More than are computed at once: a place in the chunk is not a place in the manifest.
    assert len(dataset.manifest) > PHYSICAL_BATCH
    return dataset


def sums(dataset, config, numbers, folder) -> list[np.ndarray]:
    rows = dataset.rows("train", labelled=True)
    units = Units.of(rows["patient"])
    config = replace(config, batch_size=config.batch_size or len(units))
    secret = Secret.fixed(3, {})
    keys = secret.row_keys(rows["patient"])
    plan = settle(dataset, rows, config)
    private = PrivateDiscriminator(folder, dataset, units, config, plan, secret, keys)
    steps = NetworkSteps(build(16, 1, 2, 4, 4, 0), config, 5)
    cache = PixelCache.in_memory(dataset.paths(rows), 16, 1)
    conditions = conditions_of(dataset, rows)
    return [np.concatenate([np.ravel(g) for g in private.clipped_sum(steps, cache, conditions, n)]) for n in numbers]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"gan_augment": "light"},
        {"gan_augment": "light", "batch_size": 20, "dp_images_per_patient": 1},
        {"gan_augment": "light", "batch_size": 20, "dp_sampling": "shuffle"},
        {"gan_augment": "none", "batch_size": 20, "regularise": "spectral"},
    ],
)
def test_a_patient_moves_the_sum_by_the_clip_at_most(several, tmp_path, options):
    config = SynthesizeConfig(**SMALL, **options, dp_clip=CLIP, dp_noise_multiplier=1.0)
    numbers = range(16) if "batch_size" in options else range(1)
    whole = sums(several, config, numbers, tmp_path)
    for patient in PATIENTS:
        manifest = several.manifest[several.manifest["patient"] != patient]
        fewer = sums(replace(several, manifest=manifest), config, numbers, tmp_path)
        moved = [np.linalg.norm(a - b) for a, b in zip(whole, fewer, strict=True)]
        assert max(moved) <= CLIP * (1 + 1e-5)
        assert max(moved) > 0.99 * CLIP


def test_a_patient_has_one_vote(several):
    def counted(dataset):
        rows = dataset.rows("train", labelled=True)
        one_hot = np.eye(2)[dataset.targets(rows)]
        return noisy_class_counts(one_hot, Units.of(rows["patient"]), Secret.fixed(0, {}))

    # The noise is the same, so what moves is the patient.
    assert counted(several).min() > 1

    for patient in PATIENTS:
        manifest = several.manifest[several.manifest["patient"] != patient]
        moved = counted(several) - counted(replace(several, manifest=manifest))
        assert 0.5 < np.linalg.norm(moved) <= 1 + 1e-9
