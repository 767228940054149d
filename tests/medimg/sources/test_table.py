"""Any table: roles, classes, types by option, and what is refused; through to the Dataset."""

import gzip

import numpy as np
import pandas as pd
import pytest

from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.preparation.prepare import prepare
from medimg.sources.table_scan import name_of

DRAW = np.random.default_rng(0)
COUNT = 120


def cohort(**columns):
    """A table with a little of everything; None takes a column away."""
    table = {
        "patient_id": [f"p{i // 2}" for i in range(COUNT)],
        "age": DRAW.normal(60, 9, COUNT).round(3),
        "sex": DRAW.choice(["F", "M"], COUNT),
        "stage": DRAW.choice(["I", "II", "III"], COUNT),
        "visit": [f"{1 + i % 28}/{1 + i % 12}/2020" for i in range(COUNT)],
        "label": DRAW.choice(["ill", "well"], COUNT),
        **columns,
    }
    return pd.DataFrame({name: cells for name, cells in table.items() if cells is not None})


def make(tmp_path, table, name="visits.csv", **options):
    path = tmp_path / name
    if isinstance(table, str):
        path.write_text(table)
    elif name.endswith(".parquet"):
        table.to_parquet(path)
    else:
        table.to_csv(path, index=False)
    return prepare("table", path, tmp_path / "data", PrepareConfig(**options), overwrite=True)


def notes(dataset):
    return "; ".join(dataset.preparation["notes"])


def types(dataset):
    return {feature.name: feature.type for feature in dataset.features}


def test_a_csv_becomes_a_dataset(tmp_path):
    table = cohort()
    data = make(tmp_path, table)
    assert types(data) == {"age": "continuous", "sex": "categorical", "stage": "ordinal", "visit": "date"}
    assert data.features[2].order == ("I", "II", "III")
    rows = data.manifest
    assert list(rows["row"]) == [f"visits-{i + 1}" for i in range(COUNT)]
    np.testing.assert_array_equal(rows["age"], table["age"])
    assert list(rows["label"]) == list(table["label"])
    assert data.classes == ("ill", "well")
    assert list(rows["patient"]) == list(table["patient_id"])
    assert rows["visit"][0] == "2020-01-01"
    assert rows["visit"][12] == "2020-01-13"
    assert rows.groupby("patient")["split"].nunique().max() == 1
    assert "'patient_id' taken for patients" in notes(data)
    pd.testing.assert_frame_equal(Dataset.load(data.root).manifest, rows)
    assert not (data.root / ".preparing").exists()


def test_parquet_gzip_and_csv_agree(tmp_path):
    table = cohort(visit=None, count=DRAW.integers(0, 9, COUNT), smokes=DRAW.choice([True, False], COUNT))
    first = make(tmp_path, table)
    second = make(tmp_path, table, "visits.parquet")
    packed = tmp_path / "visits.csv.gz"
    packed.write_bytes(gzip.compress((tmp_path / "visits.csv").read_bytes()))
    third = prepare("table", packed, tmp_path / "third", PrepareConfig())
    pd.testing.assert_frame_equal(first.manifest, third.manifest)
    # A boolean is written in capitals by pandas, in small letters by Arrow.
    lower = first.manifest.assign(smokes=first.manifest["smokes"].str.lower())
    pd.testing.assert_frame_equal(lower, second.manifest)
    assert types(first) == types(second)


def test_types_by_option(tmp_path):
    lab = ["<0.1" if i % 9 == 0 else f"{i}.5" for i in range(COUNT)]
    table = cohort(lab=lab, code=DRAW.integers(0, 5, COUNT), code2=DRAW.integers(0, 5, COUNT))
    with pytest.raises(InputError, match=r"row 2: column 'lab' is mostly numbers but holds '<0.1'"):
        make(tmp_path, table)
    chosen = {"lab": "continuous", "code": "categorical", "code2": {"ordinal": ["4", "3"]}}
    data = make(tmp_path, table, column_type=chosen)
    kept = types(data)
    assert (kept["lab"], kept["code"], kept["code2"]) == ("continuous", "categorical", "ordinal")
    assert data.manifest["lab"].isna().sum() == 14
    assert set(data.manifest["code"]) == set("01234")
    assert "14 cells that are no numbers taken as missing: 14 of lab" in notes(data)
    for wrong, message in (
        ({"nose": "integer"}, "--column-type nose: no such column"),
        ({"label": "integer"}, "it is the column of the label"),
        ({"age": "size"}, "choose one of continuous"),
    ):
        with pytest.raises(InputError, match=message):
            make(tmp_path, cohort(), column_type=wrong)


def test_roles_by_option_and_names_that_are_taken(tmp_path):
    table = cohort(
        label=DRAW.random(COUNT),
        outcome=DRAW.choice(["0", "1", "1.0"], COUNT),
        hospital=DRAW.choice(["a", "b"], COUNT),
        split=DRAW.random(COUNT),
        row=DRAW.random(COUNT),
        image=DRAW.random(COUNT),
        source_row=DRAW.random(COUNT),
    )
    data = make(tmp_path, table, label_column="outcome", site_column="hospital")
    assert data.classes == ("0", "1")
    assert set(data.manifest["site"]) == {"a", "b"}
    names = set(types(data))
    assert {"source_label", "source_split", "source_row", "source_row_", "source_image"} <= names
    assert not names & {"label", "split", "row", "image", "hospital", "outcome", "patient_id"}
    np.testing.assert_allclose(data.manifest["source_row_"], table["row"])
    assert "'row' is called 'source_row_'" in notes(data)


def test_which_class_is_positive(tmp_path):
    assert make(tmp_path, cohort(), positive="ill").classes == ("well", "ill")
    with pytest.raises(InputError, match="--positive sick: is no class; there are ill and well"):
        make(tmp_path, cohort(), positive="sick")
    several = cohort(label=DRAW.choice(["10", "9", "1"], COUNT))
    data = make(tmp_path, several)
    assert data.classes == ("1", "9", "10")
    assert data.task == "multiclass"
    with pytest.raises(InputError, match="only one of two can be positive"):
        make(tmp_path, several, positive="1")


def test_a_label_with_a_sign_is_one_where_that_is_said(tmp_path):
    table = "age,label\n" + "".join(f"{40 + i * i % 17 + i / 8},{('a;b', 'b', 'a')[i % 3]}\n" for i in range(30))
    assert make(tmp_path, table, label_separator="none").classes == ("a", "a;b", "b")
    with pytest.raises(InputError, match="--label-separator ;: a table's row has one label"):
        make(tmp_path, table, label_separator=";")


def test_rows_without_a_label_or_patient(tmp_path):
    table = cohort()
    table.loc[:4, "label"] = ""
    table.loc[10:11, "patient_id"] = ""
    data = make(tmp_path, table)
    assert (data.manifest["label"] == "").sum() == 5
    assert "5 rows have no label" in notes(data)
    assert list(data.manifest["patient"][10:12]) == ["visits-11", "visits-12"]
    data = make(tmp_path, cohort(patient_id=None))
    assert list(data.manifest["patient"]) == list(data.manifest["row"])
    assert "no patients known" in notes(data)


def test_oddities_are_noted(tmp_path):
    table = cohort(
        empty="",
        pressure=np.where(np.arange(COUNT) % 10 == 0, np.inf, DRAW.random(COUNT)),
        note=[f"patient said {i}" for i in range(COUNT)],
        born=["2020-02-30" if i == 3 else "2020-02-28" for i in range(COUNT)],
    )
    table.insert(0, "Unnamed: 0", range(COUNT))
    data = make(tmp_path, table)
    kept = types(data)
    assert kept["empty"] == "metadata"
    assert kept["note"] == kept["Unnamed: 0"] == "identifier"
    assert np.isnan(data.manifest["pressure"]).sum() == 12
    found = notes(data)
    assert "12 infinities taken as missing: 12 of pressure" in found
    assert "empty columns, kept as metadata: empty" in found
    assert "1 cells are no possible dates" in found
    assert data.manifest["born"][3] == ""


def test_decimal_commas(tmp_path):
    path = tmp_path / "de.csv"
    cohort().to_csv(path, index=False, sep=";", decimal=",")
    data = prepare("table", path, tmp_path / "data", PrepareConfig())
    assert types(data)["age"] == "continuous"
    assert "decimal commas read as such in age" in notes(data)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        ("age,label\n", "has a header but no rows"),
        ("age,outcome\n1,a\n2,b\n", "column 'label' is missing; it has age, outcome; .*--label-column"),
        ("age,label\n1,a\n2,a\n", "only one class, 'a'"),
        ("age,label\n1,\n2,?\n", "no labels"),
        ("age,label\n1,a|b\n2,b\n", r"'a\|b'"),
        ("age,label\n1,a;b\n2,b\n3,a\n", r"'a;b': is it one label or several\?.*--label-separator none"),
        ('age,label\n1,"Nevus, atypical"\n2,Melanoma\n', r"'Nevus, atypical': is it one label or several\?"),
        ("label\na\nb\n", "no column is left to learn from"),
        ('x,label\n1,a\n2,b\n3,a\n"odd\none",b\n', "row 5: column 'x' .* holds 'odd one'"),
        ("x,label\n,a\n,b\n", "no column is left to learn from"),
        ("x,label\n" + "".join(f"1,{i}.5\n" for i in range(40)), "too many different numbers"),
        ("x,label\n" + "".join(f"1,{i}.5\n" for i in range(25)), "25 different numbers"),
        ("x,label\n" + "".join(f"1,c{i}\n" for i in range(300)), "too many different values"),
    ],
)
def test_tables_that_are_refused(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as error:
        make(tmp_path, content)
    assert "visits.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_options_that_do_not_fit(tmp_path):
    for options, message in (
        ({"site_column": "ward"}, "column 'ward' is missing; .*--site-column"),
        ({"patient_column": "who"}, "column 'who' is missing; .*--patient-column"),
        ({"site_column": "label"}, "'label' is named by --label-column and --site-column"),
        ({"split_column": "sex"}, "column 'sex' holds '[FM]', not one of train, val, test"),
        ({"split": "official"}, "the source gives no parts"),
        ({"group_by": "ward"}, "--group-by ward: no such column"),
    ):
        with pytest.raises(InputError, match=message):
            make(tmp_path, cohort(), **options)


def test_paths_that_are_refused(tmp_path):
    for path, message in (
        (None, "PATH is missing"),
        (tmp_path / "nowhere.csv", "does not exist"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(InputError, match=message):
            prepare("table", path, tmp_path / "out", PrepareConfig())


def test_a_wide_table_is_read_whole(tmp_path):
    values = DRAW.normal(size=(30, 1000))
    table = pd.DataFrame(values, columns=[f"g{i}" for i in range(1000)])
    table["label"] = ["a", "b"] * 15
    data = make(tmp_path, table)
    assert len(data.inputs) == 1000
    np.testing.assert_allclose(data.manifest[list(table)[:-1]], values, atol=1e-12)


def test_names_of_files():
    names = ["visits.csv.gz", "a.b.parquet", "plain", ".csv", "x.TSV"]
    assert list(map(name_of, names)) == ["visits", "a.b", "plain", ".csv", "x"]
