"""Every file of a Dataset and of a Run cut, emptied, with flipped bits and wrong types: one line, and nothing lost.

`test_every_command` tries every reading command on each; the others those that need no model.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.command import medimg
from tests.conftest import SMALLEST
from tests.corruption import damaged

OLD = Path(__file__).with_name("old")
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
FEDERATED = ("federate verify {it}", "report {it}", "dossier {it} --out {out}", "evaluate {it} --bootstrap 20")
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
    }


def cases(draw: np.random.Generator, folder: Path, each: int) -> list[tuple[Path, str, bytes]]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    # Of many images a few.
    images = [path for path in files if path.suffix in (".png", ".svg")]
    few = {images[i] for i in draw.permutation(len(images))[: 2 * each]}
    return [
        (path.relative_to(folder), how, content)
        for path in files
        if path not in images or path in few
        for how, content in damaged(path, draw, each)
    ]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def tried(words: str, kind: str, whole: dict[str, Path], folder: Path, case) -> str:
    """What was amiss as the command met the damaged folder; '' where nothing was."""
    file, how, content = case
    (folder / file).write_bytes(content)
    table = kind.startswith("table")
    places = {"it": folder, "out": folder.parent / "out", "data": whole["table" if table else "images"]}
    places |= {"run": whole["table-run" if table else "images-run"], "generator": "marginals" if table else "dcgan"}
    if kind == "federated-run":
        places["data"] = OLD / "images"
    many = {"{model}": ("--model", "logistic", "--epochs", "1") if table else MODEL}
    many["{federated}"] = ("--model", "logistic") if table else MODEL[:-2]
    typed = [piece for word in words.split() for piece in many.get(word, (word.format(**places),))]
    before = contents(folder)
    result = medimg(*typed)
    told = f"{words} with {file} {how}: "
    if not isinstance(result.exception, SystemExit | None):
        return f"{told}{result.exception!r}"
    if result.exit_code not in (0, 1, 2) or "Traceback" in result.output:
        return f"{told}exit {result.exit_code}: {result.output}"
    if result.exit_code == 2:
        lines = [line for line in result.stderr.splitlines() if line.startswith("medimg: error: ")]
        if len(lines) != 1:
            return f"{told}said {result.stderr!r}"
        if contents(folder) != before:
            lost = [name for name, held in contents(folder).items() if before.get(name) != held]
            lost += [name for name in before if not (folder / name).exists()]
            return f"{told}refused, but changed {lost}"
    return ""


def amiss(whole, tmp_path, kind: str, commands, seed: int, each: int, most: int | None = None) -> list[str]:
    draw = np.random.default_rng(seed)
    found = []
    possible = [(case, words) for case in cases(draw, whole[kind], each) for words in commands]
    for number in draw.permutation(len(possible))[:most]:
        case, words = possible[number]
        folder = Path(shutil.copytree(whole[kind], tmp_path / "it"))
        try:
            found.append(tried(words, kind, whole, folder, case))
        finally:
            shutil.rmtree(tmp_path)
            tmp_path.mkdir()
    return [one for one in found if one]


KINDS = {"images": DATASET, "table": DATASET, "images-run": RUN, "table-run": RUN, "federated-run": FEDERATED}


@pytest.mark.parametrize("kind", KINDS)
def test_every_command(kind, whole, tmp_path):
    assert amiss(whole, tmp_path, kind, KINDS[kind], seed=1, each=1, most=60) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_commands_without_a_model(kind, whole, tmp_path):
    light = [words for words in KINDS[kind] if words.startswith(LIGHT)]
    assert amiss(whole, tmp_path, kind, light, seed=2, each=1, most=8) == []
