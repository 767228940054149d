"""Each writing command twice at once, and killed: the second is refused, the first ends whole, and can be repeated."""

import json
import multiprocessing
import os
import shutil
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import yaml

import cli
from medimg.lock import FILE, locked
from medimg.studies.declared import names
from tests.command import medimg, spelt
from tests.forks import forked, typed

# What only reads; the ledger has a lock of its own, as a site's log has; predict locks its file, key waits,
# and a dossier is copied into an empty folder that is locked.
SITES = {f"federate {name}" for name in ("worker", "key", "link", "site", "policy check", "policy approve")}
READERS = {
    "predict",
    "review",
    "models",
    "weights list",
    "weights add",
    "doctor",
    "data list",
    "data ledger",
    "federate verify",
    "dossier",
    *SITES,
}


@dataclass(frozen=True)
class Writer:
    """A writing command.

    Attributes:
        words: with {data}, {run}, {table}, {made}, {films} and {out} for folders.
        locked: the folder that it locks.
        midway: a file that is there before it ends; of several `*`.
        result: a file of its end, in the folder.
        again: what is given to repeat it after it was killed.
    """

    words: str
    result: str
    midway: str = FILE
    locked: str = "{out}"
    again: str = ""


WRITERS = {
    "prepare": Writer(
        "data prepare folder {films} --out {out} --workers 1", "dataset.yaml", midway=".preparing/options.yaml"
    ),
    "inspect": Writer("data inspect {data} --out {out}", "inspection.html"),
    "train": Writer("train {data} --out {out} {model}", "model.keras", midway="history.csv", again="--resume"),
    "train anew": Writer("train {data} --out {out} {model}", "model.keras", again="--overwrite"),
    "folds": Writer(
        "train {data} --out {out} {model} --folds 2", "metrics.json", midway="fold-1/history.csv", again="--resume"
    ),
    "federate": Writer(
        "federate {data} --out {out} --model-arg width=4 --image-size 32 --rounds 2 --no-comparison",
        "federation.json",
        midway="rounds.csv",
        again="--resume",
    ),
    "rehearse": Writer(
        "federate rehearse {table} --out {out} --model logistic --rounds 1 --no-comparison",
        "federation.json",
        again="--overwrite",
    ),
    "synthesize": Writer(
        "synthesize {table} --model tvae --out {out} --epochs 30",
        "dataset.yaml",
        midway="checkpoints/all.npz",
        again="--resume",
    ),
    "judge": Writer("judge {made} --real {table} --report {out} --bootstrap 200", "judgement.json"),
    "evaluate": Writer("evaluate {run}", "metrics.json", locked="{run}"),
    "validate": Writer("validate {run} {data} --bootstrap 20", "validations/*/validation.json", locked="{run}"),
    "explain": Writer(
        "explain {run} --count 4 --score-count 0",
        "explanations/*/explanations.json",
        locked="{run}",
    ),
    "audit": Writer("audit {run} --attack threshold --bootstrap 500", "audit.json", locked="{run}"),
    "report": Writer("report {run}", "report.json", locked="{run}"),
    "export": Writer("export {run} --out {out}", "*/saved_model.pb"),
    "compare": Writer("compare {run} {other} --out {out}", "comparison.json"),
    "study": Writer(
        "study privacy-utility {data} --out {out} {model} --epsilon inf --seeds 1",
        "study.html",
        midway="work/train-*/done/history.csv",
    ),
    "study of maps": Writer(
        "study interpretability {data} --out {out} {model} --model baseline_cnn --method gradcam --score-count 4",
        "study.html",
        midway="work/train-*/done/history.csv",
    ),
}


def done(*words: object) -> None:
    result = medimg(*words)
    assert result.exit_code == 0, result.output


def started(words: list[str], folder: Path, file: str) -> multiprocessing.Process:
    """The command, stopped when the file is there and, of a lock, tells whose it is."""
    process = forked(typed, words)
    deadline = time.monotonic() + 240
    while process.is_alive() and time.monotonic() < deadline:
        if any(found.stat().st_size for found in folder.glob(file)):
            break
        time.sleep(0.002)
    assert process.is_alive(), f"ended with {process.exitcode} before {file}"
    os.kill(process.pid, signal.SIGSTOP)
    return process


# Longer ones, which are not run to their end here.
LONGER = (
    "demo --out {out}",
    *(f"study {name} {{data}} --out {{out}}" for name in names()),
)
COMMANDS = (*LONGER, *(writer.words for writer in WRITERS.values()))


def named(group: click.Group, before: str = "") -> list[str]:
    """All commands, as they are typed."""
    found = []
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found += named(command, f"{before}{name} ")
        else:
            found.append(f"{before}{name}".removesuffix(" run"))
    return found


def test_what_writes_is_tried_here():
    untried = {name for name in named(cli.medimg) if not any(words.startswith(f"{name} ") for words in COMMANDS)}
    assert untried == READERS


@pytest.mark.parametrize("words", COMMANDS)
def test_a_folder_that_is_being_written_is_left_alone(words, folders, tmp_path):
    places = folders | {"out": tmp_path / "out"}
    folder = folders["run"] if "{out}" not in words else places["out"]
    holding, over = threading.Event(), threading.Event()

    def hold():
        with locked(folder):
            holding.set()
            over.wait(60)

    other = threading.Thread(target=hold)
    other.start()
    holding.wait(60)
    try:
        before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
        result = medimg(*spelt(words, places))
        assert result.exit_code == 2, result.output
        assert f"{folder}: is being written by" in result.stderr
        assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    finally:
        over.set()
        other.join()


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_two_at_once_and_one_killed(name, folders, tmp_path):
    writer = WRITERS[name]
    places = folders | {"out": tmp_path / "out"}
    if writer.locked == "{run}":
        places["run"] = Path(shutil.copytree(folders["run"], tmp_path / "run"))
    folder = Path(writer.locked.format(**places))
    words = spelt(writer.words, places)

    first = started(words, folder, FILE)
    try:
        again = spelt(writer.again, places)
        for second in {tuple(words), (*words, *again)}:
            result = medimg(*second)
            assert result.exit_code == 2, result.output
            (line,) = [line for line in result.stderr.splitlines() if line]
            assert f"is being written by process {first.pid} on " in line
    finally:
        os.kill(first.pid, signal.SIGCONT)
    first.join(240)
    assert first.exitcode == 0
    require_whole(folder, writer)

    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    killed = started(words, folder, writer.midway)
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    assert (folder / FILE).is_file()
    done(*words, *again)
    require_whole(folder, writer)


def require_whole(folder: Path, writer: Writer) -> None:
    (result,) = folder.glob(writer.result)
    read = {".json": json.loads, ".yaml": yaml.safe_load}.get(result.suffix)
    if read:
        assert read(result.read_text())
    for left in (FILE, ".preparing"):
        assert not list(folder.rglob(left))
