"""Tables that break statistics: handled, or refused in one line."""

import numpy as np
import pandas as pd
import pytest

from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.errors import InputError
from synthetic.judge.config import JudgeConfig
from synthetic.judge.judge import judge, measures
from synthetic.judge.printed import printed
from synthetic.judge.report_folder import beside
from synthetic.judge.rows import load
from tests.synthetic.judge.conftest import as_synthetic

QUICK = JudgeConfig(train_with=("decision-tree",), bootstrap=200)


def odd_rows(n: int, seed: int, rare: int = 1) -> pd.DataFrame:
    """A number that tells the class, a constant, a column that is never known, a date, and a class of `rare` rows."""
    draw = np.random.default_rng(seed)
    label = draw.choice(["a", "b"], n).astype(object)
    label[:rare] = "rare"
    number = draw.normal(size=n) + 2 * (label == "a")
    return pd.DataFrame(
        {
            "label": label,
            "number": np.where(draw.random(n) < 0.1, np.nan, number),
            "constant": 3.0,
            "unknown": np.nan,
            "nothing": "",
            "day": [f"2020-{1 + i % 12:02d}-01" for i in range(n)],
        }
    )


@pytest.fixture
def odd(tmp_path) -> Dataset:
    rows = pd.concat([odd_rows(60, 0), odd_rows(40, 1)], ignore_index=True)
    rows["split"] = np.where(np.arange(100) < 60, "train", "test")
    rows["row"] = rows["patient"] = [f"p{i}" for i in range(100)]
    features = (
        Feature("number", "continuous"),
        Feature("constant", "integer"),
        Feature("unknown", "continuous"),
        Feature("nothing", "categorical"),
        Feature("day", "date"),
    )
    root = tmp_path / "odd"
    root.mkdir()
    table = rows.assign(site="")
    Dataset(root, "odd", "multiclass", ("a", "b", "rare"), table, features=features).save()
    return Dataset.load(root)


def test_constant_and_missing_columns_and_a_class_of_one_row(odd, tmp_path):
    made = as_synthetic(odd, odd_rows(50, 2), tmp_path / "made")
    found, _ = measures(load(made.root, odd.root), QUICK)
    assert found["privacy"]["held_out_patients"] == 40
    assert found["diversity"]["spread"]["ratio"] == pytest.approx(1, abs=0.3)


def test_a_missing_rare_class_is_care_and_a_missing_common_one_fails(odd, tmp_path):
    rows = odd_rows(50, 2, rare=0)
    found, _ = measures(load(as_synthetic(odd, rows, tmp_path / "one").root, odd.root), QUICK)
    assert found["diversity"]["classes"]["missing"] == ["rare"]
    only = rows.assign(label="a")
    found, _ = measures(load(as_synthetic(odd, only, tmp_path / "two").root, odd.root), QUICK)
    assert set(found["diversity"]["classes"]["missing"]) == {"b", "rare"}
    assert found["utility"]["synthetic"]["decision-tree"]["auroc"]["value"] == 0.5


def test_held_out_patients_of_one_class_leave_utility_open(odd, tmp_path):
    manifest = odd.manifest.assign(label=odd.manifest["label"].where(odd.manifest["split"] == "train", "a"))
    odd.root.joinpath("manifest.csv").unlink()
    Dataset(odd.root, "odd", odd.task, odd.classes, manifest, features=odd.features).save()
    made = as_synthetic(odd, odd_rows(50, 2), tmp_path / "made")
    found = judge(made.root, odd.root, QUICK)
    assert found["utility"]["gap"]["value"] is None
    assert any("nothing is known" in reason for reason in found["reasons"])
    assert (beside(made.root) / "judgement.json").is_file()
    assert "undefined" in (beside(made.root) / "report.html").read_text(encoding="utf-8")
    assert printed(found)[0][2][0][1] == "-"


def test_a_synthetic_column_that_is_never_known(odd, tmp_path):
    rows = odd_rows(50, 2).assign(number=np.nan)
    found, _ = measures(load(as_synthetic(odd, rows, tmp_path / "made").root, odd.root), QUICK)
    assert found["fidelity"]["structure"]["kept"] is None or found["fidelity"]["structure"]["kept"] < 0.5


@pytest.mark.parametrize("rows", [0, 2])
def test_a_table_of_two_rows_is_refused(odd, tmp_path, rows):
    made = as_synthetic(odd, odd_rows(50, 2).iloc[:rows], tmp_path / "made")
    with pytest.raises(InputError, match=f"{rows} labelled rows in split 'train'; judging needs"):
        load(made.root, odd.root)


def test_a_real_set_without_held_out_patients_is_refused(odd, tmp_path):
    made = as_synthetic(odd, odd_rows(50, 2), tmp_path / "made")
    whole = odd.manifest.assign(split="train")
    (tmp_path / "whole").mkdir()
    Dataset(tmp_path / "whole", "odd", odd.task, odd.classes, whole, features=odd.features).save()
    with pytest.raises(InputError, match="0 labelled rows in split 'test'"):
        load(made.root, tmp_path / "whole")


def test_a_column_that_the_synthetic_set_lacks_is_named(odd, tmp_path):
    rows = odd_rows(50, 2).drop(columns="day").assign(row="", patient="", site="", split="train")
    rows["row"] = rows["patient"] = [f"s{i}" for i in range(50)]
    (tmp_path / "made").mkdir()
    Dataset(tmp_path / "made", "odd", odd.task, odd.classes, rows, features=odd.features[:4]).save()
    with pytest.raises(InputError, match="column 'day' of --real"):
        load(tmp_path / "made", odd.root)
