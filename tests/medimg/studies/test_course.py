"""A study's cells one after the other: what fails leaves the others be, what is kept counts in the budget."""

import dataclasses

import pytest

from medimg.errors import InputError
from medimg.studies import budget, course, page
from medimg.studies.course import run_cells
from medimg.studies.declared import Cell, Study
from medimg.studies.running import Done, Runner, Scale
from medimg.studies.steps import Inputs, Shared
from tests.datasets import write_dataset

SMALL = {"model": "baseline_cnn", "model_arg": {"width": "4", "stages": "1"}, "epochs": 1, "image_size": 32}


def study(*cells: Cell, seeds: int = 1) -> Study:
    return Study("s", "", "", (), seeds, cells, {"AUROC": "train.metrics.auroc"}, ("AUROC",))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("course") / "images", 48)


def test_a_cell_that_cannot_be_run_leaves_the_others_be(images, tmp_path):
    """A model of tables learns from no image, and others do."""
    impossible = {**SMALL, "model": "logistic"}
    cells = (
        Cell("", "cannot", (("train", impossible),)),
        Cell("", "can", (("train", SMALL),)),
        Cell("", "vote", (("train", {}),), votes=("can", "cannot")),
    )
    with Shared() as shared:
        runner = Runner([images.root], tmp_path, 20, shared)
        went = run_cells(study(*cells), runner, 2, None, None)
        assert {label: len(its) for label, its in went.done.items()} == {"cannot": 0, "can": 2, "vote": 0}
        assert list(went.failed) == ["cannot"]
        assert "logistic" in went.failed["cannot"]
        assert page.failures(went.failed) == [f"cannot ({went.failed['cannot']})"]
        # With a budget it is not said to be left out for want of time, and the pilot is of one that can be run.
        went = run_cells(study(*cells[:2]), runner, 1, 1e4, None)
        assert (list(went.failed), went.cuts) == (["cannot"], ())
        with pytest.raises(InputError, match="logistic"):
            run_cells(study(cells[0]), runner, 1, None, None)


class Clock:
    """Seconds that pass as steps are run."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_a_study_given_again_does_not_get_its_budget_again(images, tmp_path, monkeypatch):
    """Steps take ten seconds each; the study has 65 of them, whether they are spent at once or not."""
    clock, ran = Clock(), []
    monkeypatch.setattr(course, "time", clock)

    class Timed(Runner):
        def _run(self, step: str, inputs: Inputs, folder, options: dict) -> dict:
            if len(ran) == stops_at:
                raise KeyboardInterrupt
            ran.append(folder)
            clock.now += 10.0
            return self._keep(folder, {"step": step, "seconds": 10.0, "result": {"times": 2, "seconds_each": 1.0}})

    cells = tuple(
        Cell("", name, (("train", {"epochs": 2, "learning_rate": rate}),)) for name, rate in (("a", 0.1), ("b", 0.2))
    )
    declared = study(*cells, seeds=9)

    def go(budget: float):
        clock.now = 0.0
        with Shared() as shared:
            return run_cells(declared, Timed([images.root], tmp_path, 20, shared), 9, budget, None)

    stops_at = 3
    with pytest.raises(KeyboardInterrupt):
        go(65.0)
    stops_at = -1
    killed = go(65.0)
    assert killed.scale == Scale()
    # The pilot is the first cell's first seed.
    assert len(ran) == 6
    assert killed.seconds == 60.0
    again = go(65.0)
    assert len(ran) == 6
    assert {label: len(its) for label, its in again.done.items()} == {"a": 3, "b": 3}
    assert (again.cuts, again.seconds) == (killed.cuts, 60.0)


def test_cells_that_a_budget_cannot_cut_are_said():
    """They had more training than those that they stand beside."""
    lengths = ({"epochs": 10}, {"tune": 4}, {"rounds": 1})
    cells = tuple(Cell("", name, (("train", its),)) for name, its in zip("abc", lengths, strict=True))
    declared = Study("s", "", "", (), 1, cells, {"m": ""}, ("m",))
    done = {"a": [Done({}, {}, {}, "")], "b": [Done({}, {}, {}, "")], "c": []}
    words = "; ".join(budget.cuts(declared, 1, budget.Cost(1, 1), 10, Scale(0.5), done, []))
    assert "trained for 50% of the epochs or rounds, but of what has no number of them that could be cut: b" in words


@pytest.mark.parametrize(("told", "runs"), [(20.0, True), (900.0, False)])
def test_what_follows_a_cell_takes_what_is_foretold_of_it(images, tmp_path, monkeypatch, told, runs):
    """Ten seconds a training and ten an explanation; another method's takes as long as the pilot has timed, or longer.

    On the second group's model every map takes twice as long, which its first method's explanation has shown.
    """
    clock, ran = Clock(), []
    monkeypatch.setattr(course, "time", clock)
    took = {"train": 10.0, "foretell": 1.0}

    class Timed(Runner):
        def _run(self, step: str, inputs: Inputs, folder, options: dict) -> dict:
            its = took.get(step) or options["slower"] * {"first": 10.0, "other": 5.0 + told}[options["method"]]
            ran.append((step, options.get("method", "")))
            clock.now += its
            result = {"seconds": {"first": 5.0, "other": told}} if step == "foretell" else {}
            result |= {"times": 2, "seconds_each": 1.0} if step == "train" else {}
            return self._keep(folder, {"step": step, "seconds": its, "result": result})

    cells = tuple(
        Cell(
            group,
            name,
            (("train", {"epochs": 2, "width": slower}), ("explain", {"method": name, "slower": slower})),
            follows=name == "other",
        )
        for group, slower in (("a", 1.0), ("b", 2.0))
        for name in ("first", "other")
    )
    declared = dataclasses.replace(study(*cells), foretold=("foretell", {"cells": {}}))

    def go():
        clock.now = 0.0
        with Shared() as shared:
            return run_cells(declared, Timed([images.root], tmp_path, 20, shared), 1, 150.0, None)

    went = go()
    assert went.scale == Scale()
    # 21 of the pilot, which is the first cell; 25, 30 and 50 of the others, or these two alone.
    assert {label: len(its) for label, its in went.done.items()} == {
        "a / first": 1, "a / other": int(runs), "b / first": 1, "b / other": int(runs),
    }  # fmt: skip
    assert went.seconds <= 150.0
    assert (went.cuts == ()) == runs
    assert runs or "left out: a / other, b / other" in "; ".join(went.cuts)
    count = len(ran)
    assert go().done.keys() == went.done.keys()
    assert len(ran) == count


def test_of_a_slower_model_what_follows_takes_longer():
    first, other = (Cell("b", name, (("train", {}), ("explain", {"m": name})), follows=name == "o") for name in "fo")
    cost = budget.Cost(fixed=10, trained=10, ends={"f": 10.0, "o": 30.0})
    slow = Done({}, {}, {"train": 5.0, "explain": 40.0}, "")
    # Its first method's maps took four times as long as the pilot's.
    assert budget.fits(other, cost, Scale(), [], 120.0, (first, slow))
    assert not budget.fits(other, cost, Scale(), [], 119.0, (first, slow))
    # Without the cell that it follows it has to train.
    assert budget.fits(other, cost, Scale(), [], 50.0)
    assert not budget.fits(other, cost, Scale(), [], 49.0)
    # What is not foretold, as of a method that can't explain the model, takes what the first does.
    assert cost.of(Cell("b", "unknown", (), follows=True), Scale()) == 20


def test_cells_that_a_cut_makes_alike_are_said():
    """One epoch and a third of three are the same training, and their rows are no comparison."""
    its = (("1 epoch", 1), ("3 epochs", 3), ("10 epochs", 10))
    cells = tuple(Cell("", name, (("train", {"epochs": epochs}),)) for name, epochs in its)
    done = {cell.label: [Done({}, {}, {}, "")] for cell in cells}
    declared = Study("s", "", "", (), 1, cells, {"m": ""}, ("m",))
    words = "; ".join(budget.cuts(declared, 1, budget.Cost(1, 1), 10, Scale(0.3), done, []))
    assert "what 1 epoch, 3 epochs differ in is cut away, so these are one training" in words
    assert "one training" not in "; ".join(budget.cuts(declared, 1, budget.Cost(1, 1), 10, Scale(0.7), done, []))
