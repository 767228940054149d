"""Planted generators of a table: each fault is caught by the part that is there for it; real patients pass."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ks_2samp

from medimg.errors import InputError
from synthetic.judge import copies, novelty, utility
from synthetic.judge.config import CLASSIFIERS, JudgeConfig
from synthetic.judge.judge import judge, measures
from synthetic.judge.printed import printed
from synthetic.judge.quality import quality
from synthetic.judge.report_folder import beside
from synthetic.judge.rows import load
from tests.synthetic.judge.conftest import as_synthetic, verdict

QUICK = JudgeConfig(train_with=("logistic-regression", "k-nn"), bootstrap=200)


@pytest.fixture(scope="module")
def honest(heart, tmp_path_factory):
    """Real patients who were in neither part, judged and written."""
    root = tmp_path_factory.mktemp("honest")
    synthetic = as_synthetic(heart, heart.rows("val"), root, model="ctgan")
    return synthetic, judge(synthetic.root, heart.root, QUICK)


def test_real_patients_held_out_pass(honest):
    _, found = honest
    assert found["verdict"] == "share", found["reasons"]
    assert set(found["grades"].values()) == {"pass"}
    assert "No formal guarantee" in found["reasons"][-1]


def test_the_judgement_is_written_whole(honest):
    synthetic, found = honest
    folder = beside(synthetic.root)
    written = json.loads((folder / "judgement.json").read_text(encoding="utf-8"))
    assert written["verdict"] == found["verdict"]
    assert set(written["utility"]["real"]) == set(QUICK.train_with)
    for training in ("real", "synthetic", "both"):
        auroc = written["utility"][training]["k-nn"]["auroc"]
        assert auroc["low"] < auroc["value"] < auroc["high"]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("data:image/png") == len(list(folder.glob("figures/*.png"))) == 5
    assert "shows real patients" in page
    assert " synthetic rows by ctgan, judged against " in " ".join(page.split())


def test_the_gap_is_the_mean_of_the_classifiers_gaps(honest):
    utility = honest[1]["utility"]
    each = [
        utility["real"][name]["auroc"]["value"] - utility["synthetic"][name]["auroc"]["value"]
        for name in QUICK.train_with
    ]
    assert utility["gap"]["value"] == pytest.approx(np.mean(each))
    assert utility["gap"]["low"] < utility["gap"]["value"] < utility["gap"]["high"]


def test_tables_for_the_command_line(honest):
    tables = printed(honest[1])
    assert [len(columns) for _, columns, _ in tables] == [5, 3, 3]
    assert all(len(row) == len(columns) for _, columns, rows in tables for row in rows)


def test_a_copycat_is_caught_by_privacy(heart, tmp_path):
    found = verdict(heart, as_synthetic(heart, heart.rows("train"), tmp_path), QUICK)
    assert found["verdict"] == "do-not-share"
    assert found["grades"]["privacy"] == "fail"
    assert found["privacy"]["copies"]["rate"] == 1.0
    assert found["privacy"]["membership"]["distance"]["auc"]["value"] > 0.95
    assert any("'" in reason and "guessed right" in reason for reason in found["reasons"])
    assert found["grades"]["utility"] == found["grades"]["diversity"] == "pass"


def test_a_copycat_that_blurs_its_numbers_is_caught_too(heart, tmp_path):
    rows = heart.rows("train").copy()
    for name in ("age", "trestbps", "chol", "thalach"):
        rows[name] += np.random.default_rng(0).normal(0, 0.2 * rows[name].std(), len(rows))
    found = verdict(heart, as_synthetic(heart, rows, tmp_path), QUICK)
    assert found["privacy"]["copies"]["rate"] < 0.2
    assert found["grades"]["privacy"] == "fail"
    assert found["privacy"]["closer_to_train"]["p"] < 0.01


def test_a_constant_generator_is_caught_by_diversity(heart, tmp_path):
    # Two rows that no patient has, one of each class.
    rows = heart.rows("train").drop_duplicates("label").assign(age=50.5, chol=233.3)
    found = verdict(heart, as_synthetic(heart, pd.concat([rows] * 60), tmp_path), QUICK)
    assert found["verdict"] == "do-not-share"
    assert found["grades"]["diversity"] == "fail"
    assert found["grades"]["privacy"] == "pass"
    assert found["diversity"]["spread"]["ratio"] == 0.0
    assert found["diversity"]["duplicates"]["synthetic"] > 0.9


def test_shuffled_columns_are_caught_by_fidelity(heart, tmp_path):
    rows, draw = heart.rows("train"), np.random.default_rng(1)
    shuffled = pd.DataFrame({c: rows[c].to_numpy()[draw.permutation(len(rows))] for c in rows})
    found = verdict(heart, as_synthetic(heart, shuffled, tmp_path), QUICK)
    assert found["verdict"] == "do-not-share"
    assert found["grades"]["fidelity"] == "fail"
    assert found["fidelity"]["structure"]["kept"] < 0.3
    # Each column alone is perfect, and no patient is given away.
    assert found["fidelity"]["column_shapes"]["synthetic"] > 0.9
    assert found["grades"]["privacy"] == "pass"


def test_column_shapes_are_sdmetrics(heart):
    real, other = heart.rows("test"), heart.rows("val")
    found = quality(real, other, heart.inputs)
    statistic = ks_2samp(real["age"], other["age"]).statistic
    assert found["columns"]["age"] == pytest.approx(1 - statistic)
    assert found["column_shapes"] == pytest.approx(np.nanmean(list(found["columns"].values())))


def test_copies_are_counted_beside_those_of_held_out_rows(heart, tmp_path):
    train = heart.rows("train")
    fresh = heart.rows("val").assign(age=np.arange(len(heart.rows("val"))) + 0.25)
    mixed = pd.concat([train.iloc[:7], fresh])
    found = copies.of_table(load(as_synthetic(heart, mixed, tmp_path).root, heart.root))
    assert found["count"] == 7
    assert {pair["real"] for pair in found["pairs"]} <= set(train["row"])
    assert found["rate"] == pytest.approx(7 / len(mixed))


def test_values_unseen_in_train_are_counted(heart, tmp_path):
    rows = heart.rows("train").iloc[:40].copy()
    rows.iloc[0, rows.columns.get_loc("cp")] = "9"
    rows.iloc[1, rows.columns.get_loc("age")] = 300.0
    rows.iloc[2, rows.columns.get_loc("age")] = np.nan
    found = novelty.measure(load(as_synthetic(heart, rows, tmp_path).root, heart.root))
    assert found["columns"] == {"age": {"outside_range": 1, "missing": 1}, "cp": {"unseen_category": 1}}
    assert found["synthetic"] == pytest.approx(3 / 40)


def test_another_version_of_the_real_set_is_refused(heart, tmp_path):
    made = as_synthetic(heart, heart.rows("val"), tmp_path, source="there", source_fingerprint="0")
    with pytest.raises(InputError, match="was made from there"):
        load(made.root, heart.root)


def test_the_real_set_itself_is_refused(heart):
    with pytest.raises(InputError, match="itself"):
        load(heart.root, heart.root)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_with": ("forest",)}, "--train-with forest: choose one or more of"),
        ({"train_with": ("small-cnn",)}, "takes images only"),
        ({"train_with": ("svm", "small-cnn")}, "takes images only"),
        ({"train_with": ("mlp",), "classifier": "svm"}, "--classifier svm: is not trained here"),
    ],
)
def test_classifiers_that_cannot_be_had(heart, tmp_path, options, message):
    made = as_synthetic(heart, heart.rows("val"), tmp_path)
    with pytest.raises(InputError, match=message):
        measures(load(made.root, heart.root), JudgeConfig(**options))


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_every_classifier_learns_and_answers_for_classes_it_never_saw(classifier):
    from synthetic.judge.classifiers import fit_predict

    draw = np.random.default_rng(0)
    features = draw.normal(size=(120, 3))
    targets = (features[:, 0] > 0) * 2
    scores = fit_predict(classifier, features, targets, features, 3, 0)
    assert scores.shape == (120, 3)
    assert (scores[:, 1] == 0).all()
    assert (scores.argmax(axis=1) == targets).mean() > 0.9
    alone = fit_predict(classifier, features, np.full(120, 1), features, 3, 0)
    assert (alone == [0, 1, 0]).all()


def test_classifiers_that_answer_alike_are_not_certainly_equal(heart, tmp_path):
    subject = load(as_synthetic(heart, heart.rows("val"), tmp_path).root, heart.root)
    truth = heart.targets(subject.test)
    answers = np.eye(2)[truth] * 0.8 + 0.1
    found = utility.measure(subject, ("any",), lambda *_: answers, JudgeConfig(bootstrap=200), lambda *_: None)
    fewest = min(subject.test.loc[truth == kind, "patient"].nunique() for kind in (0, 1))
    reach = 1 - 0.025 ** (1 / fewest)
    equal = {"value": 0.0, "low": pytest.approx(-reach), "high": pytest.approx(reach)}
    assert found["gaps"]["any"]["auroc"] == found["gains"]["any"]["auroc"] == equal
    assert {key: found["gap"][key] for key in equal} == equal
    assert 0 < found["gaps"]["any"]["accuracy"]["high"] < reach
