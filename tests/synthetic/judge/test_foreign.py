"""A synthetic Dataset of a stranger: what it says of itself is no fact, and nothing in it is lost."""

import json
import math
from dataclasses import replace

import pandas as pd
import pytest

from medimg.data.dataset import Dataset
from medimg.errors import InputError
from synthetic.judge import report_folder
from synthetic.judge.rows import Subject
from synthetic.judge.verdict import NO_GUARANTEE, formal_guarantee


@pytest.fixture
def subject(tmp_path):
    rows = {"image": ["judgement/1.png", "images/2.png"], "label": ["p", "n"], "patient": ["1", "2"]}
    manifest = pd.DataFrame({**rows, "site": "", "split": "train"})
    made = Dataset(tmp_path, "made up", "binary", ("n", "p"), manifest)
    return Subject(made, made, manifest, manifest, manifest)


@pytest.mark.parametrize(
    "said",
    [
        {"epsilon": math.nan, "delta": 1e-5},
        {"epsilon": -1.0, "delta": 1e-5},
        {"epsilon": True, "delta": 1e-5},
        {"epsilon": 1.0, "delta": "<b>0</b>"},
        {"epsilon": 1.0, "delta": math.nan},
        {"epsilon": 1.0, "delta": 1e-5, "unit": "<script>"},
        {"epsilon": 1.0, "delta": 1e-5, "unit": []},
    ],
)
def test_what_is_no_guarantee_is_none(subject, said):
    honest = {"privacy": {"epsilon": 1.0, "delta": 1e-5, "unit": "patient"}}
    foreign = replace(subject, synthetic=replace(subject.synthetic, preparation=honest))
    assert "(1, 1e-05) for one patient" in formal_guarantee(foreign)
    foreign = replace(subject, synthetic=replace(subject.synthetic, preparation={"privacy": said}))
    assert formal_guarantee(foreign) == NO_GUARANTEE


def test_images_are_not_taken_for_an_earlier_judgement(subject, tmp_path):
    image = tmp_path / "judgement" / "1.png"
    image.parent.mkdir()
    image.write_bytes(b"")
    report_folder.require_apart(subject.synthetic)
    (tmp_path / "judgement.json").write_text(json.dumps("a verdict"))
    report_folder.require_apart(subject.synthetic)
    report_folder.clear_earlier(tmp_path)
    assert image.is_file()
    (tmp_path / "judgement.json").write_text(json.dumps({"verdict": "share"}))
    with pytest.raises(InputError, match=r"judgement: holds images of manifest\.csv"):
        report_folder.require_apart(subject.synthetic)
    apart = subject.synthetic.manifest.assign(image="images/2.png")
    report_folder.require_apart(replace(subject.synthetic, manifest=apart))
