"""A study's cells one after the other: what fails leaves the others be, what is kept counts in the budget."""

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
    assert "trained for 50% of the epochs or rounds, but of what has no set number of them: b" in words
