"""What a private synthesis of a table leaves tells nothing of a single patient but through noise."""

from dataclasses import replace

import pandas as pd
import pytest

from medimg.data.dataset import Dataset
from medimg.privacy.defaults import coarse
from synthetic.config import SynthesizeConfig
from synthetic.synthesize import synthesize
from tests.synthetic.neighbours import differences
from tests.synthetic.tables.conftest import BOUNDS, CATEGORIES, clinic

# Every pixel that is left is compared.
pytestmark = pytest.mark.final_figures

# All that a patient can be alone in: class, category, extreme value, missing value, decimals, time of day, site.
ODD = {
    "row": "odd",
    "label": "odd",
    "patient": "odd",
    "split": "train",
    "age": 500.0,
    "pressure": 119.123456,
    "grade": 9.0,
    "pain": "unheard of",
    "stage": "",
    "seen": "2001-02-03T04:05:06",
    "device": "",
    "never": 5.4321,
    "note": "a zebra",
}
OPTIONS = {"dp_epsilon": 4.0, "dp_delta": 1e-3, "dp_seed": 1, "bound": BOUNDS, "categories": CATEGORIES}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two Datasets: without and with the odd patient, who comes first; by where the patient is."""
    base = clinic(tmp_path_factory.mktemp("base"))
    base = replace(base, task="multiclass", classes=("well", "ill", "odd"))
    found = {}
    for site in ("zealand", "north"):
        folders = []
        for name, rows in (("without", 0), ("with", 2)):
            root = tmp_path_factory.mktemp(f"{name}-{site}") / "clinic"
            root.mkdir()
            odd = pd.DataFrame([{**ODD, "site": site, "row": f"odd{i}"} for i in range(rows)])
            manifest = pd.concat([odd, base.manifest], ignore_index=True)[base.manifest.columns]
            replace(base, root=root, manifest=manifest).save()
            folders.append(root)
        found[site] = folders
    counts = [len(set(Dataset.load(f).rows("train")["patient"])) for f in found["north"]]
    assert counts[1] == counts[0] + 1
    assert coarse(counts[0]) == coarse(counts[1])
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"model": "ctgan", "epochs": 2},
        {"model": "tvae", "epochs": 2, "class_mix": "equal"},
        {"model": "marginals"},
        {"model": "ctgan", "partition": "site", "rounds": 2, "local_steps": 2},
        {"model": "tvae", "partition": "site", "rounds": 2, "local_steps": 2, "secure": "masking"},
        {"model": "marginals", "partition": "site"},
    ],
)
def test_a_patient_shows_in_noisy_numbers_alone(pair, tmp_path, options):
    data = pair["north" if "partition" in options else "zealand"]
    config = SynthesizeConfig(**OPTIONS, **options)
    made = [synthesize(folder, tmp_path / folder.parent.name / "out", config, overwrite=False) for folder in data]
    assert differences(*made) == []
    manifests = [Dataset.load(folder).manifest for folder in made]
    # The patient was learnt from; of a hundred counts with noise fifty rows need not show one.
    if config.model != "marginals":
        assert not manifests[0].equals(manifests[1])
    for rows in manifests:
        assert len(rows) == 50
        assert set(rows["label"]) <= {"well", "ill", "odd"}
        for name, stated in {**CATEGORIES, "stage": "low,middle,high"}.items():
            assert set(rows[name]) <= {"", *stated.split(",")}
        assert rows["age"].dropna().between(0, 120).all()
        assert set(rows["grade"].dropna()) <= {0, 1, 2, 3, 4}
        assert rows["pressure"].dropna().round(1).equals(rows["pressure"].dropna())
        assert set(rows["seen"].str.len()) <= {0, 10}
        assert (rows["site"] == "").all()
    told = "".join(
        path.read_text() for path in made[1].rglob("*") if path.suffix in (".yaml", ".json", ".csv", ".jsonl")
    )
    for value in ("unheard of", "zealand", "500.0", "119.12", "04:05", "zebra"):
        assert value not in told.replace("with-zealand", "")


def test_a_difference_is_found(pair, tmp_path):
    """The comparison itself: without noise's excuse the two tell apart."""
    plain = SynthesizeConfig(model="marginals", rare_classes="leave-out", count=50)
    made = [synthesize(f, tmp_path / f.parent.name / "out", plain) for f in pair["zealand"]]
    assert differences(*made) != []
