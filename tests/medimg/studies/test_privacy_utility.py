"""The privacy-utility study: what it trains, what it keeps, what it refuses."""

import math
from functools import partial

import pandas as pd
import pytest

from medimg.config import PrivacyUtilityConfig, TrainConfig
from medimg.errors import InputError
from medimg.privacy.ledger import read
from medimg.studies import privacy_utility as study_module
from medimg.studies.privacy_utility import privacy_utility
from medimg.training.train import train
from tests.datasets import write_table

TRAINING = TrainConfig(model="logistic", epochs=2, batch_size=16, dp_delta=1e-3)


@pytest.mark.slow
def test_every_epsilon_and_seed_is_trained_evaluated_and_attacked(tmp_path, monkeypatch):
    # No interval is looked at.
    for name in ("EvaluateConfig", "AuditConfig"):
        monkeypatch.setattr(study_module, name, partial(getattr(study_module, name), bootstrap=20))
    table = write_table(tmp_path / "data")
    study = PrivacyUtilityConfig(epsilon=("2", "inf"), seeds=2)
    done = []
    summary = privacy_utility(table.root, tmp_path / "out", study, TRAINING, lambda i, n: done.append((i, n)))
    assert done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    results = pd.read_csv(tmp_path / "out" / "results.csv")
    assert len(results) == 4
    private, plain = summary.iloc[0], summary.iloc[1]
    assert private["spent"] <= 2 < plain["spent"] == math.inf
    for epsilon, row in ((2, private), (math.inf, plain)):
        values = results[results["epsilon"] == epsilon]["auroc"]
        assert row["auroc"] == pytest.approx(values.mean())
    assert read(tmp_path / "out" / "epsilon-inf" / "seed-0") is None
    assert (tmp_path / "out" / "privacy_utility.png").is_file()
    # Taken up again, finished trainings stay as they are: their secret noise would never come again.
    before = (tmp_path / "out" / "epsilon-2" / "seed-1" / "model.keras").read_bytes()
    again = privacy_utility(table.root, tmp_path / "out", study, TRAINING)
    assert (tmp_path / "out" / "epsilon-2" / "seed-1" / "model.keras").read_bytes() == before
    assert again["auroc"].tolist() == summary["auroc"].tolist()


@pytest.mark.parametrize("epsilon", ["0", "-1", "much", "nan"])
def test_an_epsilon_must_be_a_number_above_0(tmp_path, epsilon):
    with pytest.raises(InputError, match=f"--epsilon {epsilon}"):
        privacy_utility(tmp_path, tmp_path / "out", PrivacyUtilityConfig(epsilon=(epsilon,)), TRAINING)


def test_a_finished_training_of_other_options_is_not_taken(tmp_path):
    table = write_table(tmp_path / "data")
    held = tmp_path / "out" / "epsilon-inf" / "seed-0"
    train(table.root, held, TrainConfig(model="logistic", epochs=1, batch_size=16))
    before = (held / "model.keras").read_bytes()
    study = PrivacyUtilityConfig(epsilon=("inf",), seeds=1)
    for given, words in (
        ({"epochs": 2}, f"--epochs 2: the Run at {held} has 1"),
        ({"encode": "ordinal"}, "--encode ordinal: the Run at"),
        ({"model": "mlp"}, "--model mlp: the Run at"),
    ):
        config = TrainConfig(**{"model": "logistic", "epochs": 1, "batch_size": 16, **given})
        with pytest.raises(InputError, match=words):
            privacy_utility(table.root, tmp_path / "out", study, config)
    assert (held / "model.keras").read_bytes() == before
