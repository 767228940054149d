"""Commands that write a few files: where a file may grow no further, and killed at each change and amid a file."""

import json
import resource
import shutil
import tempfile
import time
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
import yaml

from federated.flower import keys
from medimg.models import weight_store
from medimg.models.build import build
from tests.command import medimg, spelt
from tests.killing import killed_at, killed_beyond

OLD = Path(__file__).with_name("old")


def half_files(folder: Path) -> list[str]:
    """Files under a final name that are not whole."""
    found = []
    for path in folder.rglob("*"):
        # What is being written has a name with a point in front; the checkpoint's state says which is the last whole.
        if not path.is_file() or any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        try:
            require_readable(path)
        except Exception as error:
            found.append(f"{path.relative_to(folder)}: {error!r}")
    return found


def require_readable(path: Path) -> None:
    content = path.read_bytes()
    if path.suffix == ".json":
        json.loads(content)
    elif path.suffix == ".yaml":
        assert yaml.safe_load(content) is not None
    elif path.suffix in (".keras", ".npz"):
        with zipfile.ZipFile(path) as archive:
            assert archive.testzip() is None
    elif path.suffix == ".png":
        assert cv2.imdecode(np.frombuffer(content, np.uint8), -1) is not None
    elif path.suffix in (".csv", ".jsonl"):
        assert content.endswith(b"\n")
    elif path.suffix == ".html":
        assert b"</html>" in content


@contextmanager
def no_file_beyond(size: int):
    """What a full disk is to a file, where no disk may be mounted; in bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@dataclass(frozen=True)
class Small:
    """A command that writes a few files and locks no folder.

    Attributes:
        words: with {old}, {run}, {data}, {weights} and {out}, and {site} for a folder that is there.
        results: files of its end.
        half: size in bytes as a file grows beyond which it is killed.
        sizes: that no file may exceed; in bytes.
        again: given to repeat it where its result is there.
    """

    words: str
    results: tuple[str, ...]
    half: int = 1000
    sizes: tuple[int, ...] = (1, 1500)
    again: str = ""


SMALL = {
    "dossier": Small("dossier {old}/federated-run --out {out}", ("{out}/dossier.md",)),
    "key": Small("federate key site --out {out}", ("{out}/site.key", "{out}/site.pub"), half=100),
    "predict": Small(
        "predict {run} {data} --out {out}/p.csv --save-maps",
        ("{out}/p.csv", "{out}/p-maps/*.png"),
        sizes=(1, 3000),
        again="--overwrite",
    ),
    "weights": Small(
        "weights add {weights} --family baseline_cnn --licence own --source own",
        ("{cache}/weights/*.json", "{cache}/weights/*.h5"),
    ),
    "approve": Small("federate policy approve run-1 --folder {site}", ("{site}/runs.json",), half=10, sizes=(1,)),
}


@pytest.fixture
def places(request, tmp_path, monkeypatch):
    """Of a `Small`: what it reads, and where it writes."""
    monkeypatch.setenv("MEDIMG_CACHE", str(tmp_path / "cache"))
    (tmp_path / "site").mkdir()
    found = {"old": OLD} | {name: tmp_path / name for name in ("out", "site", "cache")}
    words = SMALL[request.node.callspec.params["name"]].words
    if "{run}" in words:
        found |= request.getfixturevalue("folders")
        found["run"] = Path(shutil.copytree(found["run"], tmp_path / "run"))
    if "{weights}" in words:
        found["weights"] = tmp_path / "own.h5"
        build("baseline_cnn", 32, 3, 2).save_weights(found["weights"])
    return found


def require_there(small: Small, places: dict[str, Path], tmp_path: Path) -> None:
    for result in small.results:
        path = Path(result.format(**places))
        assert list(path.parent.glob(path.name)), result
    assert half_files(tmp_path) == []


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "predict" else name for name in SMALL]
)
def test_a_file_may_grow_no_further(name, places, tmp_path):
    small, refusals = SMALL[name], 0
    words = spelt(small.words, places)
    for size in small.sizes:
        with no_file_beyond(size):
            result = medimg(*words)
        if result.exit_code == 0:
            break
        refusals += 1
        assert result.exit_code == 2, result.output
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("medimg: error:")]
        assert "File too large" in line
        assert half_files(tmp_path) == []
    assert refusals
    for option in [small.again.split()] if result.exit_code == 0 else [[], small.again.split()]:
        result = medimg(*words, *option)
        if result.exit_code == 0:
            break
    assert result.exit_code == 0, result.output
    require_there(small, places, tmp_path)


# Changes to files, of those that a command makes, before which it is killed; an exhaustive test tries them all.
AT = {"dossier": (10, 50), "key": (3, 8, 12), "predict": (8, 24), "weights": (3, 8), "approve": (1, 3)}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        pytest.param(name, change, marks=pytest.mark.slow if name in ("predict", "dossier") else ())
        for name, changes in AT.items()
        for change in changes
    ],
)
def test_killed_before_a_change(name, change, places, tmp_path):
    assert killed_at(change, tmp_path, spelt(SMALL[name].words, places))
    require_nothing_lost(name, places, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", AT)
def test_killed_before_every_change(name, places, tmp_path):
    kept = Path(shutil.copytree(tmp_path, tmp_path.with_name(f"{tmp_path.name}-kept")))
    words, change = spelt(SMALL[name].words, places), 0
    while killed_at(change, tmp_path, words):
        require_nothing_lost(name, places, tmp_path)
        shutil.rmtree(tmp_path)
        shutil.copytree(kept, tmp_path)
        change += 1
    assert change > max(AT[name])
    require_right(name, places, tmp_path)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in ("predict", "dossier") else name for name in SMALL]
)
def test_killed_amid_a_file(name, places, tmp_path):
    assert killed_beyond(SMALL[name].half, tmp_path, spelt(SMALL[name].words, places))
    require_nothing_lost(name, places, tmp_path)


def require_nothing_lost(name: str, places: dict[str, Path], tmp_path: Path) -> None:
    """A command that was killed left nothing half, and typed again ends as if it had not been."""
    assert half_files(tmp_path) == []
    small = SMALL[name]
    (last, *before) = (Path(result.format(**places)) for result in small.results)
    if name == "predict" and last.exists():
        assert all(list(path.parent.glob(path.name)) for path in before)
    result = medimg(*spelt(small.words, places))
    if result.exit_code and small.again:
        assert small.again in result.stderr
        result = medimg(*spelt(small.words, places), small.again)
    elif result.exit_code and name == "dossier":
        # Nothing replaces one that is whole, as it must then be.
        assert "already holds files" in result.stderr
        require_right(name, places, tmp_path)
        return
    assert result.exit_code == 0, result.output
    require_right(name, places, tmp_path)


def require_right(name: str, places: dict[str, Path], tmp_path: Path) -> None:
    """What is there is whole, as of a command that nobody broke off, and nothing else is."""
    require_there(SMALL[name], places, tmp_path)
    hidden = [path for path in tmp_path.rglob("*") if path.name.startswith((".", "medimg-"))]
    assert hidden == []
    if name == "key":
        secret = places["out"] / "site.key"
        assert keys.load(secret).party == keys.Party.read(places["out"] / "site.pub")
        assert secret.stat().st_mode & 0o777 == 0o600
    elif name == "weights":
        (kept,) = weight_store.kept()
        assert Path(kept.file).read_bytes() == places["weights"].read_bytes()
    elif name == "approve":
        assert json.loads((places["site"] / "runs.json").read_text()) == {"taken": [], "approved": ["run-1"]}
    else:
        other = tmp_path / "other"
        assert medimg(*spelt(SMALL[name].words, places | {"out": other})).exit_code == 0
        files = {path.relative_to(other) for path in other.rglob("*")}
        assert {path.relative_to(places["out"]) for path in places["out"].rglob("*")} == files
        unlike = [path for path in files if (other / path).is_file() and not same(places["out"] / path, other / path)]
        assert unlike == []


def same(one: Path, other: Path) -> bool:
    return one.read_bytes() == other.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("change", [150, 400])
def test_a_rehearsal_that_was_killed_leaves_no_patients_and_no_keys(change, folders, tmp_path, monkeypatch):
    """Its sites end with it, and the next one removes their folders."""
    places = {"table": folders["table"], "out": tmp_path / "out"}
    words = spelt("federate rehearse {table} --out {out} --model logistic --rounds 1 --no-comparison", places)
    assert killed_at(change, tmp_path, words)
    (left,) = tmp_path.glob("medimg-rehearsal-*")
    assert list(left.rglob("*.key"))
    assert list(left.rglob("manifest.csv"))
    assert half_files(tmp_path / "out") == []
    assert not (tmp_path / "out" / "federation.json").exists()
    wait(lambda: not [one for one in psutil.process_iter(["cmdline"]) if str(left) in str(one.info["cmdline"])])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    result = medimg(*words)
    if result.exit_code:
        assert "--overwrite" in result.stderr
        result = medimg(*words, "--overwrite")
    assert result.exit_code == 0, result.output
    assert medimg("federate", "verify", places["out"]).exit_code == 0
    assert not list(tmp_path.glob("medimg-*"))
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name.startswith(".")]


def wait(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)
