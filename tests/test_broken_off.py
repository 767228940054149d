"""Each writing command on a disk that fills up, and killed at any moment: no half file under a final name, and again.

A small tmpfs is mounted where this user may; where not, its tests are skipped and say so.
"""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

import cli
from medimg.studies import declared
from tests.command import medimg, spelt
from tests.forks import forked, typed
from tests.test_broken_off_files import SMALL, half_files
from tests.test_concurrent_writers import WRITERS, Writer, named, require_whole

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


# Commands that write, and are tried elsewhere: of link and site `tests/federated/flower`, of studies that are declared
# and of the demo the steps are commands that are tried here, and what is spent is tried in `tests/medimg/privacy`.
ELSEWHERE = {
    "demo",
    "federate link",
    "federate site",
    *(f"study {name}" for name in declared.names() if name not in ("privacy-utility", "interpretability")),
}
READS = {"review", "models", "weights list", "doctor", "data list", "data ledger", "federate verify"}
READS |= {"federate policy check", "federate worker"}


def test_what_writes_is_broken_off_here():
    """A command that is new is put into one of these lists."""
    lines = [*(one.words for one in WRITERS.values()), *(one.words for one in SMALL.values())]
    untried = {name for name in named(cli.medimg) if not any(words.startswith(f"{name} ") for words in lines)}
    assert untried == ELSEWHERE | READS
