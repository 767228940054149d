"""The attacks of `benchmarks.privacy_attacks` run, see what noise does not hide, and find no more than is claimed."""

import numpy as np
import pytest

from benchmarks import privacy_attacks
from benchmarks.neighbours import PATHS
from benchmarks.privacy_attacks import Releases, attacked, bound, most, pull


def releases(shift: float, trainings: int = 60, seed: int = 0) -> Releases:
    """Gaussian noise in five numbers, and a patient who moves the second of them."""
    present = np.arange(2 * trainings) % 2 == 0
    values = np.random.default_rng(seed).normal(size=(2 * trainings, 5))
    values[:, 1] += shift * present
    return Releases(values, present, 1.0)


def test_the_bound_grows_with_what_the_patient_moves():
    direction = pull(releases(100.0, seed=1))
    assert np.argmax(np.abs(direction)) == 1
    found = [bound(releases(shift), direction, 1e-3) for shift in (0.0, 3.0, 100.0)]
    assert found[0] == 0
    assert found[0] < found[1] < found[2] == most(60, 1e-3)
    # 40 of 40 right and none of 40 wrong: Clopper-Pearson's lower end is .025^(1/40).
    low = 0.025 ** (1 / 40)
    assert found[2] == pytest.approx(np.log((low - 1e-3) / (1 - low)))


def test_choosing_and_counting_share_no_training():
    found = releases(0.0, trainings=50)
    assert found.choosing.sum() == 34
    assert found.choosing[found.present].sum() == 17
    moved = found.values + 1000.0 * ~found.choosing[:, None]
    assert np.array_equal(pull(found), pull(Releases(moved, found.present, 1.0)))


@pytest.mark.slow
def test_training_on_a_table(tmp_path, monkeypatch):
    """A seventh of epsilon 1 is claimed, so that few trainings could refute it: the same without noise is seen to."""
    monkeypatch.setitem(privacy_attacks.CLAIM, "dp_epsilon", 0.15)
    # Patients are drawn by secret lots: of nine trainings one may have drawn the patient too seldom to be told.
    for number in range(3):
        found = attacked(PATHS["train, table"], 9, 9, tmp_path / str(number))
        assert found["claim"] == pytest.approx(0.15, rel=1e-3)
        assert found["bound"] <= found["claim"]
        if found["control"] == found["control_most"]:
            break
    assert found["claim"] < found["control"] == found["control_most"]
