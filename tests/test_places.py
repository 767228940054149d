"""Paths on the command line: refused at once where they lead nowhere, completed where they lead somewhere."""

import json
import subprocess
import sys

import pytest
from click.shell_completion import ShellComplete

import cli
from medimg.commands import runs
from medimg.sources import SOURCES
from medimg.studies.declared import names
from tests.command import medimg

# Every command that takes a path, with one that is mistyped; what needs another has one that is there.
MISTYPED = (
    "train nowhere --out x",
    "train {data} --out x --weights nowhere",
    "train {data} --out x --extra nowhere",
    "train {data} --out x --weights-patients nowhere",
    "weights add nowhere",
    "evaluate nowhere",
    "evaluate {run} --data nowhere",
    "predict nowhere {data} --out x.csv",
    "predict {run} nowhere --out x.csv",
    "validate nowhere {data}",
    "validate {run} nowhere",
    "compare nowhere {run}",
    "compare {run} nowhere",
    "explain nowhere",
    "review nowhere",
    "explain {run} --image nowhere",
    "explain {run} --data nowhere",
    "explain {run} --masks nowhere",
    "export nowhere --out x",
    "export {run} --data nowhere --out x",
    "audit nowhere",
    "report nowhere",
    "audit {run} --twin nowhere",
    "data inspect nowhere",
    "data ledger nowhere",
    "data prepare folder nowhere --out x",
    "federate nowhere --out x",
    "federate {data} --out x --weights nowhere",
    "federate verify nowhere",
    "federate rehearse nowhere --out x",
    "federate policy check nowhere",
    "federate link --out x --site nowhere",
    "dossier nowhere --out x",
    "federate site --data nowhere --policy x --key y --superlink h:1 --root-certificate z --folder w",
    "synthesize nowhere --out x",
    "judge nowhere --real {data}",
    "judge {data} --real nowhere",
    "study privacy-utility nowhere --out x",
    "study interpretability nowhere --out x",
    "study federated-hospitals nowhere --out x",
    *(f"study {name} nowhere --out x" for name in names()),
)
# Stands in for none of the product: it only looks at what was imported when a command has ended. Seconds are of the
# processor: other tests run beside it.
SCRIPT = """
import json, sys, time
import cli
for words in json.load(sys.stdin):
    began = time.process_time()
    try:
        cli.medimg(words, prog_name="medimg")
    except SystemExit as end:
        heavy = "tensorflow" in sys.modules or "torch" in sys.modules
        print(json.dumps([end.code, time.process_time() - began, heavy]))
"""


def test_a_mistyped_path_answers_before_anything_heavy_is_imported(noise, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text(f"command: train\ndata: {noise.root}\noptions: {{}}\n")
    lines = [line.format(data=noise.root, run=run).split() for line in MISTYPED]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps(lines), capture_output=True, text=True, check=True
    )
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    told = done.stderr.splitlines()
    assert len(answers) == len(told) == len(MISTYPED), done.stderr
    for line, words, (code, seconds, heavy) in zip(MISTYPED, told, answers, strict=True):
        assert (code, heavy) == (2, False), line
        assert "nowhere" in words
        assert seconds < 1, line
    assert not (tmp_path / "x").exists()


# Children that read no path.
NO_INPUT = ("list", "run", "worker", "key")


def test_every_command_with_a_path_is_mistyped_above():
    named = {" ".join(word for word in line.split()[:2]) for line in MISTYPED}
    for name, command in cli.medimg.commands.items():
        if name in ("models", "doctor", "demo"):
            continue
        children = [f"{name} {child}" for child in getattr(command, "commands", ()) if child not in NO_INPUT]
        assert not [child for child in children if child not in named]
        assert children or any(line.startswith(f"{name} ") for line in named)


def completed(words: str, incomplete: str) -> list[str]:
    shell = ShellComplete(cli.medimg, {}, "medimg", "_MEDIMG_COMPLETE")
    return [item.value for item in shell.get_completions(words.split(), incomplete)]


def test_models_and_sources_are_completed():
    assert completed("train data --model", "resn") == ["resnet50"]
    assert completed("train data --model", "log") == ["logistic"]
    assert completed("study federated-skin data --model", "vgg") == ["vgg16", "vgg19"]
    assert completed("data prepare", "") == list(SOURCES)
    assert completed("synthesize data --model", "ct") == ["ctgan"]
    assert completed("", "eval") == ["evaluate"]


def test_runs_and_datasets_are_completed(tmp_path, monkeypatch):
    for name, mark in (("hospital", "dataset.yaml"), ("heart-run", "config.yaml"), ("house", "notes.txt")):
        (tmp_path / "work" / name).mkdir(parents=True)
        (tmp_path / "work" / name / mark).write_text("")
    (tmp_path / "work" / "hints.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    assert completed("train", "work/h") == ["work/heart-run/", "work/hospital", "work/house/"]
    assert completed("evaluate", "work/h") == ["work/heart-run", "work/hospital/", "work/house/"]
    assert completed("evaluate", "") == ["work/"]
    assert completed("audit work/heart-run --twin", "work/he") == ["work/heart-run"]
    assert completed("train data --weights", "im") == ["imagenet"]
    assert completed("federate", "work/ho") == ["work/hospital", "work/house/"]
    assert completed("federate", "v") == ["verify"]
    assert completed("train", "ph") == ["phantom"]


def test_the_shell_that_is_asked_for_gets_its_script():
    environment = {"_MEDIMG_COMPLETE": "bash_source", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", "import cli; cli.main()"], env=environment, capture_output=True, text=True, check=False
    )
    assert "complete -o nosort -F _medimg_completion medimg" in done.stdout
    assert "_MEDIMG_COMPLETE" in medimg("--help").stdout


def test_a_mistyped_source_is_asked_after():
    result = medimg("data", "prepare", "chestxray", "somewhere", "--out", "x")
    assert result.exit_code == 2
    assert "source 'chestxray' is not known (did you mean chestxray14?); choose one of folder," in result.stderr


def test_addresses_are_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    told = medimg("data", "list").stdout
    assert told.count("\n") == 6 * len(SOURCES)
    for source in SOURCES.values():
        for text in (source.layout, source.how_to_get, source.licence):
            assert text in told


@pytest.mark.parametrize(("words", "goes_on"), [("evaluate {run}", False), ("train {data} --out {out}", True)])
def test_an_interrupt_speaks_of_resume_where_there_is_one(words, goes_on, noise, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "evaluate_run", interrupted)
    monkeypatch.setattr("medimg.commands.train.train_run", interrupted)
    (tmp_path / "config.yaml").write_text("command: train\n")
    result = medimg(*words.format(run=tmp_path, data=noise.root, out=tmp_path / "out").split())
    assert result.exit_code == 130
    assert ("--resume" in result.stderr) is goes_on
    assert result.stderr.startswith("medimg: interrupted; what was written stays")
