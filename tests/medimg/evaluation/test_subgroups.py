"""`evaluate --by`: groups as asked, gaps by brute force, refusals."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.subgroups import Grouping, gap_note, groupings, summarise_subgroups
from medimg.report.write import write


def rows_of(n: int = 400) -> tuple[Predictions, pd.DataFrame]:
    """A score that ranks women well and men badly."""
    draw = np.random.default_rng(0)
    sex = draw.choice(["F", "M", ""], n, p=[0.5, 0.45, 0.05])
    truth = draw.integers(0, 2, n)
    score = 1 / (1 + np.exp(-(draw.normal(0, 1, n) + np.where(sex == "F", 3.0, 0.5) * (truth - 0.5))))
    rows = pd.DataFrame(
        {"patient": [f"p{i // 2}" for i in range(n)], "sex": sex, "age": draw.integers(20, 80, n).astype(str)}
    )
    return Predictions("binary", ("no", "yes"), truth, np.stack([1 - score, score], axis=1), 0.5), rows


def test_groups_and_the_gap_by_brute_force():
    predictions, rows = rows_of()
    found = summarise_subgroups(predictions, rows, groupings("sex,age:20"), 200, 0)
    assert list(found) == ["sex", "age"]
    assert found["sex"]["missing"] == (rows["sex"] == "").sum()
    score, truth = predictions.probabilities[:, 1], predictions.targets
    auroc = {s: roc_auc_score(truth[rows["sex"] == s], score[rows["sex"] == s]) for s in "FM"}
    gap = found["sex"]["gap"]["auroc"]
    assert gap["value"] == pytest.approx(auroc["F"] - auroc["M"])
    assert (gap["best"], gap["worst"]) == ("F", "M")
    assert 0 < gap["low"] < gap["value"] < gap["high"]
    assert "0.000" not in gap_note("sex", found["sex"])
    assert "'F' than in 'M'" in gap_note("sex", found["sex"])
    assert "chance" not in gap_note("sex", found["sex"])
    assert list(found["age"]["groups"]) == ["20-39", "40-59", "60-79"]
    assert sum(values["n"] for values in found["age"]["groups"].values()) == len(rows)
    assert "picked as the largest" in gap_note("age", found["age"])


def test_an_interval_holds_the_true_gap_as_often_as_it_says():
    hits = 0
    for seed in range(60):
        draw = np.random.default_rng(seed)
        truth, group = draw.integers(0, 2, 200), np.repeat(["a", "b"], 100)
        score = 1 / (1 + np.exp(-(draw.normal(0, 1, 200) + truth)))
        predictions = Predictions("binary", ("no", "yes"), truth, np.stack([1 - score, score], axis=1), 0.5)
        rows = pd.DataFrame({"patient": range(200), "group": group})
        gap = summarise_subgroups(predictions, rows, groupings("group"), 200, seed)["group"]["gap"]["auroc"]
        # Both groups are alike: the gap, signed, is 0.
        hits += gap["low"] <= 0
    assert hits / 60 > 0.9


def test_few_rows_make_no_gap():
    predictions, rows = rows_of(40)
    found = summarise_subgroups(predictions, rows.assign(site=["s1"] * 36 + ["s2"] * 4), groupings("site"), 50, 0)
    assert found["site"]["gap"] == {}
    assert gap_note("site", found["site"]) == ""


def test_bands_of_numbers():
    ages = pd.DataFrame({"age": ["43", "", "40", "39.0", "120"]})
    assert Grouping("age", 10).of(ages).tolist() == ["40-49", "", "40-49", "30-39", "120-129"]
    parts = pd.DataFrame({"dose": ["0.5", "1.25"]})
    assert Grouping("dose", 1).of(parts).tolist() == ["0 to 1", "1 to 2"]
    assert Grouping("dose", 0.1).of(pd.DataFrame({"dose": ["0.3", "0.25"]})).tolist() == ["0.3 to 0.4", "0.2 to 0.3"]
    with pytest.raises(InputError, match="--by age:1: makes 30 groups; give a larger width"):
        Grouping("age", 1).of(pd.DataFrame({"age": range(30)}))
    with pytest.raises(InputError, match="--by age:10: the column is not of numbers"):
        Grouping("age", 10).of(pd.DataFrame({"age": ["43", "inf"]}))


def test_what_can_not_be_grouped_is_refused(phantom_run):
    rows = phantom_run.dataset().rows("test")
    for text, message in [
        ("smoking", "--by smoking: no such column in manifest.csv; columns: patient, site"),
        ("patient", f"--by patient: has {rows['patient'].nunique()} values; give a width"),
        ("site:10", "--by site:10: the column is not of numbers"),
        ("site:x", "--by site:x: must be columns"),
        ("site,,", "--by site,,: must be columns"),
        ("label", "--by label: no such column"),
    ]:
        with pytest.raises(InputError, match=message):
            evaluate(phantom_run, EvaluateConfig(by=text))


def test_a_run_by_site(phantom_run, tmp_path):
    result = evaluate(phantom_run, EvaluateConfig(by="site", bootstrap=50))
    assert result["subgroups"]["site"]["groups"].keys() == result["sites"].keys()
    page = write(phantom_run, Path(result["report"]).parent).read_text("utf-8")
    assert "By site, value and 95% interval" in page


def test_groups_without_a_fault_are_not_certainly_alike():
    truth, group = np.tile([0, 1], 60), np.repeat(["a", "b"], [40, 80])
    score = np.where(truth, 0.9, 0.2)
    predictions = Predictions("binary", ("no", "yes"), truth, np.stack([1 - score, score], axis=1), 0.5)
    rows = pd.DataFrame({"patient": range(120), "group": group})
    found = summarise_subgroups(predictions, rows, groupings("group"), 50, 0)["group"]
    for metric, gap in found["gap"].items():
        best, worst = (found["groups"][gap[end]][metric] for end in ("best", "worst"))
        assert gap["value"] == 0
        assert (gap["low"], gap["high"]) == (best["low"] - worst["high"], best["high"] - worst["low"])
        assert gap["low"] < 0 < gap["high"]
    assert "auroc" in found["gap"]
