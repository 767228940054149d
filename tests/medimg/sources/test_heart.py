"""UCI Heart Disease: the files as published, and what mirrors make of them."""

import numpy as np
import pandas as pd
import pytest

from medimg.config import PrepareConfig
from medimg.errors import InputError
from medimg.preparation.prepare import prepare
from medimg.sources import source_named

HEALTHY = "63,1,1,145,233,1,2,150,0,2.3,3,0,6,0"
ILL = "67,1,4,160,286,0,2,108,1,1.5,2,3,3,2"


def scan(path):
    return source_named("heart").scan(path, PrepareConfig())


def rows(path):
    found = scan(path)
    return found.read(None)[0].set_index("row"), found


def write(folder, *lines, name="processed.cleveland.data", end="\n"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes((end.join(lines) + end).encode())
    return folder


def test_the_published_files_cell_by_cell(medical_data):
    table, found = rows(medical_data / "heart_disease")
    names = [feature.name for feature in found.features]
    for site in ("cleveland", "hungarian", "switzerland", "va"):
        file = medical_data / "heart_disease" / f"processed.{site}.data"
        raw = pd.read_csv(file, header=None, names=names, na_values="?")
        mine = table[table["site"] == site]
        assert list(mine.index) == [f"{site}-{i + 1:03d}" for i in range(len(raw))]
        raw.loc[raw["chol"] == 0, "chol"] = np.nan
        for name in names:
            read = pd.to_numeric(mine[name])
            np.testing.assert_array_equal(read, raw[name], err_msg=f"{site} {name}")
        assert list(mine["label"] == "disease") == list(raw["num"] > 0)
    assert list(table["patient"]) == list(table.index)
    assert not found.rejected
    assert set(table["thal"]) == {"3", "6", "7", ""}
    assert table["ca"].dtype == np.float64


def test_prepared_it_is_a_dataset_of_four_sites(medical_data, tmp_path):
    source = medical_data / "heart_disease"
    data = prepare("heart", source, tmp_path / "data", PrepareConfig())
    assert data.classes == ("healthy", "disease")
    assert data.task == "binary"
    assert data.is_table
    assert data.manifest.groupby("site").size().to_dict() == {
        "cleveland": 151,
        "hungarian": 149,
        "switzerland": 54,
        "va": 101,
    }
    assert "num" not in {feature.name for feature in data.inputs}
    assert "num" in data.manifest
    again = prepare("heart", source, tmp_path / "data", PrepareConfig())
    assert again.fingerprint() == data.fingerprint()
    with pytest.raises(InputError, match="holds another Dataset"):
        prepare("heart", source, tmp_path / "data", PrepareConfig(seed=1))


def test_a_mirror_with_prose_a_header_and_windows_line_ends(tmp_path):
    header = "age,sex,cp,trestbps,chol,fbs,restecg,thalach,exang,oldpeak,slope,ca,thal,num"
    lines = ("Heart disease, Cleveland Clinic", "", header, HEALTHY, ILL)
    folder = write(tmp_path, *lines, name="processed.cleveland.csv", end="\r\n")
    table, found = rows(folder)
    assert list(table["label"]) == ["healthy", "disease"]
    assert "processed.cleveland.csv: 2 lines of header or prose" in " ".join(found.notes)
    assert rows(folder / "processed.cleveland.csv")[0].equals(table)


def test_lines_that_cannot_be_used_are_listed_by_number(tmp_path):
    broken = ("1,2,3,,,,,,,,,,0", ILL.replace("286", "high"), HEALTHY[:-1] + "7", HEALTHY[:-1] + "?")
    _, found = rows(write(tmp_path, HEALTHY, ILL, *broken))
    reasons = [reason for _, reason in found.rejected]
    assert reasons == [
        "line 3: 13 fields instead of 14",
        "line 4: chol is 'high', not a number or ?",
        "line 5: num is '7', not 0 to 4",
        "line 6: num is '?', not 0 to 4",
    ]
    assert {file for file, _ in found.rejected} == {"processed.cleveland.data"}


def test_marks_of_a_missing_value(tmp_path):
    marked = "40,1,2,0,0,?,-9,,0,0,9,-9.0,3,1"
    table, found = rows(write(tmp_path, HEALTHY, marked))
    row = table.loc["cleveland-002"]
    assert np.isnan([row["trestbps"], row["chol"], row["thalach"], row["ca"]]).all()
    assert [row["fbs"], row["restecg"], row["slope"]] == ["", "", ""]
    assert row["oldpeak"] == 0
    notes = " ".join(found.notes)
    assert "1 of trestbps and 1 of chol" in notes
    assert "slope: 1 values" in notes


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((HEALTHY,), "no patient is 'disease'"),
        (("no table at all",), "no line of 14 numbers"),
        (
            ("sex,age,cp,trestbps,chol,fbs,restecg,thalach,exang,oldpeak,slope,ca,thal,num", HEALTHY),
            "line 1: the columns are not in the published order",
        ),
    ],
)
def test_files_that_are_refused(tmp_path, lines, message):
    with pytest.raises(InputError, match=message):
        scan(write(tmp_path, *lines))


def test_paths_that_are_refused(tmp_path):
    for path, message in (
        (None, "PATH is missing"),
        (tmp_path / "nowhere", "does not exist"),
        (tmp_path, "holds no file named like"),
    ):
        with pytest.raises(InputError, match=message):
            scan(path)
    write(tmp_path, HEALTHY, ILL, name="reprocessed.hungarian.data")
    with pytest.raises(InputError, match="is no file named like"):
        scan(tmp_path / "reprocessed.hungarian.data")
