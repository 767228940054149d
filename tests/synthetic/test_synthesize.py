"""synthesize(): what it refuses before it touches anything, and what it never leaves behind."""

from dataclasses import replace

import pandas as pd
import pytest

from federated.audit_log import AuditLog, verify
from medimg.data.dataset import Dataset
from medimg.data.imaging import read_image
from medimg.errors import InputError
from synthetic.config import SynthesizeConfig
from synthetic.images.plan import check as check_images
from synthetic.synthesize import require_consistent, synthesize
from tests.synthetic.images.conftest import make_set

SMALL = {"model": "dcgan", "image_size": 16, "filters": 4, "latent_size": 4, "epochs": 1}


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Dataset:
    """40 images of as many patients, at three sites; one alone is bright."""
    labels = ["bright"] + ["dark"] * 39
    root = tmp_path_factory.mktemp("images") / "data"
    dataset = make_set(root, labels, [f"p{i}" for i in range(40)], ["train"] * 40)
    site = ["c"] + ["a", "b"] * 19 + ["a"]
    replace(dataset, manifest=dataset.manifest.assign(site=site)).save()
    return Dataset.load(root)


@pytest.fixture(scope="module")
def made(images, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "out"
    return synthesize(images.root, out, SynthesizeConfig(**SMALL, rare_classes="leave-out"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"secure": "masking"}, "--secure: is for --partition"),
        ({"clients": 3}, "--clients: is for --partition"),
        ({"local_steps": 3}, "--local-steps: is for --partition"),
        ({"tune": 3}, r"--tune: is for --model ctgan\|tvae"),
        ({"bound": {"age": "0:100"}}, r"--bound: is for --model ctgan\|tvae\|marginals"),
        ({"model": "tvae", "perturb": 0.5}, "--perturb: is for --model dcgan"),
        ({"model": "marginals", "image_size": 32}, "--image-size: is for --model dcgan"),
        ({"partition": "site", "rounds": 3, "epochs": 3}, "--rounds 3: not with --epochs"),
        ({"dp_delta": 1e-4}, "--dp-delta: is for --dp-epsilon"),
        ({"dp_seed": 1}, "--dp-seed: is for --dp-epsilon"),
        ({"dp_epsilon": 3.0, "rare_classes": "leave-out"}, "--rare-classes leave-out: not with"),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(given, words):
    with pytest.raises(InputError, match=words):
        require_consistent(SynthesizeConfig(**{"model": "dcgan", **given}))


@pytest.mark.parametrize(
    "given",
    [
        {"model": "tvae", "tune": 3, "per_site": True},
        {"perturb": 0.1, "image_size": 32},
        {"partition": "iid", "clients": 3, "secure": "ckks", "rounds": 3},
        {"dp_epsilon": 3.0, "dp_delta": 1e-4, "dp_seed": 1},
        {"dp_noise_multiplier": 1.0, "dp_clip": 0.5},
    ],
)
def test_options_that_go_together_pass(given):
    require_consistent(SynthesizeConfig(**{"model": "dcgan", **given}))


@pytest.mark.slow
def test_what_a_kill_left_beside_a_finished_dataset_goes(made, images):
    folder = made / "checkpoints" / "records"
    folder.mkdir(parents=True)
    (folder / "inputs.bin").write_bytes(b"pixels of patients")
    config = SynthesizeConfig(**SMALL, rare_classes="leave-out")
    synthesize(images.root, made, config, resume=True)
    assert not (made / "checkpoints").exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"dp_epsilon": 0.1, "dp_noise_multiplier": 0.3, "class_mix": "equal"}, "--dp-epsilon 0.1"),
        ({"dp_epsilon": 0.01}, "class counts alone cost more; give --class-mix equal"),
        ({"discriminator_steps": 9, "rare_classes": "leave-out"}, "--discriminator-steps 9"),
        ({"partition": "iid", "client_dropout": 1.0, "rare_classes": "leave-out"}, "--client-drop"),
        ({"partition": "site", "rare_classes": "leave-out"}, "'c' has no training image"),
        ({"partition": "iid", "clients": 2, "dp_epsilon": 0.1, "dp_noise_multiplier": 0.3}, "--dp-epsilon 0.1"),
    ],
)
def test_a_refusal_leaves_the_old_dataset(made, images, given, words):
    before = {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()}
    private = {"dp_delta": 1e-3, "channels": 1} if "dp_epsilon" in given else {}
    config = SynthesizeConfig(**{**SMALL, **private, **given})
    with pytest.raises(InputError, match=words):
        synthesize(images.root, made, config, overwrite=True)
    assert before == {path: path.stat().st_mtime_ns for path in made.rglob("*") if path.is_file()}


def test_a_private_training_does_not_look_whose_class_is_alone(images):
    config = SynthesizeConfig(**SMALL, channels=1, dp_epsilon=3.0, dp_delta=1e-3)
    assert len(check_images(images, config)) == 40
    with pytest.raises(InputError, match="label 'bright' in split 'train' has a single patient"):
        check_images(images, replace(config, dp_epsilon=None, dp_delta=1e-5))


def test_labels_that_all_are_rare_leave_nothing(tmp_path):
    labels = ["dark|bright" if i % 2 else "dark" for i in range(40)]
    dataset = make_set(tmp_path, labels, ["p"] * 40, ["train"] * 40, task="multilabel")
    with pytest.raises(InputError, match="has 0 labelled images of 0 patients"):
        check_images(dataset, SynthesizeConfig(**SMALL, rare_classes="leave-out"))


@pytest.mark.slow
def test_rounds_that_used_no_update_make_no_dataset(images, tmp_path):
    across = {"partition": "iid", "clients": 2, "local_steps": 1, "rounds": 2, "epochs": None}
    config = SynthesizeConfig(
        **{**SMALL, **across}, rare_classes="leave-out", client_dropout=0.999, discriminator_steps=1
    )
    with pytest.raises(InputError, match="no round of 2 used any update"):
        synthesize(images.root, tmp_path / "out", config)
    assert not (tmp_path / "out" / "dataset.yaml").exists()
    rounds = pd.read_csv(tmp_path / "out" / "training" / "rounds.csv")
    assert set(rounds["status"]) == {"dropped"}


@pytest.mark.slow
def test_a_perturbed_generators_only_grid_is_its_own(images, tmp_path):
    config = SynthesizeConfig(**{**SMALL, "epochs": 3}, rare_classes="leave-out", perturb=0.5, sample_every=1)
    out = synthesize(images.root, tmp_path / "out", config)
    assert [path.name for path in (out / "training").glob("samples-*")] == ["samples-0003.png"]


def test_a_log_whose_first_record_was_torn_begins_again(tmp_path):
    path = tmp_path / "audit.jsonl"
    with AuditLog(path):
        pass
    path.write_bytes(b'{"torn')
    with AuditLog(path) as log:
        log.begin({"event": "start"}, 0)
        log.append({"event": "round", "round": 1})
    with AuditLog(path) as log:
        log.begin({"event": "start"}, 1)
        log.append({"event": "round", "round": 2})
    assert verify(path).ok
    assert verify(path).rounds == (1, 2)
    assert path.read_text().count('"start"') == 1


def test_the_finished_dataset_does_not_tell_where_patients_lie(made, images):
    place = str(images.root.resolve().parent)
    for path in made.rglob("*"):
        if path.is_file():
            assert place.encode() not in path.read_bytes(), path
    assert Dataset.load(made).preparation["source"] == images.root.name
    # Finished, it is left as it is.
    config = SynthesizeConfig(**SMALL, rare_classes="leave-out")
    assert synthesize(images.root, made, config, resume=True) == made


def test_no_image_of_a_patient_is_left_in_the_finished_dataset(made, images):
    pixels = {read_image(path).tobytes() for path in images.paths(images.manifest)}
    found = [path for path in made.rglob("*") if path.suffix == ".png"]
    assert len(found) > 1
    assert not any(read_image(path).tobytes() in pixels for path in found)
