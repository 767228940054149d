"""Runs and Datasets made before the rooms were moved (tests/old, by commit def88b7) open, and say what they said."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medimg.evaluation.config import EvaluateConfig
from medimg.evaluation.evaluate import evaluate
from medimg.privacy.accounting import epsilon_of
from medimg.privacy.ledger import segments_of
from medimg.privacy.recount import promise_of
from medimg.privacy.segments import events_of, united
from medimg.run import Run
from tests.command import medimg

OLD = Path(__file__).with_name("old")


@pytest.fixture
def old(tmp_path) -> Path:
    """A copy, in which the Runs name their Datasets by where they lie now."""
    shutil.copytree(OLD, tmp_path / "old")
    for config in (tmp_path / "old").glob("*/config.yaml"):
        text = config.read_text()
        config.write_text(text.replace("data: ", f"data: {tmp_path / 'old'}/", 1))
    return tmp_path / "old"


@pytest.mark.parametrize("name", ["image-run", "table-run", "federated-run"])
def test_an_old_run_predicts_what_it_predicted(old, name):
    run = Run.load(old / name)
    then = pd.read_csv(run.root / "predictions.csv")
    evaluate(run, EvaluateConfig(bootstrap=0))
    now = pd.read_csv(run.root / "predictions.csv")
    probabilities = [column for column in then if then[column].dtype == float]
    assert probabilities
    assert len(then) == len(now)
    np.testing.assert_allclose(now[probabilities], then[probabilities], atol=1e-5)


@pytest.mark.parametrize("name", ["image-run", "table-run", "federated-run"])
def test_an_old_run_predicts_by_the_command(old, name, tmp_path):
    run = Run.load(old / name)
    then = pd.read_csv(run.root / "predictions.csv")
    unit, *columns = then.columns[:1].tolist() + [column for column in then if column.startswith("p_")]
    result = medimg("predict", run.root, run.config["data"], "--out", tmp_path / "now.csv")
    # Of a private Run the patients whom it protects are left out.
    assert result.exit_code == int(name == "table-run"), result.output
    assert name != "table-run" or "whom the Run protects" in result.output
    now = pd.read_csv(tmp_path / "now.csv").set_index(unit).loc[then[unit]]
    np.testing.assert_allclose(now[columns], then[columns], atol=1e-5)


def test_what_an_old_private_run_promised_still_counts(old):
    run = Run.load(old / "table-run")
    content = promise_of(run.root, run.config["options"])
    spent = epsilon_of(events_of(united(segments_of(content)), "patient"), content["delta"])
    assert spent["pld"] == pytest.approx(content["epsilon"]["pld"], rel=1e-6)


def test_the_log_of_an_old_federation_is_intact(old):
    result = medimg("federate", "verify", old / "federated-run")
    assert result.exit_code == 0, result.output
    assert "model.keras" in result.output
