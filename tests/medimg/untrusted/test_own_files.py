"""A Run or a Dataset of a stranger holds its own files: no link that leads out, no pipe, is opened or written."""

import os
import shutil
from pathlib import Path

import pytest

from medimg.errors import InputError
from medimg.privacy.dataset_ledger import DatasetLedger
from medimg.untrusted.inside import require_own_files
from tests.command import medimg

OLD = Path(__file__).parents[2] / "old"
COMMANDS = {
    "table-run": (
        "report {it}",
        "evaluate {it}",
        "explain {it}",
        "audit {it}",
        "compare {it} {it}",
        "validate {it} {old}/table",
        "predict {it} {old}/table --out {out}.csv",
        "export {it} --out {out}",
        "train {old}/table --out {it} --resume",
    ),
    "image-run": ("train {old}/images --out {out} --weights {it}",),
    "federated-run": ("dossier {it} --out {out}", "federate verify {it}"),
    "table": ("data inspect {it} --out {out}", "train {it} --out {out} --model logistic"),
    "ledger": ("data ledger {it}",),
}
# `figures` is a folder into which commands write.
CASES = (
    ("table-run", "metrics.json", "link"),
    ("table-run", "figures", "folder"),
    ("table-run", "explanations/deep/explanations.json", "pipe"),
    ("image-run", "metrics.json", "link"),
    ("federated-run", "partition.csv", "link"),
    ("federated-run", "audit_head.json", "pipe"),
    ("table", "manifest.csv", "pipe"),
    ("table", "dataset.yaml", "link"),
    ("ledger", "privacy_ledger.jsonl", "link"),
    ("ledger", "privacy_ledger.jsonl", "pipe"),
)


@pytest.fixture
def secret(tmp_path) -> Path:
    place = tmp_path / "private" / "secret.txt"
    place.parent.mkdir()
    place.write_text("nobody's business\n")
    return place


@pytest.mark.parametrize(("kind", "name", "how"), CASES)
def test_every_reader_refuses(kind, name, how, secret, tmp_path):
    for number, words in enumerate(COMMANDS[kind]):
        source = OLD / ("table" if kind == "ledger" else kind)
        it = Path(shutil.copytree(source, tmp_path / str(number) / "it"))
        file = it / name
        file.unlink(missing_ok=True)
        file.parent.mkdir(parents=True, exist_ok=True)
        if how == "pipe":
            os.mkfifo(file)
        else:
            file.symlink_to(secret if how == "link" else secret.parent)
        places = {"it": it, "out": tmp_path / str(number) / "out", "old": OLD}
        result = medimg(*(word.format(**places) for word in words.split()))
        assert result.exit_code == 2, (words, result.output)
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("medimg: error: ")]
        assert name in line
        assert ("a pipe or a device" if how == "pipe" else "a link that leads out") in line, (words, line)
        assert secret.read_text() == "nobody's business\n"
        assert [path.name for path in secret.parent.iterdir()] == ["secret.txt"]
        assert not places["out"].exists()


def test_links_that_stay_inside_and_a_run_that_is_a_link(tmp_path):
    run = Path(shutil.copytree(OLD / "table-run", tmp_path / "run"))
    (run / "again.csv").symlink_to("predictions.csv")
    (tmp_path / "elsewhere").symlink_to(run)
    require_own_files(tmp_path / "elsewhere")
    (run / "again.csv").unlink()
    (run / "out.csv").symlink_to("../out.csv")
    with pytest.raises(InputError, match=r"out\.csv: .* a link that leads out"):
        require_own_files(tmp_path / "elsewhere")


def test_a_ledger_is_not_appended_through_a_link(secret, tmp_path):
    """It would be made where it leads to."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "privacy_ledger.jsonl").symlink_to(secret.parent / "made.txt")
    with pytest.raises(InputError, match="leads out"):
        DatasetLedger(tmp_path / "data").release("x")
    assert [path.name for path in secret.parent.iterdir()] == ["secret.txt"]


def _hollow(path: Path) -> None:
    """4 GiB more, which take no room on the disk."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + (4 << 30))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("table-run", "metrics.json"),
        ("table-run", "predictions.csv"),
        ("image-run", "model.keras"),
        ("federated-run", "audit.jsonl"),
        ("table", "manifest.csv"),
        ("ledger", "privacy_ledger.jsonl"),
    ],
)
def test_gigabytes_that_nobody_wrote_are_not_read(kind, name, tmp_path):
    for number, words in enumerate(COMMANDS[kind]):
        it = Path(shutil.copytree(OLD / ("table" if kind == "ledger" else kind), tmp_path / str(number) / "it"))
        (it / name).touch()
        _hollow(it / name)
        result = medimg(*words.format(it=it, old=OLD, out=tmp_path / str(number) / "out").split())
        assert result.exit_code == 2, result.output
        assert f"{name}: 4,29" in result.stderr
        assert "of its bytes were never written; put the file itself there, or remove it" in result.stderr


def test_small_holes_and_unfinished_pixels_are_no_harm(tmp_path):
    """What TensorFlow or the system left out on the disk, and what a killed training had still to decode."""
    (tmp_path / "cache").mkdir()
    for name, size in (("a.npz", 1 << 20), ("cache/pixels.npy", 4 << 30)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    require_own_files(tmp_path)
