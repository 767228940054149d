"""`--dp-budget dataset` from the command line on: at the same time, killed, over folds; what `data ledger` tells."""

import dataclasses
import html
from pathlib import Path

import numpy as np
import pytest

from medimg.config import TrainConfig
from medimg.errors import InputError
from medimg.privacy.accounting import epsilon_of, pld_epsilon
from medimg.privacy.dataset_ledger import DatasetLedger
from medimg.privacy.ledger import read, segments_of
from medimg.privacy.statement import summary
from medimg.report.write import write
from medimg.run import Run
from medimg.training.cross_validation import cross_validate
from medimg.training.train import train
from tests.command import medimg
from tests.datasets import write_table
from tests.forks import forked, typed
from tests.killing import Killed, killed_after

DELTA = 1e-3
OPTIONS = {
    "model": "logistic",
    "epochs": 4,
    "batch_size": 12,
    "dp_epsilon": 2.0,
    "dp_delta": DELTA,
    "dp_noise_multiplier": 2.5,
    "dp_budget": "dataset",
}
CONFIG = TrainConfig(**OPTIONS)


@pytest.fixture
def table(tmp_path):
    return write_table(tmp_path / "data", n=100)


def total(root: Path) -> float:
    return pld_epsilon(DatasetLedger(root).events(), DELTA)


def weights(run) -> list[np.ndarray]:
    return run.model().get_weights()


@pytest.mark.slow
def test_commands_at_the_same_time_keep_the_budget_of_the_dataset(table, tmp_path):
    words = [f"--{name.replace('_', '-')}={value}" for name, value in OPTIONS.items()]
    both = [forked(typed, ["train", str(table.root), *words, "--out", str(tmp_path / name)]) for name in ("a", "b")]
    for process in both:
        process.join(240)
    codes = [process.exitcode for process in both]
    assert 0 in codes, codes
    assert set(codes) <= {0, 2}, codes
    # One alone takes more than half, so both as they were asked for would pass it.
    alone = max(read(tmp_path / n)["epsilon"]["pld"] for n, c in zip("ab", codes, strict=True) if not c)
    assert alone > 1.2
    assert total(table.root) <= 2.0


@pytest.mark.slow
def test_killed_and_resumed_after_another_it_is_the_same_training(table, tmp_path):
    config = dataclasses.replace(CONFIG, dp_noise_multiplier=5.0, dp_seed=3)
    whole = train(write_table(tmp_path / "again", n=100).root, tmp_path / "whole", config)
    with pytest.raises(Killed):
        train(table.root, tmp_path / "killed", config, listener=killed_after(2))
    # What the killed one has yet to spend is not to be had: with this noise one alone would spend more.
    other = dataclasses.replace(config, dp_noise_multiplier=None, dp_seed=None)
    between = train(table.root, tmp_path / "between", other)
    assert read(between.root)["epsilon"]["pld"] < 2.0
    assert total(table.root) <= 2.0
    resumed = train(table.root, tmp_path / "killed", config, resume=True)
    assert total(table.root) <= 2.0
    assert read(resumed.root)["steps"] == read(whole.root)["steps"]
    assert all(np.array_equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))
    assert DatasetLedger(table.root).entries().reserved == ()


@pytest.mark.parametrize("delta", ["0.0", "1.0", "-1.0", "5.0", "nan"])
def test_the_delta_of_the_command_is_between_0_and_1(table, delta):
    told = medimg("data", "ledger", table.root, "--delta", delta)
    assert told.exit_code == 2
    assert f"error: --delta {delta}: " in told.output


@pytest.mark.slow
def test_the_command_tells_what_is_held_and_gives_it_up(table, tmp_path):
    with pytest.raises(Killed):
        train(table.root, tmp_path / "killed", CONFIG, listener=killed_after(2))
    held, run = total(table.root), read(tmp_path / "killed")["run"]
    words = ["data", "ledger", table.root, "--delta", DELTA]
    told = medimg(*words)
    assert told.exit_code == 0
    assert f"epsilon {held:.4g}" in told.output
    wrong = medimg(*words, "--abandon", "nobody")
    assert wrong.exit_code != 0
    given_up = medimg(*words, "--abandon", run)
    assert given_up.exit_code == 0
    steps = read(tmp_path / "killed")["steps"]
    assert f"released {steps} steps that were never run" in given_up.output
    assert 0 < total(table.root) < held


@pytest.mark.slow
def test_all_folds_together_are_what_a_cross_validation_claims(table, tmp_path):
    config = TrainConfig(**{**OPTIONS, "epochs": 1, "dp_budget": "run", "folds": 3})
    with pytest.raises(InputError, match="--dp-budget dataset: the first of --folds"):
        cross_validate(table.root, tmp_path / "no", dataclasses.replace(config, dp_budget="dataset"))
    assert not (tmp_path / "no").exists()
    cross_validate(table.root, tmp_path / "cv", config)
    folds = [read(tmp_path / f"cv/fold-{number}") for number in (1, 2, 3)]
    whole = read(tmp_path / "cv")
    # A patient is in the training part of two of three.
    pairs = [
        epsilon_of([s.event() for n in two for s in segments_of(folds[n])], DELTA)["pld"]
        for two in ((0, 1), (0, 2), (1, 2))
    ]
    assert whole["epsilon"]["pld"] == max(pairs)
    assert whole["epsilon"]["pld"] > max(fold["epsilon"]["pld"] for fold in folds)
    text = summary(whole, "row")
    assert f"{whole['epsilon']['pld']:.3g}" in text
    assert "took part in at most the others" in text
    assert text in html.unescape(write(Run.load(tmp_path / "cv")).read_text())
