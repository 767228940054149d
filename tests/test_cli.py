"""The command line: configuration files, exit codes, refusals, and the demo from end to end."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import cli
from medimg.commands.command_line import options_of
from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.options import Config, option
from medimg.studies.declared import names
from tests.command import medimg

SMALL = ["--image-size", "32", "--model-arg", "width=4", "--model-arg", "stages=2", "--epochs", "1"]


@pytest.fixture
def noise(tmp_path):
    from tests.datasets import write_dataset

    return write_dataset(tmp_path / "data").root


def test_help_imports_nothing_heavy():
    heavy = ("tensorflow", "numpy", "pandas", "cv2", "matplotlib")
    code = f"import sys, cli; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_maps_import_nothing_that_only_figures_scores_or_calibration_need():
    unneeded = ("matplotlib", "sklearn", "skimage", "scipy.optimize", "scipy.stats")
    code = f"import sys, explain.explain; print([m for m in {unneeded} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_every_field_of_a_configuration_is_an_option():
    names = {p.name for p in cli.medimg.commands["train"].params}
    assert {f.name for f in dataclasses.fields(TrainConfig)} <= names
    assert {"seed", "config", "debug", "resume", "overwrite"} <= names


def test_flags_win_over_the_configuration_file(noise, tmp_path):
    file = tmp_path / "options.yaml"
    file.write_text("epochs: 7\nbatch-size: 5\nmodel_arg: {width: 4, stages: 2}\nimage_size: 32\n")
    result = medimg("train", noise, "--out", tmp_path / "run", "--config", file, "--epochs", 1)
    assert result.exit_code == 0, result.output
    options = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["options"]
    assert (options["epochs"], options["batch_size"], options["image_size"]) == (1, 5, 32)
    assert options["model_arg"] == {"width": "4", "stages": "2"}


def test_a_configuration_file_says_what_the_command_line_would(tmp_path):
    """A class no, a column 007 and a flag are what stands there; null is nothing."""
    rows = [f"{i},{('no', 'yes')[i % 2]},{i * 7 % 41}" for i in range(40)]
    (tmp_path / "t.csv").write_text("007,1.50,x\n" + "\n".join(rows))
    file = tmp_path / "options.yaml"
    file.write_text("positive: no\nlabel-column: 1.50\npatient_column: 007\nsplit: null\nseed: ~\noverwrite: yes\n")
    result = medimg("data", "prepare", "table", tmp_path / "t.csv", "--out", tmp_path / "data", "--config", file)
    assert result.exit_code == 0, result.output
    made = Dataset.load(tmp_path / "data")
    assert (made.positive, made.manifest["patient"].nunique()) == ("no", 40)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("epochz: 3", "option 'epochz' is not known"),
        ("epochs: many", "epochs"),
        ("seed: 1.5", "'1.5' is not a valid integer"),
        ("model: [mlp]", "one value is needed"),
        ("model: {a: b}", "one value is needed"),
        ("[1, 2]", "not a mapping"),
        ("a: [", "not readable as YAML"),
    ],
)
def test_bad_configuration_files_are_one_line(content, words, noise, tmp_path):
    file = tmp_path / "options.yaml"
    file.write_text(content)
    result = medimg("train", noise, "--out", tmp_path / "run", "--config", file)
    assert result.exit_code == 2
    assert words in result.stderr
    assert str(file) in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["train", "nowhere", "--out", "x"],
        ["evaluate", "nowhere"],
        ["explain", "nowhere"],
        ["export", "nowhere", "--out", "x"],
        ["data", "inspect", "nowhere"],
        ["data", "prepare", "folder", "nowhere", "--out", "x"],
        ["data", "prepare", "nosuchsource", "nowhere", "--out", "x"],
        ["train", "phantom", "--out", "x", "--epochs", "-1"],
        ["train", "phantom", "--out", "x", "--resume", "--overwrite"],
        ["federate", "phantom", "--out", "x", "--resume", "--overwrite"],
        ["synthesize", "phantom", "--out", "x", "--resume", "--overwrite"],
        ["federate", "policy", "chek", "x"],
        ["federate", "verfy", "x"],
        ["federate", "heart"],
        ["federate", "--link", "L", "heart", "--out", "x"],
    ],
)
def test_what_is_not_there_is_one_line_and_exit_code_2(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = medimg(*words)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "Traceback" not in result.output
    assert not (tmp_path / "x").exists()


def test_a_mistyped_command_is_told_the_nearest(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "did you mean 'verify'?" in medimg("federate", "verfy", "x").stderr
    assert "did you mean" not in medimg("federate", "heart", "--out", "x").stderr
    assert "Did you mean 'check'?" in medimg("federate", "policy", "chek", "x").stderr
    assert "approve" in medimg("federate", "policy", "--help").output
    (tmp_path / "sites").mkdir()
    assert "dataset.yaml" in medimg("federate", "sites", "--out", "x").stderr


def test_debug_shows_the_traceback(tmp_path):
    result = medimg("evaluate", tmp_path / "nowhere", "--debug")
    assert isinstance(result.exception, ValueError)


def test_resume_takes_the_runs_own_options_and_refuses_others(noise, tmp_path):
    assert medimg("train", noise, "--out", tmp_path / "run", *SMALL).exit_code == 0
    assert medimg("train", noise, "--out", tmp_path / "run", "--resume").exit_code == 0
    other = medimg("train", noise, "--out", tmp_path / "run", "--resume", "--batch-size", 3)
    assert other.exit_code == 2
    assert "--batch-size 3: the Run at" in other.stderr
    for command in ("federate", "synthesize"):
        wrong = medimg(command, noise, "--out", tmp_path / "run", "--resume")
        assert wrong.exit_code == 2
        assert "is a Run of 'medimg train', which resumes it" in wrong.stderr


def test_every_rooms_commands_are_there():
    assert set(cli.medimg.commands) == {
        *(
            "data",
            "models",
            "weights",
            "train",
            "evaluate",
            "predict",
            "validate",
            "compare",
            "explain",
            "export",
            "audit",
        ),
        *("demo", "review", "report"),
        *("federate", "dossier", "synthesize", "judge", "study", "doctor"),
    }
    assert set(cli.medimg.commands["study"].commands) == set(names())
    assert set(cli.medimg.commands["federate"].commands) == {
        "run",
        "worker",
        "verify",
        "key",
        "link",
        "site",
        "policy",
        "rehearse",
    }


def test_lists_and_doctor():
    sources = medimg("data", "list")
    assert sources.exit_code == 0
    for name in ("folder", "csv", "medmnist", "chestxray14", "isic", "phantom"):
        assert name in sources.output
    assert "mobilenet_v2" in medimg("models").output
    doctor = medimg("doctor")
    assert doctor.exit_code == 0, doctor.output
    assert "requirements.lock" in doctor.output


def test_an_option_of_a_new_type_becomes_a_flag():
    @dataclasses.dataclass(frozen=True)
    class Own(Config):
        fast_mode: bool = option(True, "Be fast.")
        rate: float | None = option(None, "Rate.", above=0.0)

    import click

    @click.command()
    @options_of(Own)
    def command(**values):
        click.echo(json.dumps(values))

    assert json.loads(CliRunner().invoke(command, []).output) == {"fast_mode": True, "rate": None}
    given = CliRunner().invoke(command, ["--no-fast-mode", "--rate", "0.5"]).output
    assert json.loads(given) == {"fast_mode": False, "rate": 0.5}


@pytest.mark.slow
def test_ctrl_c_exits_130_and_leaves_a_resumable_run(noise, tmp_path):
    run = tmp_path / "run"
    words = [*SMALL[:-1], "4000", "--patience", "0", "--plateau-patience", "0"]
    command = [Path(sys.executable).with_name("medimg"), "train", noise, "--out", run, *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (run / "history.csv").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "--resume" in errors
    assert list((run / "checkpoints").glob("last-*"))


@pytest.mark.slow
def test_the_demo_goes_through_every_room(tmp_path, monkeypatch):
    """Of few small films; what it learns of its own is looked at before a release."""
    small = TrainConfig(image_size=32, model_arg={"width": "4", "stages": "2"}, epochs=1)
    monkeypatch.setattr(cli, "PhantomConfig", partial(cli.PhantomConfig, patients=40, phantom_size=64))
    monkeypatch.setattr(cli, "demo_training", lambda seed: dataclasses.replace(small, seed=seed))
    out = tmp_path / "demo"
    done = medimg("demo", "--out", out, "--seed", 3)
    assert done.exit_code == 0, done.output
    assert f"look at {out / 'run' / 'report.html'}" in done.output
    options = yaml.safe_load((out / "run" / "config.yaml").read_text())["options"]
    assert (options["seed"], options["epochs"]) == (3, 1)
    for made in ("run/report.html", "run/explanations/test/scores.json", "saved_models/phantom/1/saved_model.pb"):
        assert (out / made).is_file()
    again = medimg("demo", "--out", out)
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr


@pytest.mark.slow
def test_the_demo_learns_locates_and_exports(tmp_path):
    out = tmp_path / "demo"
    done = medimg("demo", "--out", out)
    assert done.exit_code == 0, done.output
    metrics = json.loads((out / "run" / "metrics.json").read_text())
    assert metrics["metrics"]["auroc"]["value"] >= 0.95
    scores = json.loads((out / "run" / "explanations" / "test" / "scores.json").read_text())["gradcam"]
    by_chance = max(scores["controls"][name]["pointing_game"]["value"] for name in ("random", "centre"))
    assert scores["pointing_game"]["value"] >= by_chance + 0.3
    assert (out / "saved_models" / "phantom" / "1" / "saved_model.pb").is_file()


@pytest.mark.slow
def test_a_table_from_prepare_to_export(tmp_path):
    """The commands hand a table on to each other; what each computes is tested in its own room."""
    import numpy as np
    import pandas as pd

    draw = np.random.default_rng(0)
    age = draw.normal(60, 10, 120).round(1)
    sick = np.where(age + draw.normal(0, 6, 120) > 60, "sick", "fit")
    columns = {"age": age, "ward": draw.choice(["A", "B"], 120), "outcome": sick}
    pd.DataFrame(columns).to_csv(tmp_path / "table.csv", index=False)
    data, run = tmp_path / "data", tmp_path / "run"
    options = ["--label-column", "outcome", "--positive", "sick"]
    prepared = medimg("data", "prepare", "table", tmp_path / "table.csv", "--out", data, *options)
    assert "prepared 120 rows" in prepared.output
    assert medimg("data", "inspect", data).exit_code == 0
    private = ["--dp-epsilon", "4", "--dp-delta", "1e-3", "--epochs", "4", "--batch-size", "20"]
    refused = medimg("train", data, "--model", "logistic", "--out", run, *private)
    assert refused.exit_code == 2
    assert "--bound COLUMN=LOW:HIGH for 'age'" in refused.output
    private += ["--bound", "age=20:100", "--categories", "ward=A,B"]
    trained = medimg("train", data, "--model", "logistic", "--out", run, *private)
    assert "differential privacy for one patient" in trained.output
    assert medimg("evaluate", run, "--bootstrap", "50").exit_code == 0
    assert "Privacy" in (run / "report.html").read_text()
    assert medimg("explain", run, "--count", "2").exit_code == 0
    compared = medimg("compare", run, "--out", tmp_path / "cmp", "--bootstrap", "50")
    assert compared.exit_code == 2
    assert "is private" in compared.output
    audited = medimg("audit", run, "--attack", "threshold", "--bootstrap", "50")
    assert "claimed" in audited.output
    exported = medimg("export", run, "--out", tmp_path / "saved" / "table")
    assert "the same probabilities" in exported.output
    folds = medimg("train", data, "--model", "mlp", "--folds", "2", "--epochs", "2", "--out", tmp_path / "cv")
    assert "2 folds, 120 tested" in folds.output
    compared = medimg("compare", tmp_path / "cv", "--out", tmp_path / "cmp", "--bootstrap", "50")
    assert "random-forest" in compared.output
