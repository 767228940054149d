"""The inspection counts what is there, and lists what is wrong without stopping."""

import json

import numpy as np
import pytest

from medimg.config import PrepareConfig
from medimg.data.dataset import Dataset
from medimg.data.imaging import write_png
from medimg.inspection.counts import UNLABELLED
from medimg.inspection.inspect import inspect
from medimg.phantom.config import PhantomConfig
from medimg.preparation.prepare import prepare


@pytest.fixture
def phantom(tmp_path):
    return prepare("phantom", None, tmp_path / "data", PrepareConfig(), PhantomConfig(patients=30, phantom_size=64))


def test_a_sound_dataset(phantom, tmp_path):
    found = inspect(phantom, tmp_path / "out")
    rows = phantom.manifest
    assert found.problems == []
    assert found.broken == []
    assert found.duplicates == 0
    for part in ("train", "val", "test"):
        assert found.images[part] == (rows["split"] == part).sum()
        assert found.patients[part] == rows["patient"][rows["split"] == part].nunique()
        for name in phantom.classes:
            assert found.counts[part][name] == ((rows["split"] == part) & (rows["label"] == name)).sum()
    assert sum(sum(site.values()) for site in found.sites.values()) == len(rows)
    assert len(found.sites) == 5
    assert sum(n * count for n, count in found.images_per_patient.items()) == len(rows)
    assert found.sizes == {"64 x 64": len(rows)}
    assert found.depths == {"8-bit grey": len(rows)}
    assert found.findings == (rows["label"] == "opacity").sum()
    saved = json.loads((tmp_path / "out" / "inspection.json").read_text())
    assert saved["counts"] == found.counts
    assert saved["leakage"] == {
        "patients": [],
        "images": [],
        "conflicts": [],
        "unit": "image",
    }
    assert len(list((tmp_path / "out" / "figures").glob("*.png"))) == 3
    page = (tmp_path / "out" / "inspection.html").read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "http" not in page.replace("http-equiv", "")


def test_everything_wrong_is_listed_and_nothing_stops(phantom, tmp_path):
    rows = phantom.manifest
    paths = phantom.paths(rows)
    train, test = (int(rows.index[rows["split"] == part][0]) for part in ("train", "test"))
    rows.loc[test, "patient"] = rows["patient"][train]
    rows.loc[test + 1, "label"] = ""
    phantom.save()
    write_png(paths[train], np.zeros((5, 7, 3), np.uint16) + np.arange(3, dtype=np.uint16))
    write_png(paths[test], np.zeros((5, 7, 3), np.uint16) + np.arange(3, dtype=np.uint16))
    (gone, empty) = [i for i in rows.index if i not in (train, test)][:2]
    paths[gone].unlink()
    paths[empty].write_bytes(b"")
    found = inspect(Dataset.load(phantom.root), tmp_path / "out")
    assert len(found.broken) == 2
    assert rows["image"][gone] in found.broken[0]
    assert f"row {empty + 2}" in found.broken[1]
    assert len(found.leakage.patients) == 1
    assert len(found.leakage.images) == 1
    assert set(found.problems) >= set(found.broken)
    assert len(found.problems) >= 4
    assert found.sizes["7 x 5"] == 2
    assert found.depths["16-bit colour"] == 2
    assert found.duplicates == 1
    assert sum(counts[UNLABELLED] for counts in found.counts.values()) == 1
    page = (tmp_path / "out" / "inspection.html").read_text()
    assert rows["image"][train] in page
    assert rows["image"][gone] in page
