"""Codes, doses and dates of a table as people write it, from `prepare` to the synthetic Dataset."""

import numpy as np
import pandas as pd
import pytest

from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.preparation.prepare import prepare
from synthetic.config import SynthesizeConfig
from synthetic.synthesize import synthesize

DOSES, CODES = (2.5, 5.0, 7.5, 10.0), ("001", "008", "033", "250", "401")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Dataset:
    draw, n = np.random.default_rng(5), 200
    folder = tmp_path_factory.mktemp("columns")
    days = pd.Timestamp("2015-01-01") + pd.to_timedelta(draw.integers(0, 2900, n), unit="D")
    table = pd.DataFrame(
        {
            "age": draw.integers(20, 90, n),
            "admitted": days.strftime("%Y%m%d"),
            "dose_mg": draw.choice(DOSES, n),
            "zip": [f"{number:05d}" for number in draw.integers(1001, 2800, n)],
            "icd": draw.choice(CODES, n),
            "label": draw.choice(["a", "b"], n),
        }
    )
    table.to_csv(folder / "t.csv", index=False)
    return prepare("table", folder / "t.csv", folder / "data", PrepareConfig())


def test_codes_stay_text_and_whole_numbers_are_dates(prepared):
    source = pd.read_csv(prepared.preparation["path"], dtype=str)
    written = pd.read_csv(prepared.root / "manifest.csv", dtype=str)
    assert written["zip"].tolist() == source["zip"].tolist()
    assert written["icd"].tolist() == source["icd"].tolist()
    assert written["admitted"].str.replace("-", "").tolist() == source["admitted"].tolist()
    kinds = {feature.name: feature.type for feature in prepared.features}
    assert (kinds["zip"], kinds["icd"], kinds["admitted"]) == ("metadata", "categorical", "date")
    notes = " ".join(prepared.preparation["notes"])
    assert "taken for dates" in notes
    assert "taken for codes and kept as text: zip, icd" in notes


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tvae", "ctgan"])
def test_what_is_made_exists(prepared, model, tmp_path):
    synthesize(prepared.root, tmp_path / "made", SynthesizeConfig(model=model, epochs=2, count=150))
    made = pd.read_csv(tmp_path / "made" / "manifest.csv", dtype=str)
    assert len(made) == 150
    assert pd.to_datetime(made["admitted"], format="%Y-%m-%d").between("2015-01-01", "2022-12-31").all()
    assert made["dose_mg"].astype(float).isin(DOSES).all()
    assert made["icd"].isin(CODES).all()
    # Nearly every patient's own: what nobody else has is not made of anybody.
    assert "zip" not in made
