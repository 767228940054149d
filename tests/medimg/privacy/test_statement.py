"""The guarantee in words: what it says of images and of rows, of trainings and of counts."""

from pathlib import Path

import pytest

from medimg.privacy.assumptions import WHEN, Circumstances
from medimg.privacy.ledger import Ledger, read
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.statement import summary
from medimg.privacy.terms import Terms

TRAINING = Mechanism.poisson(0.1, 2.0)
COUNTS = Mechanism.shuffle(1, 14.4)


def content(folder: Path, **phases: tuple[int, Mechanism]) -> dict:
    """A privacy.json of 100 patients."""
    terms = Terms(1e-5, 3.0, 1.0, 10, "draw")
    run = Ledger.of(folder, terms, Circumstances(), None)
    for phase, (steps, mechanism) in phases.items():
        run.record(phase.replace("_", " "), 0, steps, mechanism)
    run.complete()
    return read(folder)


def test_a_row_is_called_what_it_is(tmp_path):
    told = content(tmp_path, train=(50, TRAINING))
    for row, words in (("image", "images"), ("row", "rows"), ("", "data")):
        assert f"one patient of split 'train' with all their {words}. 50 steps" in summary(told, row)
    assert "images" not in summary(told, "row")


@pytest.mark.parametrize(("phase", "row", "model"), [("discriminator", "image", "dcgan"), ("train", "row", "ctgan")])
def test_a_generators_class_counts_are_no_step_of_its_training(tmp_path, phase, row, model):
    told = content(tmp_path, class_counts=(1, COUNTS), **{phase: (50, TRAINING)})
    assert told["steps"] == 51
    text = summary(told, row, model)
    assert text.startswith("Trained with differential privacy for one patient")
    assert (
        "50 steps, about 10 patients in each (drawn by Poisson sampling), contributions clipped to 1, noise "
        "multiplier 2. The patients of each class were counted once, each as at most one, with Gaussian noise of "
        "standard deviation 14.4." in text
    )


def test_marginals_are_counted_and_nothing_is_clipped(tmp_path):
    told = content(tmp_path, train=(1, Mechanism.poisson(1.0, 3.5)), class_counts=(1, COUNTS))
    text = summary(told, "row", "marginals")
    epsilon = told["epsilon"]["pld"]
    assert text.startswith(f"Counted with differential privacy for one patient: (epsilon, delta) = ({epsilon:.3g}, ")
    assert "Every column was counted once in each class, each patient as one row" in text
    assert "deviation 3.5 times the L2 norm" in text
    assert "deviation 14.4." in text
    for word in ("Trained", "steps", "clipped", "images", "sampling"):
        assert word not in text


def test_counts_alone_are_told_without_a_training(tmp_path):
    text = summary(content(tmp_path, class_counts=(1, COUNTS)), "row", "ctgan")
    assert "steps" not in text
    assert "deviation 14.4." in text


def test_a_site_may_be_called_as_the_counts_are(tmp_path):
    told = content(tmp_path, class_counts=(5, TRAINING))
    text = summary({**told, "sites": {}, "composition": "Sites are apart."}, "image")
    assert "At most 5 steps" in text
    assert "Sites are apart." in text


def test_all_that_is_not_covered_stands_with_the_numbers(tmp_path):
    told = content(tmp_path, train=(50, TRAINING))
    text = summary(told, "image")
    said = text[text.index("Not covered: ") :]
    reasons = [a for a in told["assumptions"] if a.startswith("Not covered: ")]
    assert len(reasons) >= 3
    # One more than the assumptions call so: the parts that are not trained on.
    assert said.count("(") == len(reasons) + 1 == int(said.rpartition("(")[2].partition(")")[0])
    for name in (
        "patients of the validation and test parts",
        "noise is drawn in floating point",
        "how long the training as a whole took",
    ):
        assert name in said


def test_every_reason_is_cut_to_a_name_that_says_what_it_is():
    from medimg.privacy.statement import _not_covered

    (said,) = _not_covered(list(WHEN.values()))
    assert "(4) options that were chosen by looking at results of other trainings" in said
    assert "; (5) the seed of the noise was fixed" in said
    assert _not_covered(["Protected is a patient."]) == []
