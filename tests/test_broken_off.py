"""Each writing command on a disk that fills up, and killed at any moment: no half file under a final name, and again.

A small tmpfs is mounted where this user may; where not, its tests are skipped and say so.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from tests.command import medimg
from tests.forks import forked, typed
from tests.test_concurrent_writers import WRITERS, Writer, require_whole, spelt

# The disk is full; or, tried again, what was begun before it was is nothing yet to go on with.
REMEDIES = ("free space", "No space left", "already holds files", "not a Run", "begin anew by --overwrite")
OLD = Path(__file__).with_name("old")
# Bytes.
ROOMY = 96 << 20


@pytest.fixture
def disk(tmp_path):
    """A tmpfs of its own, and what sets how many bytes of it are free."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOMY}", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs may be mounted here: {mounted.stderr.strip()}")

    def leave(room: int) -> None:
        held = os.statvfs(place)
        used = (held.f_blocks - held.f_bfree) * held.f_frsize
        # A size of 0 would be no limit.
        size = ["-o", f"remount,size={max(used + room, 4096)}"]
        subprocess.run(["mount", *size, place], check=True)

    try:
        yield place, leave
    finally:
        subprocess.run(["umount", "-l", place], check=True)


def places_of(writer: Writer, folders: dict[str, Path], root: Path) -> dict[str, Path]:
    places = folders | {"out": root / "out"}
    if writer.locked == "{run}":
        places["run"] = Path(shutil.copytree(folders["run"], root / "run"))
    return places


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


def again(writer: Writer, words: list[str], places: dict[str, Path]) -> None:
    """What a user types next: the same, or where there is something to go on with, to go on."""
    result = medimg(*words, *spelt(writer.again, places))
    for option in ((), ("--overwrite",)) if writer.again == "--resume" else ():
        # Broken off before there was a Run, or anything in it to go on with.
        result = medimg(*words, *option) if result.exit_code else result
    assert result.exit_code == 0, result.output
    require_whole(Path(writer.locked.format(**places)), writer)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
def test_the_disk_is_full(name, folders, disk):
    writer, (place, leave) = WRITERS[name], disk
    places = places_of(writer, folders, place)
    words = spelt(writer.words, places)
    refusals = 0
    # The first has no room at all, and others a little more each: where it ends is another file each time.
    for room in (0, 12 << 10, 40 << 10, 200 << 10):
        leave(room)
        given = words if not (place / "out").exists() or not writer.again else [*words, *spelt(writer.again, places)]
        result = medimg(*given)
        if result.exit_code == 0:
            break
        refusals += 1
        assert result.exit_code == 2, (room, result.output, result.exception)
        lines = [line for line in result.stderr.splitlines() if line.startswith("medimg: error:")]
        assert len(lines) == 1, result.output
        assert any(word in lines[0] for word in REMEDIES), lines
        assert half_files(place) == [], room
    assert refusals
    leave(ROOMY)
    if result.exit_code:
        again(writer, words, places)


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_killed_at_any_moment(name, seed, folders, tmp_path):
    writer = WRITERS[name]
    places = places_of(writer, folders, tmp_path)
    words = spelt(writer.words, places)
    folder = Path(writer.locked.format(**places))
    process = forked(typed, words)
    # From the first file on, so that no time is spent on the start, which writes nothing.
    while process.is_alive() and not folder.exists():
        time.sleep(0.002)
    time.sleep(float(np.random.default_rng((seed, *name.encode())).uniform(0, 4)))
    if process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert half_files(tmp_path) == []
    if process.exitcode:
        again(writer, words, places)


@contextmanager
def no_file_beyond(size: int):
    """What a full disk is to a file, where no disk may be mounted; in bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("words", ["dossier {old}/federated-run --out {out}", "federate key site --out {out}"])
@pytest.mark.parametrize("size", [100, 1500])
def test_a_file_may_grow_no_further(words, size, tmp_path):
    """Of the commands that are no `WRITERS`, those that leave more than one file."""
    typed = spelt(words, {"old": OLD, "out": tmp_path / "out"})
    with no_file_beyond(size):
        result = medimg(*typed)
    if result.exit_code:
        assert result.exit_code == 2, result.output
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("medimg: error:")]
        assert "File too large" in line
    else:
        # Keys are smaller.
        assert words.startswith("federate key")
        assert size > 1000
    assert half_files(tmp_path) == []
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    assert medimg(*typed).exit_code == 0
