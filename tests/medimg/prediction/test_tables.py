"""`medimg predict` of tables: rows are read as source `table` reads them."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from medimg.config import PrepareConfig, TrainConfig
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.prediction import tables
from medimg.prediction.config import PredictConfig
from medimg.prediction.predict import predict
from medimg.preparation.prepare import prepare
from medimg.training.train import train
from medimg.untrusted.csv_cells import read_csv
from tests.command import medimg


def write_source(path, n: int = 200) -> pd.DataFrame:
    """`;` between fields, decimal commas, dates with the day first, missing cells, 1.0 beside 1, Windows-1252."""
    draw = np.random.default_rng(0)
    age = draw.normal(60, 10, n)
    table = pd.DataFrame(
        {
            "label": np.where(age + draw.normal(0, 5, n) > 60, "krank", "gesund"),
            "größe": [f"{a:.1f}".replace(".", ",") if i % 9 else "?" for i, a in enumerate(age)],
            "ward": [("1", "1.0", "2", "3", "NA")[i % 5] for i in range(n)],
            "day": [f"{13 + i % 15}.{1 + i % 12}.2020" for i in range(n)],
            "noise": [f"{v:.3f}".replace(".", ",") for v in draw.normal(0, 1, n)],
        }
    )
    table.to_csv(path, sep=";", index=False, encoding="cp1252")
    return table


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A CSV, the Dataset made of it and an evaluated Run."""
    folder = tmp_path_factory.mktemp("tables")
    write_source(folder / "visits.csv")
    config = PrepareConfig(column_type={"ward": "categorical"})
    dataset = prepare("table", folder / "visits.csv", folder / "data", config)
    run = train(dataset.root, folder / "run", TrainConfig(model="mlp", epochs=5, model_arg={"width": "8"}))
    evaluate(run, EvaluateConfig(bootstrap=0))
    return folder / "visits.csv", dataset, run


def run_predict(run, out, *paths, **options):
    done = predict(run, tuple(map(str, paths)), out, PredictConfig(**options))
    return read_csv(out, keep_default_na=False, dtype={"row": str}), done


@pytest.mark.slow
def test_the_source_and_the_dataset_get_what_evaluate_said(world, tmp_path, monkeypatch):
    source, dataset, run = world
    expected = read_csv(run.root / "predictions.csv").set_index("row")
    for rows_at_once in (4096, 7):
        monkeypatch.setattr(tables, "_ROWS", rows_at_once)
        for path in (source, dataset.root):
            found, done = run_predict(run, tmp_path / f"{rows_at_once}-{path.name}.csv", path)
            assert list(found)[:3] == ["row", "p_gesund", "p_krank"]
            assert (len(found), done.broken) == (200, [])
            found = found.set_index("row").loc[expected.index]
            np.testing.assert_allclose(found["p_krank"].astype(float), expected["p_krank"], atol=1e-6)
            assert found["decision"].tolist() == expected["predicted"].tolist()
            assert set(found["positive_class"]) == {"krank"}


def test_rows_without_labels_in_another_order_and_what_is_odd_in_them(world, tmp_path):
    source, _, run = world
    header, *lines = source.read_text("cp1252").splitlines()
    names = header.split(";")
    rows = pd.DataFrame([line.split(";") for line in lines[:40]], columns=names).drop(columns="label")
    rows = rows[["noise", "day", "ward", "größe"]].assign(other="x")
    rows.to_csv(tmp_path / "plain.tsv", sep="\t", index=False)
    plain, _ = run_predict(run, tmp_path / "plain.csv", tmp_path / "plain.tsv")
    whole, _ = run_predict(run, tmp_path / "whole.csv", source)
    np.testing.assert_allclose(plain["p_krank"], whole["p_krank"][:40], atol=1e-6)
    assert plain["row"].tolist() == [f"plain-{i}" for i in range(1, 41)]
    rows.loc[0, "größe"], rows.loc[1, "ward"], rows.loc[2, "größe"] = "tall", "99", "900000,5"
    rows.to_csv(tmp_path / "odd.tsv", sep="\t", index=False)
    odd, done = run_predict(run, tmp_path / "odd.csv", tmp_path / "odd.tsv")
    assert "größe: 'tall' is no number, taken as missing" in odd["warnings"][0]
    assert "ward: '99' is no category of training" in odd["warnings"][1]
    assert "far from the training set" in odd["warnings"][2]
    assert done.warned >= 3
    assert "" in odd["warnings"].tolist()


def test_what_cannot_be_read_is_one_line(world, tmp_path):
    source, _, run = world
    (tmp_path / "few.csv").write_text("noise,day\n1,2020-03-01\n")
    ragged = source.read_text("cp1252").splitlines()
    (tmp_path / "ragged.csv").write_text("\n".join([*ragged[:5], "a;b", *ragged[5:]]))
    (tmp_path / "empty").mkdir()
    for words, error in (
        ([tmp_path / "few.csv"], "lacks größe, ward, which the model learns from"),
        ([source, tmp_path / "ragged.csv"], "ragged.csv row 6: 2 fields instead of 5"),
        ([tmp_path / "empty"], "is a folder; this model needs a table"),
        ([source, "--save-maps"], "--save-maps: is for images"),
        ([source, "--image-column", "x"], "--image-column: is for images"),
    ):
        result = medimg("predict", run.root, *words, "--out", tmp_path / "out.csv")
        assert result.exit_code == 2
        assert error in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert not (tmp_path / "out.csv").exists()


def test_a_private_run_is_silent_about_rows_that_it_protects(world, tmp_path):
    source, dataset, run = world
    private = dataclasses.replace(run, config={**run.config, "options": {**run.config["options"], "dp_epsilon": 3.0}})
    for path in (source, dataset.root):
        found, done = run_predict(private, tmp_path / f"{path.name}.csv", path)
        hidden = set(found["row"][found["p_krank"] == ""])
        assert hidden == set(dataset.rows("train")["row"]) == {name for name, _ in done.broken}
