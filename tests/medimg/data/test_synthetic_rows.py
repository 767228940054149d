"""--extra: synthetic rows are learnt from and never measured on."""

import json
from dataclasses import replace

import numpy as np
import pytest

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.data.synthetic_rows import with_extra
from medimg.errors import InputError
from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.report.write import write
from medimg.training.train import train
from tests.datasets import write_table

QUICK = TrainConfig(model="logistic", epochs=3)


@pytest.fixture
def real(tmp_path):
    return write_table(tmp_path / "real", n=120)


def synthetic(real: Dataset, root, flip=False, **preparation) -> Dataset:
    """Rows of other made-up patients, marked as made from the real ones."""
    made = write_table(root, n=80, seed=9)
    label = made.manifest["label"]
    if flip:
        label = np.where(label == "disease", "healthy", "disease")
    manifest = made.manifest.assign(split="train", patient="synthetic", label=label)
    known = {"synthetic": True, "source_fingerprint": real.fingerprint(), **preparation}
    replace(made, manifest=manifest, preparation=known).save()
    return Dataset.load(root)


def test_rows_join_train_alone(real, tmp_path):
    made = synthetic(real, tmp_path / "made")
    both, told = with_extra(real, made.root)
    assert told["rows"] == 80
    for split, more in (("train", 80), ("val", 0), ("test", 0)):
        assert len(both.rows(split)) == len(real.rows(split)) + more
    ages = both.manifest["age"].to_numpy()[-80:]
    assert np.array_equal(ages, made.manifest["age"].to_numpy(), equal_nan=True)


@pytest.mark.slow
def test_the_model_learns_from_them_and_the_report_says_so(real, tmp_path):
    wrong = synthetic(real, tmp_path / "wrong", flip=True)
    plain = train(real.root, tmp_path / "plain", QUICK)
    run = train(real.root, tmp_path / "run", replace(QUICK, extra=str(wrong.root)))
    measured = [evaluate(r, EvaluateConfig(bootstrap=0)) for r in (plain, run)]
    assert measured[0]["n"] == measured[1]["n"] == len(real.rows("test"))
    aurocs = [m["metrics"]["auroc"]["value"] for m in measured]
    assert aurocs[1] < aurocs[0]
    assert any("80 synthetic rows" in note for note in measured[1]["notes"])
    assert "80 synthetic rows" in write(run).read_text()
    assert json.loads((run.root / "environment.json").read_text())["extra"]["rows"] == 80


@pytest.mark.parametrize(
    ("preparation", "told"),
    [({"synthetic": False}, "not a synthetic"), ({"source_fingerprint": "other"}, "other data")],
)
def test_what_does_not_belong_is_refused(real, tmp_path, preparation, told):
    made = synthetic(real, tmp_path / "made", **preparation)
    with pytest.raises(InputError, match=told):
        train(real.root, tmp_path / "run", replace(QUICK, extra=str(made.root)))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("given", [{"folds": 3}, {"dp_epsilon": 3.0}])
def test_folds_and_privacy_exclude_it(real, tmp_path, given):
    made = synthetic(real, tmp_path / "made")
    with pytest.raises(InputError, match="--extra: not with"):
        train(real.root, tmp_path / "run", replace(QUICK, extra=str(made.root), **given))
