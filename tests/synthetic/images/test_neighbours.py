"""What a private synthesis of images leaves tells nothing of a single patient but through noise."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from medimg.data.dataset import Dataset
from medimg.data.imaging import read_image, write_png
from medimg.privacy.defaults import coarse
from synthetic.config import SynthesizeConfig
from synthetic.synthesize import synthesize
from tests.synthetic.images.conftest import SIZE, make_set
from tests.synthetic.neighbours import differences

# Every pixel that is left is compared.
pytestmark = pytest.mark.final_figures

OPTIONS = {
    "model": "dcgan",
    "image_size": 16,
    "channels": 1,
    "filters": 4,
    "latent_size": 4,
    # 42 patients and 43 are three of them: more of their number is not used.
    "batch_size": 16,
    # Large enough that a patient shows in the pixels.
    "generator_learning_rate": 0.02,
    "discriminator_learning_rate": 0.02,
    "ema_decay": 0.0,
    "epochs": 2,
    "discriminator_steps": 2,
    "dp_epsilon": 3.0,
    "dp_delta": 1e-3,
    "dp_seed": 1,
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Without and with a patient, who comes first and alone has colour, 16 bits, another size and class 'odd'."""
    folders = []
    for name in ("without", "with"):
        labels = ["bright" if i % 3 == 0 else "dark" for i in range(42)]
        root = tmp_path_factory.mktemp(name) / "tiny"
        dataset = make_set(root, labels, [f"p{i}" for i in range(42)], "train")
        manifest = dataset.manifest.assign(site=[f"site-{i % 2}" for i in range(42)])
        if name == "with":
            random = np.random.default_rng(1)
            write_png(root / "images/odd-0.png", random.integers(0, 256, (24, 20, 3), np.uint8))
            write_png(root / "images/odd-1.png", random.integers(0, 65536, (30, 30), np.uint16))
            odd = pd.DataFrame({"image": ["images/odd-0.png", "images/odd-1.png"], "label": "odd"})
            odd = odd.assign(patient="odd", site="site-0", split="train")
            manifest = pd.concat([odd, manifest], ignore_index=True)
        classes = ("dark", "bright", "odd")
        replace(dataset, manifest=manifest, task="multiclass", classes=classes).save()
        folders.append(root)
    assert coarse(42) == coarse(43)
    return folders


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"class_mix": "equal", "gan_augment": "none", "perturb": 0.1, "keep_generator": True},
        pytest.param({"partition": "site", "epochs": None, "rounds": 2, "local_steps": 2}, marks=pytest.mark.slow),
    ],
)
def test_a_patient_shows_in_pixels_and_noisy_numbers_alone(pair, tmp_path, options):
    config = SynthesizeConfig(**{**OPTIONS, **options})
    made = [synthesize(data, tmp_path / data.parent.name / "out", config) for data in pair]
    found = [
        text
        for text in differences(*made)
        # The numbers of a generator that is kept, and those of the noise on it, are the mechanism's.
        if not text.startswith(("training/generator.keras", "training/perturbation.json"))
    ]
    assert found == []
    images = [read_image(made[1] / name) for name in Dataset.load(made[1]).manifest["image"]]
    assert len(images) == 20
    assert {(image.shape, image.dtype.name) for image in images} == {((SIZE, SIZE), "uint8")}
    assert "seconds" not in (made[0] / "training" / "history.csv").read_text() or config.is_federated
    first = [read_image(made[0] / name) for name in Dataset.load(made[0]).manifest["image"]]
    assert not np.array_equal(first, images)
