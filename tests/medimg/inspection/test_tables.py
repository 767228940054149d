"""The inspection of a table counts what is there, names what is wrong and draws what it shows."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.inspection.inspect import inspect
from medimg.inspection.table_figures import pair_plot
from medimg.inspection.tables import MOST_ROWS, learning_rows
from medimg.preparation.prepare import prepare
from tests.datasets import write_table

pytestmark = pytest.mark.final_figures

FIGURES = {"classes", "age", "distributions", "missing", "shift", "associations", "pairs"}


def drawn(out) -> set[str]:
    return {path.stem for path in (out / "figures").glob("*.png")}


@pytest.mark.slow
def test_a_sound_table(small_table, tmp_path):
    found = inspect(small_table, tmp_path)
    rows = small_table.manifest
    assert found.problems == []
    assert found.types["continuous"] == 2
    for part in ("train", "val", "test"):
        held = rows[rows["split"] == part]
        assert found.rows[part] == len(held)
        assert found.patients[part] == held["patient"].nunique()
        assert found.counts[part] == {name: (held["label"] == name).sum() for name in found.classes}
    assert found.rows_per_patient == {2: 80}
    for site, counts in found.site_counts.items():
        assert counts["disease"] == ((rows["site"] == site) & (rows["label"] == "disease")).sum()
    by_name = {f["name"]: f for f in found.features}
    assert set(by_name) == {"age", "noise", "visits", "pain", "stage", "day"}
    assert by_name["age"]["missing"] == rows["age"].isna().mean()
    at_site = rows[rows["site"] == "s1"]
    assert by_name["pain"]["missing_by_site"]["s1"] == (at_site["pain"] == "").mean()
    # What makes the label leads; noise does not.
    assert {f["name"] for f in found.features[:2]} == {"age", "pain"}
    assert "never learned from (identifier or metadata): mrn" in found.notes
    assert drawn(tmp_path) == FIGURES
    for path in (tmp_path / "figures").glob("*.png"):
        with Image.open(path) as image:
            assert min(image.size) > 200
    page = (tmp_path / "inspection.html").read_text()
    assert page.count("data:image/png;base64,") == len(FIGURES)
    assert "http" not in page
    assert json.loads((tmp_path / "inspection.json").read_text())["counts"] == found.counts


@pytest.mark.slow
def test_what_is_wrong_is_named(tmp_path):
    dataset = write_table(tmp_path / "data", n=200)
    table = dataset.manifest
    draw = np.random.default_rng(1)
    sick = table["label"] == "disease"
    table["discharge"] = np.where(sick, "hospice", draw.choice(["home", "ward"], len(table)))
    table["died"] = np.where(sick, draw.normal(0, 1, len(table)), np.nan)
    table["device"] = 7.0
    table["gone"] = np.nan
    table.loc[table["site"] == "s2", "noise"] = np.nan
    features = (
        *dataset.features,
        Feature("discharge", "categorical"),
        Feature("died", "continuous"),
        Feature("device", "continuous"),
        Feature("gone", "continuous"),
    )
    # Two rows of other patients in other parts are the same, with another label.
    first, second = (int(table.index[table["split"] == part][0]) for part in ("train", "test"))
    names = [feature.name for feature in features if feature.is_input]
    table.loc[second, names] = table.loc[first, names]
    table.loc[first, "label"], table.loc[second, "label"] = "healthy", "disease"
    moved = table["patient"][table["split"] == "train"].iloc[-1]
    table.loc[table.index[table["patient"] == moved][0], "split"] = "val"
    Dataset(dataset.root, "wrong", "binary", dataset.classes, table, features=features).save()
    found = inspect(Dataset.load(dataset.root), tmp_path / "out")
    # The row under two labels can't be there twice by chance.
    assert len(found.problems) == 3
    assert moved in found.problems[0]
    assert "1 groups of identical rows are in more than one part" in found.problems[1]
    assert "1 groups of identical rows have different labels" in found.problems[2]
    notes = "\n".join(found.notes)
    assert "feature 'discharge' alone tells the label" in notes
    assert "feature 'died' alone, by being missing or not, tells the label" in notes
    assert "nothing can be learned from them: device" in notes
    assert "missing in every row: gone" in notes
    assert "missing in every row of site 's2': noise" in notes
    assert "1 groups of rows alike in every feature are spread over several parts" in notes
    assert "1 groups of rows alike in every feature have different labels" in notes
    assert found.duplicates == 1
    assert moved in (tmp_path / "out" / "inspection.html").read_text()


def test_labels_of_val_and_test_are_not_shown_beside_features(small_table):
    rows = learning_rows(small_table)
    assert set(rows["split"]) == {"train"}
    alone = small_table.manifest.assign(split="test")
    table = Dataset(
        small_table.root, "external", "binary", small_table.classes, alone,
        features=small_table.features,
    )  # fmt: skip
    assert len(learning_rows(table)) == len(alone)


def test_a_bare_table_has_what_can_be_drawn(tmp_path):
    """No site, no age, nothing missing, one feature, three classes, rows without label."""
    n = 60
    table = pd.DataFrame(
        {
            "row": [f"r{i}" for i in range(n)],
            "label": np.tile(["a", "b", "c", ""], n // 4),
            "patient": [f"p{i}" for i in range(n)],
            "site": "",
            "split": np.repeat(["train", "test"], n // 2),
            "grade of disease, as a long name that some export has made": np.arange(n) % 4 * 1.0,
        }
    )
    features = (Feature(table.columns[-1], "integer"),)
    Dataset(tmp_path / "data", "bare", "multiclass", ("a", "b", "c"), table, features=features).save()
    found = inspect(Dataset.load(tmp_path / "data"), tmp_path / "out")
    assert drawn(tmp_path / "out") == {"classes", "distributions"}
    assert "part 'val' is empty" in found.notes
    assert found.sites == {}
    assert found.counts["train"]["(unlabelled)"] == 7
    assert found.features[0]["shift"] == {}


def test_points_of_a_pair_stand_where_the_bars_of_their_category_do():
    draw = np.random.default_rng(0)
    code = draw.choice([str(i) for i in range(1, 13)], 400)
    frame = pd.DataFrame({"label": "a", "code": code, "age": draw.normal(60, 10, 400)})
    features = [Feature("code", "categorical"), Feature("age", "continuous")]
    figure = pair_plot(frame, features, ["a"])
    bars, _, points, _ = figure.axes
    names = [label.get_text() for label in bars.get_xticklabels()]
    shown = frame[frame["code"].isin(names)]
    assert names == sorted(names, key=int)
    assert len(names) == 8
    places = np.asarray(points.collections[0].get_offsets())
    places = places[~np.isnan(places[:, 0])]
    found = pd.DataFrame({"age": places[:, 1], "code": places[:, 0].round()}).sort_values("age")
    shown = shown.sort_values("age")
    np.testing.assert_allclose(found["age"], shown["age"], atol=1e-4)
    assert found["code"].tolist() == [names.index(code) for code in shown["code"]]
    assert points.get_xlim() == bars.get_xlim()


@pytest.mark.slow
def test_a_second_inspection_leaves_no_old_figure(tmp_path):
    dataset = write_table(tmp_path / "data")
    inspect(dataset, tmp_path / "out")
    whole = dataset.manifest.assign(site="one")
    whole["age"], whole["pain"] = whole["age"].fillna(60.0), whole["pain"].replace("", "none")
    Dataset(dataset.root, "whole", "binary", dataset.classes, whole, features=dataset.features).save()
    inspect(Dataset.load(dataset.root), tmp_path / "out")
    assert drawn(tmp_path / "out") == FIGURES - {"missing", "shift"}


@pytest.mark.slow
def test_large_tables_are_sampled_and_wide_ones_cut(tmp_path):
    n, wide = 100, 20_000
    draw = np.random.default_rng(0)
    label = draw.choice(["no", "yes"], n)
    genes = draw.normal(0, 1, (n, wide))
    genes[:, 123] += 3.0 * (label == "yes")
    roles = {
        "row": [f"r{i}" for i in range(n)],
        "label": label,
        "patient": [f"p{i}" for i in range(n)],
        "site": draw.choice(["a", "b"], n),
        "split": np.repeat(["train", "val", "test"], [70, 10, 20]),
    }
    names = [f"g{i}" for i in range(wide)]
    table = pd.concat([pd.DataFrame(roles), pd.DataFrame(genes, columns=names)], axis=1)
    features = tuple(Feature(name, "continuous") for name in names)
    dataset = Dataset(tmp_path, "genes", "binary", ("no", "yes"), table, features=features)
    found = inspect(dataset, tmp_path / "out")
    assert found.features[0]["name"] == "g123"
    assert len(found.features) == wide
    assert (tmp_path / "out" / "inspection.html").read_text().count("<tr><td>g") == 30
    long = pd.concat([table[[*roles, "g0", "g123"]]] * 300, ignore_index=True)
    dataset = Dataset(tmp_path, "long", "binary", ("no", "yes"), long, features=features[:1] + features[123:124])
    assert len(learning_rows(dataset)) == MOST_ROWS
    assert any(f"at most {MOST_ROWS} rows" in note for note in inspect(dataset, tmp_path / "o2").notes)


@pytest.mark.slow
def test_heart_disease_shows_what_each_hospital_left_out(medical_data, tmp_path):
    source = medical_data / "heart_disease"
    dataset = prepare("heart", source, tmp_path / "data", PrepareConfig())
    found = inspect(dataset, tmp_path / "out")
    assert found.problems == []
    assert set(found.sites) == {"cleveland", "hungarian", "switzerland", "va"}
    missing = {f["name"]: f["missing_by_site"] for f in found.features}
    assert missing["ca"]["cleveland"] < 0.05
    assert missing["ca"]["hungarian"] > 0.9
    assert missing["chol"]["switzerland"] == 1.0
    assert "missing in every row of site 'switzerland': chol" in found.notes
    assert not any("alone" in note for note in found.notes)
    assert drawn(tmp_path / "out") == FIGURES
