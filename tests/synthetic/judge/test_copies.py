"""Copies: all are found, and none passes unsaid."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from medimg.data.imaging import read_image, write_png
from synthetic.judge import copies, pictures, thumbnails
from synthetic.judge.config import JudgeConfig
from synthetic.judge.judge import measures
from synthetic.judge.rows import load
from synthetic.judge.verdict import formal_guarantee
from synthetic.judge.verdict import judge as verdict_on
from tests.synthetic.judge.conftest import as_synthetic, as_synthetic_images

QUICK = JudgeConfig(train_with=("decision-tree",), features="dct", bootstrap=200, most_rows=50)


def quiet(what, done, total):
    """No progress."""


def small_of(subject):
    """Thumbnails of all images of 32 px."""
    return thumbnails.load(subject, 32, 1, np.arange(len(subject.train)), quiet)


@pytest.fixture(scope="module")
def honest(heart, tmp_path_factory):
    """Measures of held-out patients, who pass."""
    made = as_synthetic(heart, heart.rows("val"), tmp_path_factory.mktemp("honest"))
    config = dataclasses.replace(QUICK, most_rows=2000)
    return measures(load(made.root, heart.root), config)[0]


def graded(result, count, n, held_out, n_held_out, images=False):
    """Grade of privacy and the reasons, were these the copies."""
    found = copies.counted([("a", "b")] * count, n, held_out, n_held_out) | {"images": images}
    privacy = {**result["privacy"], "copies": found}
    judged = verdict_on({**result, "privacy": privacy}, "none")
    return judged["grades"]["privacy"], " ".join(judged["reasons"])


@pytest.mark.parametrize(
    ("counts", "images", "grade"),
    [
        ((5, 2000, 0, 624), False, "care"),
        ((5, 2000, 0, 624), True, "care"),
        ((1, 20_000, 0, 30), False, "care"),
        ((100, 2000, 0, 30), False, "care"),
        ((100, 2000, 0, 30), True, "fail"),
        ((60, 2000, 0, 624), False, "fail"),
        # One of held-out too: what copies are there beyond it is seen all the same.
        ((16, 2000, 1, 624), False, "care"),
        ((3, 2000, 5, 624), True, "care"),
        # Patients of few columns: no more of them than of held-out ones.
        ((205, 2000, 100, 1000), False, "pass"),
        ((0, 2000, 0, 30), False, "pass"),
        ((0, 2000, 0, 30), True, "pass"),
    ],
)
def test_copies_are_graded_whatever_few_held_out_patients_can_prove(honest, counts, images, grade):
    found, reasons = graded(honest, *counts, images)
    assert found == grade
    assert ("no copies" in reasons) == (counts[0] == 0)
    kind = "image" if images else "row"
    assert (f"{counts[0]} synthetic {kind}" in reasons) == (counts[0] > 0)
    assert "0.0%" not in reasons


def test_coincidence_is_seldom_called_copying(honest):
    draws = np.random.default_rng(0).binomial((600, 300), 0.1, (500, 2))
    grades = [graded(honest, made, 600, held_out, 300)[0] for made, held_out in draws]
    assert np.mean([grade != "pass" for grade in grades]) < 0.06


def test_two_copied_patients_are_told(heart, tmp_path):
    train, fresh = heart.rows("train"), heart.rows("val")
    made = as_synthetic(heart, pd.concat([train.iloc[[3, 9]], fresh]), tmp_path)
    result, _ = measures(load(made.root, heart.root), QUICK)
    # 2 of 138 against 0 of 114 prove nothing by themselves.
    assert result["privacy"]["copies"]["p"] > 0.2
    judged = verdict_on(result, "none")
    assert judged["verdict"] != "share"
    assert any("2 synthetic rows (1.4%) equal a training row" in text for text in judged["reasons"])


@pytest.mark.slow
def test_image_copies_are_sought_in_all_images(films, tmp_path):
    rows = pd.concat([films.rows("val"), films.rows("train").iloc[[5, 50, 110]]])
    subject = load(as_synthetic_images(films, rows, tmp_path, 0).root, films.root)
    result, judged = measures(subject, QUICK)
    assert len(judged.subject.made) == 50
    found = result["privacy"]["copies"]
    copied = films.rows("train")["image"].iloc[[5, 50, 110]].tolist()
    assert [pair["real"] for pair in found["pairs"]] == copied
    assert found["rate"] == pytest.approx(3 / len(rows))
    assert found["held_out_count"] == 0
    judged = verdict_on(result, formal_guarantee(subject))
    assert judged["grades"]["privacy"] == "fail"


def test_copies_of_images_are_those_of_brute_force(films, tmp_path, monkeypatch):
    rows = pd.concat([films.rows("train").iloc[:25], films.rows("val").iloc[:10]])
    # Noise about the tolerance: some are copies, some no longer.
    made = as_synthetic_images(films, rows, tmp_path, 3.95)
    for path in made.paths(made.rows())[::3]:
        write_png(path, read_image(path)[:, ::-1].copy())
    # Many small blocks: their seams must not show.
    monkeypatch.setattr(copies, "BLOCK", 7)
    monkeypatch.setattr(thumbnails, "BLOCK", 7)
    monkeypatch.setattr(copies, "_CELLS", 500)
    subject = load(made.root, films.root)
    found = copies.of_images(subject, small_of(subject))
    loaded = pictures.load(subject, quiet)
    names, expected = subject.train["image"].to_numpy(), []
    for image, name in zip(loaded.made, subject.made["image"], strict=True):
        for seen in (image, image[:, ::-1]):
            every = [copies.root_mean_square(seen, real) for real in loaded.train]
            if min(every) <= copies.TOLERANCE:
                expected.append({"synthetic": name, "real": names[np.argmin(every)]})
                break
    assert 5 < len(expected) < 25
    assert found["count"] == len(expected)
    assert found["pairs"] == expected[: copies.LISTED]
    assert found["held_out_count"] == 0


def test_mirrored_copies_are_copies(films, tmp_path):
    made = as_synthetic_images(films, films.rows("train").iloc[:20], tmp_path, 0)
    for path in made.paths(made.rows()):
        write_png(path, read_image(path)[:, ::-1].copy())
    subject = load(made.root, films.root)
    found = copies.of_images(subject, small_of(subject))
    assert found["count"] == 20
    assert [pair["real"] for pair in found["pairs"]] == films.rows("train")["image"][:20].tolist()
    assert found["held_out_count"] == 0
