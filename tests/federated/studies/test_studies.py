"""Studies of federation: their division of patients, small ones from end to end."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from federated.studies.config import HospitalsConfig
from federated.studies.hospitals import divided, federated_hospitals
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from medimg.errors import InputError

pytestmark = pytest.mark.final_figures


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory) -> Dataset:
    """160 patients of two hospitals; the label follows `x`, which is measured higher at one of them."""
    root = tmp_path_factory.mktemp("hospitals") / "data"
    root.mkdir()
    draw = np.random.default_rng(0)
    names = [f"p{i:03d}" for i in range(160)]
    sites = np.where(np.arange(160) % 2, "east", "west")
    x = draw.normal(size=160)
    sick = x + 0.5 * draw.normal(size=160) > 0
    table = pd.DataFrame(
        {
            "row": names,
            "label": np.where(sick, "sick", "well"),
            "patient": names,
            "site": sites,
            "split": np.tile(["train", "train", "train", "train", "val", "val", "test", "test"], 20),
            "x": x + (sites == "east"),
            "noise": draw.normal(size=160),
        }
    )
    features = (Feature("x", "continuous"), Feature("noise", "continuous"))
    classes = ("well", "sick")
    dataset = Dataset(root, "two", "binary", classes, table, features=features)
    dataset.save()
    return Dataset.load(root)


def test_division_keeps_sites_classes_and_copies(hospitals):
    manifest = hospitals.manifest.copy()
    # The second row is the first one entered twice under another name.
    same = ["label", "site", "x", "noise"]
    manifest.loc[1, same] = manifest.loc[0, same]
    dataset = dataclasses.replace(hospitals, manifest=manifest)
    seeds = [divided(dataset, seed).manifest for seed in range(6)]
    for rows in seeds:
        share = rows.groupby(["site", "label"])["split"].value_counts(normalize=True).unstack()
        assert share["test"].between(0.26, 0.42).all()
        assert share["val"].between(0.04, 0.17).all()
        assert rows.loc[0, "split"] == rows.loc[1, "split"]
    assert len({tuple(rows["split"]) for rows in seeds}) == 6
    assert divided(dataset, 3).manifest["split"].equals(seeds[3]["split"])


def test_division_names_a_row_without_site(hospitals):
    manifest = hospitals.manifest.copy()
    manifest.loc[4, "site"] = ""
    with pytest.raises(InputError, match="row 'p004' has no site"):
        divided(dataclasses.replace(hospitals, manifest=manifest), 0)


@pytest.mark.slow
def test_studies_refuse_what_they_are_not_for(hospitals, phantom_data, tmp_path):
    config = HospitalsConfig(strategy=("fedsgd",))
    with pytest.raises(InputError, match="--strategy fedsgd"):
        federated_hospitals(hospitals.root, tmp_path, config)
    with pytest.raises(InputError, match="needs a table"):
        federated_hospitals(phantom_data.root, tmp_path, HospitalsConfig())
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_hospitals_from_end_to_end_and_again(hospitals, tmp_path):
    study = HospitalsConfig(seeds=1, rounds=8, strategy=("fedavg", "fedadam"))
    run, seen = federated_hospitals, []
    table = run(hospitals.root, tmp_path, study, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert table["model"].tolist() == ["local", "centralised", "fedavg", "fedadam"]
    # One column decides, so all of them must have found it; an interval needs a second seed.
    assert (table["auroc"] > 0.85).all()
    assert table["auroc_low"].isna().all()
    sites = pd.read_csv(tmp_path / "sites.csv")
    own = sites[sites["model"] == "fedadam"]
    assert own["site"].tolist() == ["east", "west"]
    assert own["auroc"].mean() == pytest.approx(table.set_index("model").loc["fedadam", "auroc"])
    assert "| fedadam |" in (tmp_path / "README.md").read_text()
    assert (tmp_path / "strategies.png").stat().st_size > 10_000
    assert not (tmp_path / "records").exists()

    # A training that is lost is done again, with the same result; the others are not touched.
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "trainings").iterdir()}
    lost = tmp_path / "trainings" / "fedadam-0-seed-0.csv"
    before = lost.read_text()
    lost.unlink()
    again = run(hospitals.root, tmp_path, study)
    assert lost.read_text() == before
    assert all(p.stat().st_mtime_ns == was for p, was in files.items() if p != lost)
    pd.testing.assert_frame_equal(again, table)


@pytest.mark.slow
def test_hospitals_tune_chooses_by_validation(hospitals, tmp_path):
    study = HospitalsConfig(seeds=1, rounds=1, strategy=("fedavg",), tune=True)
    federated_hospitals(hospitals.root, tmp_path, study)
    tried = [pd.read_csv(p) for p in sorted((tmp_path / "trainings").glob("fedavg-*.csv"))]
    assert len(tried) == 3
    least = min(tried, key=lambda rows: rows["val_loss"].iloc[0])
    sites = pd.read_csv(tmp_path / "sites.csv")
    chosen = sites.loc[sites["model"] == "fedavg", "variant"].unique()
    assert chosen.tolist() == [least["variant"].iloc[0]]
