"""A Run that has ended says so, and goes on to more epochs as if it had been given them at once."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

import medimg as product
from medimg.config import TrainConfig
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.listener import Listener
from medimg.report.write import write
from medimg.run import Run
from medimg.training.cross_validation import cross_validate
from medimg.training.train import train
from tests.command import medimg

FEW = TrainConfig(
    image_size=16, epochs=2, batch_size=8, model_arg={"width": "4", "stages": "1"}, augment="light", patience=0
)
MORE = replace(FEW, epochs=4)
WORDS = ("--model-arg", "width=4", "--model-arg", "stages=1", "--image-size", 16, "--batch-size", 8, "--patience", 0)


def require_same(one: Run, other: Run) -> None:
    pairs = zip(one.model().get_weights(), other.model().get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    told = ["epoch", "loss", "val_loss", "learning_rate", "best"]
    assert one.history()[told].equals(other.history()[told])


@pytest.fixture(scope="module")
def straight(noise, tmp_path_factory):
    return train(noise.root, tmp_path_factory.mktemp("straight") / "run", MORE)


@pytest.fixture(scope="module")
def few(noise, tmp_path_factory):
    return train(noise.root, tmp_path_factory.mktemp("few") / "run", FEW)


@pytest.fixture
def ended(few, tmp_path):
    """A test's own."""
    return Run.load(shutil.copytree(few.root, tmp_path / "run"))


@pytest.mark.slow
def test_more_epochs_give_what_all_at_once_give(noise, ended, straight):
    evaluate(ended, EvaluateConfig(bootstrap=0))
    write(ended)
    longer = train(noise.root, ended.root, MORE, resume=True)
    require_same(longer, straight)
    assert Run.load(ended.root).config["options"]["epochs"] == 4
    # What was said of the earlier model is not said of this one, and not lost.
    assert not (ended.root / "metrics.json").exists()
    earlier = ended.root / "earlier" / "epochs-2"
    assert {"metrics.json", "predictions.csv", "report.html", "model.keras"} <= {p.name for p in earlier.iterdir()}


@pytest.mark.slow
def test_a_training_that_is_killed_as_it_goes_on_resumes(noise, ended, straight):
    def kill(row):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(noise.root, ended.root, MORE, resume=True, listener=Listener(epoch=kill))
    assert not (ended.root / "model.keras").exists()
    require_same(product.train(noise.root, ended.root, resume=True), straight)


@pytest.mark.slow
def test_the_command_says_that_it_has_ended_and_goes_on_when_asked(noise, tmp_path):
    out = tmp_path / "run"
    assert medimg("train", noise.root, "--out", out, "--epochs", 1, *WORDS).exit_code == 0
    before = (out / "model.keras").read_bytes()
    again = medimg("train", noise.root, "--out", out, "--resume")
    assert again.exit_code == 0
    (line,) = again.output.splitlines()
    told = "had ended already, nothing is left to resume; to go on, give more: --epochs or --fine-tune-epochs"
    assert line == f"{out}: {told}"
    assert (out / "model.keras").read_bytes() == before
    longer = medimg("train", noise.root, "--out", out, "--resume", "--epochs", 2)
    assert longer.exit_code == 0, longer.output
    assert "trained 2 epochs" in longer.output
    fewer = medimg("train", noise.root, "--out", out, "--resume", "--epochs", 1)
    assert fewer.exit_code == 2
    assert "--epochs 1: the Run at" in fewer.stderr


def test_who_stopped_early_would_again(noise, tmp_path):
    out = tmp_path / "run"
    hasty = replace(FEW, epochs=9, patience=1, learning_rate=1.0)
    run = train(noise.root, out, hasty)
    epochs = len(run.history())
    assert epochs < 9
    assert not (out / "checkpoints").exists()
    notes = []
    again = train(noise.root, out, replace(hasty, epochs=20), resume=True, listener=Listener(note=notes.append))
    assert len(again.history()) == epochs
    assert f"had stopped early, after {epochs} epochs" in notes[0]


def test_what_can_not_go_on_is_refused_by_name(noise, ended):
    (ended.root / "checkpoints").rename(ended.root.parent / "away")
    with pytest.raises(InputError, match=r"--epochs 4: .* kept nothing to go on from"):
        train(noise.root, ended.root, MORE, resume=True)
    assert (ended.root / "model.keras").is_file()
    with pytest.raises(InputError, match=r"--fine-tune-epochs 3: only the last phase .* by --epochs"):
        train(noise.root, ended.root, replace(FEW, fine_tune_epochs=3), resume=True)


@pytest.mark.slow
def test_private_runs_have_the_length_that_was_paid_for(small_table, tmp_path):
    options = {"model": "logistic", "epochs": 1, "dp_epsilon": 8.0, "dp_delta": 1e-2, "batch_size": 16}
    run = product.train(small_table.root, tmp_path / "run", **options)
    assert not (run.root / "checkpoints").exists()
    with pytest.raises(InputError, match=r"--epochs 2: .* is private, and its noise and its ledger are of 1"):
        product.train(small_table.root, run.root, resume=True, epochs=2)
    assert len(product.train(small_table.root, run.root, resume=True).history()) == 1


@pytest.mark.slow
def test_from_python_other_options_are_refused_as_on_the_command_line(noise, ended):
    with pytest.raises(InputError, match=r"--batch-size 3: the Run at .* has 8"):
        product.train(noise.root, ended.root, resume=True, batch_size=3)
    # Not given, they are the Run's own.
    assert len(product.train(noise.root, ended.root, resume=True).history()) == 2


@pytest.mark.slow
def test_all_folds_go_on(noise, tmp_path):
    cross_validate(noise.root, tmp_path / "cv", replace(FEW, epochs=1, folds=2))
    cross_validate(noise.root, tmp_path / "cv", replace(FEW, folds=2), resume=True)
    cross_validate(noise.root, tmp_path / "at once", replace(FEW, folds=2))
    for fold in ("fold-1", "fold-2"):
        require_same(Run.load(tmp_path / "cv" / fold), Run.load(tmp_path / "at once" / fold))
    assert (tmp_path / "cv" / "metrics.json").read_bytes() == (tmp_path / "at once" / "metrics.json").read_bytes()
