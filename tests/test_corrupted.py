"""Every file of a Dataset and of a Run cut, emptied, flipped, of wrong types or no file: one line, and nothing lost.

`test_every_command` tries every reading command on each; the others those that need no model. MEDIMG_FUZZ_SEEDS says by
how many seeds, one where it is not set. Nothing outside the folder is read, or written, by a link in it.
"""

import os
import shutil
import signal
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.command import medimg
from tests.conftest import SMALLEST
from tests.corruption import NO_FILES, damaged, replaced

OLD = Path(__file__).with_name("old")
SEEDS = range(int(os.environ.get("MEDIMG_FUZZ_SEEDS", "1")))
# Of a command on what is small, in seconds.
PATIENCE = 300
LONGEST_LINE = 2100
SECRET = "nobody's business Qz7\n"
MODEL = (*SMALLEST[:-1], "1")
# Of a Dataset or Run {it}, which may be damaged; {table}, {images} and {other} are whole.
DATASET = (
    "data inspect {it} --out {out}",
    "data ledger {it}",
    "train {it} --out {out} {model}",
    "federate {it} --out {out} --partition iid --clients 2 --rounds 1 --no-comparison {federated}",
    "synthesize {it} --model {generator} --epochs 1 --out {out}",
    "predict {run} {it} --out {out}.csv",
    "validate {run} {it} --bootstrap 20 --out {out}",
    "evaluate {run} --data {it} --bootstrap 20",
    "judge {it} --real {data} --report {out} --bootstrap 200",
)
RUN = (
    "report {it}",
    "evaluate {it} --bootstrap 20",
    "predict {it} {data} --out {out}.csv",
    "explain {it} --count 2 --score-count 0",
    "audit {it} --attack threshold --bootstrap 20",
    "compare {it} {run} --bootstrap 20 --out {out}",
    "validate {it} {data} --bootstrap 20 --out {out}",
    "export {it} --out {out}/model",
    "train {data} --out {it} --resume",
    "train {data} --out {out} --weights {it} {model}",
)
MADE = (
    "judge {it} --real {data} --report {out} --bootstrap 200",
    "train {data} --extra {it} --out {out} {model}",
    "data inspect {it} --out {out}",
    "synthesize {data} --model marginals --out {it} --resume",
)
FEDERATED = ("federate verify {it}", "dossier {it} --out {out}", "evaluate {it} --bootstrap 20")
TEXTS = (".json", ".yaml", ".csv", ".jsonl")
LIGHT = ("data inspect", "data ledger", "report", "compare", "federate verify", "dossier")


@pytest.fixture(scope="module")
def whole(folders, tmp_path_factory) -> dict[str, Path]:
    """A Dataset and an evaluated Run of images and of a table, and an old federation's Run."""
    root = tmp_path_factory.mktemp("whole")
    run = root / "table-run"
    for words in (
        ["train", folders["table"], "--out", run, "--model", "logistic", "--epochs", "2"],
        ["evaluate", run, "--bootstrap", "20"],
    ):
        result = medimg(*words)
        assert result.exit_code == 0, result.output
    shutil.copytree(folders["made"], root / "made")
    shutil.copytree(OLD / "federated-run", root / "federated-run")
    config = root / "federated-run" / "config.yaml"
    config.write_text(config.read_text().replace("data: ", f"data: {OLD}/", 1))
    return {
        "images": folders["data"],
        # A copy: what is evaluated on other data leaves that in it.
        "images-run": Path(shutil.copytree(folders["run"], root / "images-run")),
        "table": folders["table"],
        "table-run": run,
        "federated-run": root / "federated-run",
        "made": root / "made",
    }


class Late(BaseException):
    """Nothing of the product catches it."""


@contextmanager
def in_time():
    """A command that waits for what never comes is broken off."""

    def late(*_):
        raise Late

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def cases(draw: np.random.Generator, folder: Path, each: int) -> list[tuple[Path, str, bytes | None]]:
    """Files, what becomes of each, and what it then holds; None: no file stands there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    # Of many images a few.
    images = [path for path in files if path.suffix in (".png", ".svg")]
    few = {images[i] for i in draw.permutation(len(images))[: 2 * each]}
    some = [path for path in files if path not in images or path in few]
    found = [(path.relative_to(folder), how, held) for path in some for how, held in damaged(path, draw, each)]
    kinds = list(NO_FILES)
    return found + [(path.relative_to(folder), kinds[draw.integers(len(kinds))], None) for path in some]


def contents(folder: Path) -> dict[str, bytes]:
    """Of a link where it leads to."""
    return {
        str(path.relative_to(folder)): str(path.readlink()).encode() if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    }


def spelt(words: str, kind: str, whole: dict[str, Path], folder: Path) -> list[str]:
    table = kind in ("table", "table-run", "made")
    places = {"it": folder, "out": folder.parent / "out", "data": whole["table" if table else "images"]}
    places |= {"run": whole["table-run" if table else "images-run"], "generator": "marginals" if table else "dcgan"}
    if kind == "federated-run":
        places["data"] = OLD / "images"
    many = {"{model}": ("--model", "logistic", "--epochs", "1") if table else MODEL}
    many["{federated}"] = ("--model", "logistic") if table else MODEL[:-2]
    return [one for word in words.split() for one in (many[word] if word in many else [word.format(**places)])]


def tried(words: list[str], folder: Path, case) -> str:
    """What was amiss as the command met the damaged folder; '' where nothing was."""
    file, how, content = case
    outside = folder.parent / "outside" / "secret.txt"
    outside.parent.mkdir()
    outside.write_text(SECRET)
    if content is None:
        replaced(folder / file, how, outside)
    else:
        (folder / file).write_bytes(content)
    before = contents(folder)
    try:
        with in_time():
            result = medimg(*words)
    except Late:
        return "waited"
    if contents(outside.parent) != {"secret.txt": SECRET.encode()}:
        return "wrote outside the folder"
    made = contents(folder.parent / "out").values()
    if SECRET.strip() in result.output or any(SECRET.strip().encode() in held for held in made):
        return "told what lies outside the folder"
    return ended_badly(result) or (refused_badly(result, folder, before, case) if result.exit_code == 2 else "")


def ended_badly(result) -> str:
    if not isinstance(result.exception, SystemExit | None):
        return repr(result.exception)
    if result.exit_code not in (0, 1, 2) or "Traceback" in result.output:
        return f"exit {result.exit_code}: {result.output}"
    return ""


def refused_badly(result, folder: Path, before: dict[str, bytes], case) -> str:
    file, how, _ = case
    lines = [line for line in result.stderr.splitlines() if line.startswith("medimg: error: ")]
    if len(lines) != 1 or len(lines[0]) > LONGEST_LINE:
        return f"said {result.stderr[:9000]!r}"
    if how in ("emptied", "no text") and file.suffix in TEXTS and file.name not in lines[0]:
        return f"does not name the file: {lines[0]}"
    after = contents(folder)
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return f"refused, but changed {changed}" if changed else ""


def amiss(whole, tmp_path, kind: str, commands, seed: int, each: int, most: int | None = None) -> list[str]:
    draw = np.random.default_rng(seed)
    found = []
    possible = [(case, words) for case in cases(draw, whole[kind], each) for words in commands]
    for number in draw.permutation(len(possible))[:most]:
        case, words = possible[number]
        folder = Path(shutil.copytree(whole[kind], tmp_path / "it"))
        try:
            if told := tried(spelt(words, kind, whole, folder), folder, case):
                found.append(f"{words} with {case[0]} {case[1]}: {told}")
        finally:
            shutil.rmtree(tmp_path)
            tmp_path.mkdir()
    return found


KINDS = {
    "images": DATASET,
    "table": DATASET,
    "images-run": RUN,
    "table-run": RUN,
    "federated-run": FEDERATED,
    "made": MADE,
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_command(kind, seed, whole, tmp_path):
    assert amiss(whole, tmp_path, kind, KINDS[kind], seed=2 * seed + 1, each=1, most=60) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_commands_without_a_model(kind, seed, whole, tmp_path):
    light = [words for words in KINDS[kind] if words.startswith(LIGHT)]
    assert amiss(whole, tmp_path, kind, light, seed=2 * seed + 2, each=1, most=8) == []


@pytest.mark.slow
def test_what_a_report_reads_is_damaged(whole, tmp_path):
    """Commands that end with the report find it before they have replaced anything."""
    found = []
    for command, name in (
        ("evaluate {it} --bootstrap 20", "history.csv"),
        ("evaluate {it} --bootstrap 20", "environment.json"),
        ("evaluate {it} --bootstrap 20", "config.yaml"),
        ("audit {it} --attack threshold --bootstrap 20", "metrics.json"),
        ("explain {it}", "environment.json"),
        ("validate {it} {data} --bootstrap 20", "predictions.csv"),
    ):
        folder = Path(shutil.copytree(whole["table-run"], tmp_path / "it"))
        case = (Path(name), "no text", bytes(range(256)))
        found.append(tried(spelt(command, "table-run", whole, folder), folder, case))
        assert len(list(folder.glob("*.html"))) == len(list(whole["table-run"].glob("*.html")))
        shutil.rmtree(tmp_path)
        tmp_path.mkdir()
    assert found == [""] * len(found)
