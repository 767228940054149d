"""The tail: a handful of near copies is found and named, whatever the averages say; real patients are not accused."""

import dataclasses
import shutil
from itertools import combinations

import cv2
import numpy as np
import pandas as pd
import pytest

from medimg.data.dataset import Dataset
from medimg.data.imaging import read_image, write_png
from medimg.data.schema import Feature
from synthetic.judge import tail, tail_parts, thresholds, thumbnails
from synthetic.judge.closest_two import closest_two, persons
from synthetic.judge.config import JudgeConfig
from synthetic.judge.judge import measures
from synthetic.judge.rows import load
from synthetic.judge.tail_findings import tail_findings
from synthetic.judge.verdict import judge as verdict_on
from tests.synthetic.judge.conftest import as_real, as_synthetic, as_synthetic_images, mixed_rows, off_by_one

FOUR = ("age", "trestbps", "chol", "thalach")
QUICK = JudgeConfig(train_with=("decision-tree",), features="dct", bootstrap=200)


@pytest.fixture(scope="module")
def ward(tmp_path_factory) -> Dataset:
    """A mixed table with missing values."""
    root = tmp_path_factory.mktemp("tail") / "ward"
    return as_real(mixed_rows(700, 5), root, (400, 150, 150))


def tail_of(real, made):
    subject = load(made.root, real.root)
    if real.is_table:
        return tail.measure(tail_parts.of_table(subject, 0))
    chosen = tail_parts.some(len(subject.train), 0)
    small = thumbnails.load(subject, 32, 1, chosen, lambda *done: None)
    return tail.measure(tail_parts.of_images(subject, small, 0))


def grade(real, found):
    grades = {finding.grade for finding in tail_findings(found, not real.is_table)}
    return next((one for one in ("fail", "care") if one in grades), "pass")


def named(found, kind="near"):
    return {row["synthetic"] for row in found["worst"] if row["kind"] == kind}


def synthetic_names(count):
    return {f"synthetic-{number}" for number in range(count)}


def judged(real, made):
    result, _ = measures(load(made.root, real.root), QUICK)
    return verdict_on(result, "none"), result


# Statistics


def test_the_chance_of_leading_is_that_of_all_orders():
    places = list(combinations(range(7), 4))
    for count in (1, 2, 3, 4):
        # The first `count` of seven ranks are all of the four synthetic ones.
        exact = np.mean([set(range(count)) <= set(place) for place in places])
        scores = np.arange(7.0)[::-1]
        made = np.concatenate([scores[:count], scores[count + 1 :][: 4 - count]])
        held_out = np.setdiff1d(scores, made)
        found = tail.leading(made, held_out)
        assert found["count"] == count
        assert found["p"] == pytest.approx(exact)


def test_ties_and_nobody_held_out_prove_nothing():
    assert tail.leading(np.ones(5), np.ones(3)) == {"count": 0, "p": 1.0}
    assert tail.leading(np.ones(5), np.zeros(0)) == {"count": 0, "p": 1.0}


@pytest.mark.parametrize("dimension", [2, 6])
def test_the_limit_is_seldom_passed_by_rows_drawn_alike(dimension):
    draw, passed = np.random.default_rng(0), 0
    for _ in range(100):
        train, held_out, made = (draw.normal(size=(n, dimension)) for n in (150, 50, 200))
        groups = np.arange(150)
        real = [closest_two([train], train, groups, groups).gap(1e-9), closest_two([held_out], train, groups).gap(1e-9)]
        limit = tail.gap_limit(np.concatenate(real), len(made))
        passed += (closest_two([made], train, groups).gap(1e-9) > limit).any()
    assert passed <= 10


def test_no_law_no_limit():
    assert tail.gap_limit(np.zeros(40), 100) == np.inf
    assert tail.gap_limit(np.zeros(0), 100) == np.inf


def test_the_low_percentile_holds_what_it_promises():
    draw, covered = np.random.default_rng(0), 0
    for _ in range(300):
        found = tail.low_percentile(draw.uniform(size=500))
        covered += found["low"] <= tail.LOW <= found["high"]
    assert covered >= 290
    assert tail.low_percentile(np.arange(20.0))["low"] is None
    assert tail.low_percentile(np.zeros(0))["value"] is None


def test_the_closest_two_are_of_two_persons_by_brute_force():
    draw = np.random.default_rng(0)
    rows, pool = draw.normal(size=(40, 3)), draw.normal(size=(60, 3))
    pool[7] = pool[3]
    patients = np.arange(60) // 2
    groups = persons(pool, patients)
    # 2 and 3, 6 and 7 are two patients of two rows each, and one person.
    assert groups[2] == groups[3] == groups[6] == groups[7]
    assert len(np.unique(groups)) == 29
    found = closest_two([rows, -rows], pool, groups)
    for i, row in enumerate(rows):
        every = np.minimum(*(np.linalg.norm(pool - form, axis=1) for form in (row, -row)))
        assert found.distance[i] == pytest.approx(every.min())
        assert found.second[i] == pytest.approx(every[groups != groups[every.argmin()]].min())
    own = closest_two([pool], pool, groups, groups)
    assert (own.distance > 0).all()
    assert closest_two([pool[:1]], pool[:2], groups[:2]).gap(1e-9).tolist() == [0.0]


# Tables


def test_five_percent_near_copies_are_not_shared(heart, tmp_path):
    near = off_by_one(heart.rows("train").iloc[:7], FOUR, 0)
    made = as_synthetic(heart, pd.concat([near, heart.rows("val")]), tmp_path)
    found, result = judged(heart, made)
    assert result["privacy"]["copies"]["count"] == 0
    assert found["verdict"] == "do-not-share"
    assert named(result["privacy"]["tail"]) == synthetic_names(7)
    assert "7 synthetic rows (4.9%) nearly equal a training patient's (synthetic-" in str(found["reasons"])


@pytest.mark.parametrize("copied", [1, 3])
def test_a_handful_of_two_thousand_is_named_and_shared_with_care_at_most(ward, tmp_path, copied):
    near = off_by_one(ward.rows("train").iloc[:copied], [f"lab{i}" for i in range(4)], 0)
    # Shared by whoever draws from the ward's law: 2,000 patients who never were in it.
    made = as_synthetic(ward, pd.concat([near, mixed_rows(2000 - copied, 8)]), tmp_path)
    found = tail_of(ward, made)
    assert grade(ward, found) == "care"
    assert named(found) == synthetic_names(copied)
    worst = found["worst"][0]
    assert worst["number"] <= copied
    assert worst["distance"] < found["tolerance"]
    reasons = " ".join(one.text for one in tail_findings(found, False))
    assert all(name in reasons for name in named(found))


def test_equal_rows_are_told_where_chance_does_not_explain_them(ward, tmp_path):
    rows = pd.concat([ward.rows("train").iloc[:40], mixed_rows(400, 8)])
    found = tail_of(ward, as_synthetic(ward, rows, tmp_path))
    assert grade(ward, found) == "fail"
    assert found["equal"]["count"] == 40
    assert named(found, "equal") < synthetic_names(40)
    assert len(named(found, "equal")) == tail.NAMED


def test_equality_by_chance_accuses_nobody(tmp_path):
    draw = np.random.default_rng(0)

    def few(n):
        rows = pd.DataFrame(draw.integers(0, 2, (n, 4)).astype(str), columns=list("abcd"))
        return rows.assign(e=draw.integers(0, 3, n), label=draw.choice(["ill", "well"], n))

    rows = few(300).assign(site="", split=["train"] * 200 + ["test"] * 100)
    rows["row"] = rows["patient"] = [f"p{i}" for i in range(300)]
    features = (*(Feature(name, "categorical") for name in "abcd"), Feature("e", "integer"))
    root = tmp_path / "few"
    root.mkdir()
    Dataset(root, "few", "binary", ("well", "ill"), rows, features=features).save()
    real = Dataset.load(root)
    found = tail_of(real, as_synthetic(real, few(500), tmp_path / "made"))
    # Nearly every synthetic row equals somebody; so does nearly every patient.
    assert found["equal"]["rate"] > 0.8
    assert grade(real, found) == "pass"


def test_a_row_made_again_and_again_counts_once(heart, tmp_path):
    near = off_by_one(heart.rows("train").iloc[:1], FOUR, 0)
    rows = pd.concat([*[near] * 30, heart.rows("val")])
    found = tail_of(heart, as_synthetic(heart, rows, tmp_path))
    assert found["near"]["count"] == 1
    assert grade(heart, found) == "care"


def test_a_patient_who_is_in_train_under_two_names_is_found(ward, tmp_path):
    rows = ward.manifest.copy()
    columns = [feature.name for feature in ward.inputs]
    same = [*columns, "label"]
    rows.loc[rows.index[1], same] = rows.loc[rows.index[0], same]
    (tmp_path / "twice").mkdir()
    dataclasses.replace(ward, root=tmp_path / "twice", manifest=rows).save()
    twice = Dataset.load(tmp_path / "twice")
    near = off_by_one(twice.rows("train").iloc[:1], ["lab3", "lab5"], 0)
    made = as_synthetic(twice, pd.concat([near, mixed_rows(200, 8)]), tmp_path / "made")
    assert named(tail_of(twice, made)) == {"synthetic-0"}


@pytest.mark.parametrize("seed", range(3))
def test_a_column_off_scale_hides_nobody(ward, tmp_path, seed):
    """One wild value would make all others alike, were columns measured by their standard deviation."""
    rows = ward.manifest.copy()
    rows.loc[rows.index[50], "lab2"] = 1e7
    (tmp_path / "wild").mkdir()
    dataclasses.replace(ward, root=tmp_path / "wild", manifest=rows).save()
    wild = Dataset.load(tmp_path / "wild")
    near = off_by_one(wild.rows("train").iloc[:20], ["lab0", "lab1"], seed)
    made = as_synthetic(wild, pd.concat([near, mixed_rows(300, 8 + seed)]), tmp_path / "made")
    assert grade(wild, tail_of(wild, made)) == "fail"


def test_real_patients_are_seldom_accused(heart, ward, tmp_path):
    """Eight deals of each table, distinct patients; benchmarks/judge_tail.py deals more."""
    alarms = 0
    for name, real in (("heart", heart), ("ward", ward)):
        inputs = [feature.name for feature in real.inputs]
        whole = real.manifest.drop_duplicates([*inputs, "label"]).reset_index(drop=True)
        for seed in range(8):
            rows = whole.iloc[np.random.default_rng(seed).permutation(len(whole))]
            n = len(rows)
            split = np.where(np.arange(n) < 0.4 * n, "train", "test")
            root = tmp_path / f"{name}{seed}"
            root.mkdir()
            part = rows.assign(split=split).iloc[: int(0.7 * n)]
            dataclasses.replace(real, root=root, manifest=part.reset_index(drop=True)).save()
            made = as_synthetic(real, rows.iloc[int(0.7 * n) :], root / "made")
            alarms += grade(real, tail_of(Dataset.load(root), made)) != "pass"
    assert alarms <= 1


# Images


def changed(real, rows, fresh, change, root):
    """Changed copies of training images, then fresh ones."""
    made = as_synthetic_images(real, pd.concat([rows, fresh]), root, 0)
    for path in made.paths(made.rows())[: len(rows)]:
        write_png(path, change(read_image(path)))
    return made


def noisy(image):
    draw = np.random.default_rng(int(image.sum()) % 1000)
    return np.clip(image + draw.normal(0, 8, image.shape), 0, 255).astype(np.uint8)


CHANGES = {
    "noise": noisy,
    "brighter": lambda image: cv2.addWeighted(image, 0.8, image, 0, 30),
    "mirrored, noisy": lambda image: noisy(image[:, ::-1].copy()),
    "moved": lambda image: np.roll(image, 1, axis=1),
    "blurred": lambda image: cv2.GaussianBlur(image, (3, 3), 0),
}


@pytest.mark.parametrize("name", CHANGES)
def test_near_copies_of_images_are_named(films, tmp_path, name):
    train, fresh = films.rows("train"), films.rows("val")
    made = changed(films, train.iloc[:5], fresh, CHANGES[name], tmp_path / "many")
    found = tail_of(films, made)
    assert grade(films, found) == "fail"
    assert named(found) == {f"images/{number}.png" for number in range(5)}
    one = tail_of(films, changed(films, train.iloc[:1], fresh, CHANGES[name], tmp_path / "one"))
    assert grade(films, one) == "care"
    assert named(one) == {"images/0.png"}


@pytest.mark.slow
def test_real_images_are_seldom_accused(films, tmp_path):
    alarms = 0
    for seed in range(8):
        rows = films.manifest.iloc[np.random.default_rng(100 + seed).permutation(len(films.manifest))]
        split = np.where(np.arange(len(rows)) < 120, "train", "test")
        root = tmp_path / str(seed)
        root.mkdir()
        shutil.copytree(films.root / "images", root / "images")
        part = rows.assign(split=split).iloc[:210]
        dataclasses.replace(films, root=root, manifest=part.reset_index(drop=True)).save()
        made = as_synthetic_images(films, rows.iloc[210:], tmp_path / f"made{seed}", 0)
        alarms += grade(films, tail_of(Dataset.load(root), made)) != "pass"
    assert alarms <= 1


def test_the_other_images_of_a_patient_are_nobody_elses(films, tmp_path):
    """Second distances are to another patient: two films of one would hide a copy of either."""
    train = films.rows("train")
    manifest = films.manifest.copy()
    copied, other = train.index[:2]
    manifest.loc[other, "patient"] = manifest.loc[copied, "patient"]
    root = tmp_path / "two"
    shutil.copytree(films.root / "images", root / "images")
    twin = root / manifest.loc[other, "image"]
    write_png(twin, noisy(read_image(films.paths(train.iloc[:1])[0])))
    dataclasses.replace(films, root=root, manifest=manifest).save()
    real = Dataset.load(root)
    copies = real.rows("train").iloc[:1]
    made = changed(real, copies, films.rows("val"), CHANGES["blurred"], tmp_path / "made")
    assert named(tail_of(real, made)) == {"images/0.png"}


# Grades


@pytest.mark.parametrize(
    ("rate", "coincidence", "count", "expected"),
    [
        (0.05, 0.0, 100, "fail"),
        (0.0015, 0.0, 3, "care"),
        (1 / 300, 0.0, 1, "care"),
        (0.1, 0.0, 1, "care"),
        (0.1, 0.12, 50, "pass"),
        (0.0, 0.0, 0, "pass"),
    ],
)
def test_grades_of_near_copies(rate, coincidence, count, expected):
    from synthetic.judge.tail_findings import grade_of_near

    found = {"rate": rate, "coincidence": coincidence, "count": count}
    assert grade_of_near(found) == expected
    least = {"pass": "care" if count else "pass"}.get(expected, expected)
    assert grade_of_near({**found, "unexplained": min(1, count)}) == least


def test_rows_beyond_all_held_out_ones_are_care_by_distance_and_fail_by_ratio():
    low = {"value": 0.5, "low": 0.4, "high": 0.6}
    found = {
        "near": {"count": 0},
        "worst": [],
        "closer_than_held_out": {"distance": {"count": 60, "p": 1e-6}, "ratio": {"count": 0, "p": 1.0}},
        "low_percentile": {"share": 0.02, "synthetic": low, "real": low},
        "measured": 1000,
        "held_out": 200,
    }
    assert [one.grade for one in tail_findings(found, False)] == ["care"]
    found["closer_than_held_out"]["ratio"] = {"count": 60, "p": 1e-6}
    assert [one.grade for one in tail_findings(found, False)] == ["care", "fail"]
    nearer = {"value": 0.1, "low": 0.05, "high": 0.2}
    found["closer_than_held_out"]["ratio"]["p"] = thresholds.ALARM_P
    found["low_percentile"]["synthetic"] = nearer
    texts = [one.text for one in tail_findings(found, False)]
    assert "0.10 [0.05, 0.20] of the distance to anybody else, of real ones 0.50" in texts[1]
