"""Named features of images beside two halves of real ones."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from medimg.inspection.appearance import FEATURES, GROUPS, NAMES
from synthetic.judge.appearance import LEAST_IMAGES, compare, distances, farthest
from synthetic.judge.config import JudgeConfig
from synthetic.judge.judge import judge, measures
from synthetic.judge.printed import printed
from synthetic.judge.report_folder import REPORT, beside
from synthetic.judge.rows import load
from synthetic.judge.verdict import judge as verdict_on
from tests.synthetic.judge.conftest import as_synthetic_images

QUICK = JudgeConfig(train_with=("k-nn",), features="dct", bootstrap=200)


def points(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, len(NAMES)))


def compared(made, real, made_labels=None, labels=None, patients=None):
    return compare(
        made,
        made_labels if made_labels is not None else ["ill"] * len(made),
        real,
        labels if labels is not None else ["ill"] * len(real),
        patients if patients is not None else np.arange(len(real)).astype(str),
        np.random.default_rng(0),
    )


def test_distances_are_scipys():
    first, second = np.rint(points(40, 0) * 3), np.rint(points(55, 1) * 3 + 1)
    wanted = [ks_2samp(a, b).statistic for a, b in zip(first.T, second.T, strict=True)]
    np.testing.assert_allclose(distances(first, second), wanted)


def test_real_images_are_as_far_as_halves_of_real_ones():
    found = compared(points(150, 1), points(300, 2))
    assert found["mean"]["synthetic"] == pytest.approx(found["mean"]["real"], abs=0.03)
    # 150 images against 150: the mean of Kolmogorov's distribution, 0.87 * sqrt(2 / 150).
    assert found["mean"]["real"] == pytest.approx(0.87 * np.sqrt(2 / 150), rel=0.1)
    assert all(one["real"] < one["high"] for one in found["features"].values())


@pytest.mark.parametrize("group", FEATURES)
def test_the_feature_that_is_wrong_is_named(group):
    wrong = int(np.flatnonzero(group == GROUPS)[1])
    made = points(150, 1)
    made[:, wrong] += 3
    found = compared(made, points(300, 2))
    assert farthest(found) == NAMES[wrong]
    assert found["features"][NAMES[wrong]]["synthetic"] > 0.8
    others = {name: one["synthetic"] - one["real"] for name, one in found["groups"].items()}
    assert max(others, key=others.get) == group
    assert all(gap < 0.05 for name, gap in others.items() if name != group)


def test_another_mix_of_classes_is_no_distance():
    real, labels = points(400, 2), np.repeat(["ill", "well"], 200)
    real[:200] += 2
    made = points(150, 3)
    made[:120] += 2
    mixed = compared(made, real, np.repeat(["ill", "well"], [120, 30]), labels)
    # All 30 of one class, and of the other what the smaller half has.
    assert mixed["images"] == pytest.approx(126, abs=4)
    assert mixed["mean"]["synthetic"] == pytest.approx(mixed["mean"]["real"], abs=0.04)
    told = compared(made, real)
    assert told["mean"]["synthetic"] > told["mean"]["real"] + 0.1


def test_a_patient_lies_in_one_half():
    # Each patient's images are alike: halves that shared patients would be nearer than other patients are.
    patients = np.repeat(np.arange(20).astype(str), 15)
    real = np.repeat(points(20, 5), 15, axis=0)
    found = compared(np.repeat(points(20, 6), 15, axis=0), real, patients=patients)
    apart = compared(real, real)
    assert found["mean"]["real"] > 3 * apart["mean"]["real"]
    assert found["mean"]["synthetic"] == pytest.approx(found["mean"]["real"], abs=0.08)


def test_too_few_images_are_told():
    found = compared(points(LEAST_IMAGES - 1, 0), points(100, 1))
    assert f"fewer than {LEAST_IMAGES} images" in found["not_available"]
    assert "not_available" in compared(points(50, 0), points(50, 1), ["other"] * 50)


@pytest.mark.slow
def test_it_is_in_verdict_table_and_page(films, tmp_path):
    made = as_synthetic_images(films, films.rows("val"), tmp_path / "made", 40)
    found = judge(made.root, films.root, QUICK)
    told = [reason for reason in found["reasons"] if "brightness, texture and shape are" in reason]
    assert len(told) == 1
    assert farthest(found["fidelity"]["appearance"]) in told[0]
    rows = [row for _, _, rows in printed(found) for row in rows]
    names = [row[0] for row in rows]
    assert all(f"{group}, of halves" in names for group in FEATURES)
    page = (beside(made.root) / REPORT).read_text(encoding="utf-8")
    assert all(name in page for name in NAMES)
    assert "Halves of real" in page


def test_other_real_patients_pass_by_it(films, tmp_path):
    result, _ = measures(load(as_synthetic_images(films, films.rows("val"), tmp_path, 0).root, films.root), QUICK)
    mean = result["fidelity"]["appearance"]["mean"]
    assert abs(mean["synthetic"] - mean["real"]) < 0.05
    assert not any("brightness, texture" in reason for reason in verdict_on(result, "")["reasons"])
    few = pd.DataFrame(result["fidelity"]["appearance"]["features"]).T
    assert list(few.index) == list(NAMES)
