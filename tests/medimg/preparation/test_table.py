"""Rows into parts: patients, identical rows, official parts."""

import numpy as np
import pandas as pd
import pytest
import yaml

from medimg.atomic import write_text
from medimg.config import PrepareConfig
from medimg.errors import InputError
from medimg.preparation.claim import _pixels_of
from medimg.preparation.prepare import prepare
from medimg.preparation.table_splits import assign_row_parts

SPLIT = (0.7, 0.15, 0.15)


def rows(count, copies=0, **columns):
    """Rows that differ, the last `copies` of them equal to the first ones; every row a patient."""
    draw = np.random.default_rng(1)
    number = np.r_[np.arange(count - copies), np.arange(copies)]
    table = pd.DataFrame(
        {
            "row": [f"r{i}" for i in range(count)],
            "label": np.array(["a", "b"])[number % 2],
            "patient": [f"p{i}" for i in range(count)],
            "site": "",
            "split": "",
            "x": draw.normal(size=count)[number],
            "y": np.array(["u", "v", ""])[number % 3],
            "ward": (number // 3).astype(str),
        }
    )
    return table.assign(**columns)


def assign(table, fractions=SPLIT, **options):
    return assign_row_parts(table, ["x", "y"], PrepareConfig(**options), fractions)


def test_shares_and_patients():
    parts = assign(rows(300, patient=[f"p{i // 3}" for i in range(300)]))
    assert parts.split.value_counts().to_dict() == pytest.approx({"train": 210, "val": 45, "test": 45}, abs=3)
    assert parts.split.groupby(np.arange(300) // 3).nunique().max() == 1


def test_few_identical_rows_stay_together():
    parts = assign(rows(100, copies=4))
    assert list(parts.split[96:]) == list(parts.split[:4])
    assert not parts.rejected
    assert "4 rows are copies" in parts.notes[0]
    assert "kept in one part" in parts.notes[0]
    assert "r96 = r0" in parts.notes[0]


def test_many_copies_stop_and_are_settled_as_images_are(tmp_path):
    table = rows(100, copies=30)
    with pytest.raises(InputError, match=r"30 groups of identical rows .*r0 \(a\) = r70 \(a\)"):
        assign_row_parts(table, ["x", "y"], PrepareConfig(), SPLIT, tmp_path)
    listed = pd.read_csv(tmp_path / "duplicates.csv")
    assert len(listed) == 60
    assert set(listed["problem"]) == {"several patients"}
    grouped = assign(table, on_duplicates="group")
    assert list(grouped.split[70:]) == list(grouped.split[:30])
    assert list(grouped.patient[70:]) == list(table["patient"][:30])
    dropped = assign(table, on_duplicates="drop")
    assert len(dropped.split) == 70
    assert dropped.rejected[0] == ("r70", "identical to r0")


def questionnaire(n=400):
    draw = np.random.default_rng(0)
    return rows(n).assign(**{name: draw.choice(list("abc"), n) for name in ("x", "y")})


def test_rows_that_chance_makes_equal_are_different_patients_unless_the_user_says_otherwise():
    table = questionnaire()
    free = assign(table)
    assert "taken for different patients" in free.notes[0]
    assert "by chance" in free.notes[0]
    assert list(free.patient) == list(table["patient"])
    assert len(free.split) == 400
    assert free.split.groupby([table["x"], table["y"], table["label"]]).nunique().max() == 3
    together = assign(table, on_duplicates="group").split
    assert together.groupby([table["x"], table["y"], table["label"]]).nunique().max() == 1
    assert len(assign(table, on_duplicates="drop").split) == 18


def test_a_copy_under_another_label_is_nobodys(tmp_path):
    table = rows(100, copies=3)
    table.loc[99, "label"] = "b" if table.loc[2, "label"] == "a" else "a"
    with pytest.raises(InputError, match="1 with conflicting labels"):
        assign(table)
    for how in ("drop", "group"):
        parts = assign(table, on_duplicates=how)
        assert not {2, 99} & set(parts.split.index)
        assert sum("labelled both a and b" in reason for _, reason in parts.rejected) == 2


def test_copies_across_official_parts(tmp_path):
    table = rows(200, copies=4).assign(split=["train"] * 150 + ["val"] * 10 + ["test"] * 40)
    with pytest.raises(InputError, match="4 groups of identical rows"):
        assign(table, fractions=None)
    for how in ("drop", "group"):
        parts = assign(table, fractions=None, on_duplicates=how)
        assert set(parts.split.loc[196:]) == {"test"}
        assert not set(range(4)) & set(parts.split.index)


def test_a_missing_number_equals_a_missing_number_and_labels_count():
    table = rows(40, x=np.r_[np.nan, np.arange(38.0), np.nan], y="u", label=["a", "b"] * 20)
    assert not assign(table).notes
    table.loc[39, "label"] = "a"
    assert "r39 = r0" in assign(table).notes[0]


def test_another_column_that_never_crosses():
    parts = assign(rows(90), group_by="ward")
    assert parts.split.groupby(np.arange(90) // 3).nunique().max() == 1


def test_official_parts(tmp_path):
    table = rows(200)
    table["split"] = ["train"] * 150 + ["test"] * 45 + [""] * 5
    table.loc[150, "patient"] = "p0"
    parts = assign(table, fractions=None)
    kept = parts.split
    assert set(kept[150:195]) == {"test"}
    assert (kept == "val").sum() == pytest.approx(22, abs=2)
    assert ("r0", "patient p0 is in test too") in parts.rejected
    assert 0 not in kept.index
    assert sum("no official part" in reason for _, reason in parts.rejected) == 5
    notes = " ".join(parts.notes)
    assert "their 1 rows in the earlier are left out" in notes
    assert "image" not in notes


def test_the_folder_of_an_official_split(tmp_path):
    table = rows(100).drop(columns=["row", "site"])
    table["split"] = ["Training"] * 60 + ["valid"] * 20 + ["test"] * 20
    table.to_csv(tmp_path / "t.csv", index=False)
    data = prepare("table", tmp_path / "t.csv", tmp_path / "data", PrepareConfig(split="official"))
    assert list(data.manifest["split"]) == ["train"] * 60 + ["val"] * 20 + ["test"] * 20
    assert data.preparation["rejected"] == 0
    assert data.source == "table"


def test_dropped_rows_are_listed(tmp_path):
    rows(100, copies=4).drop(columns=["row", "patient", "split"]).to_csv(tmp_path / "t.csv", index=False)
    data = prepare("table", tmp_path / "t.csv", tmp_path / "data", PrepareConfig(on_duplicates="drop"))
    listed = pd.read_csv(data.root / "rejected.csv")
    assert list(listed["file"]) == ["t-97", "t-98", "t-99", "t-100"]
    assert len(data.manifest) == 96
    assert data.preparation["rejected"] == 4


def test_progress_counts_rows(tmp_path):
    rows(50).drop(columns=["row"]).to_csv(tmp_path / "t.csv", index=False)
    steps = []
    prepare("table", tmp_path / "t.csv", tmp_path / "data", PrepareConfig(), None, lambda *s: steps.append(s))
    assert steps[-1] == (50, 50)


def test_a_killed_preparation_is_begun_again(tmp_path):
    rows(50).drop(columns=["row"]).to_csv(tmp_path / "t.csv", index=False)
    first = prepare("table", tmp_path / "t.csv", tmp_path / "data", PrepareConfig())
    fingerprint = first.fingerprint()
    # What a kill before the last write leaves.
    (first.root / "dataset.yaml").unlink()
    scratch = first.root / ".preparing"
    scratch.mkdir()
    other = prepare("table", tmp_path / "t.csv", tmp_path / "other", PrepareConfig())
    write_text(scratch / "options.yaml", yaml.safe_dump(_pixels_of(other.preparation)))
    again = prepare("table", tmp_path / "t.csv", tmp_path / "data", PrepareConfig())
    assert again.fingerprint() == fingerprint
    assert not scratch.exists()
