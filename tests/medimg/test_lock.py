"""One writer at a time, whoever was killed, wherever they run."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from medimg import lock
from medimg.errors import InputError
from medimg.lock import Owner, locked

HOLDING = """import sys, time; from medimg.lock import locked
with locked(sys.argv[1]): print('held', flush=True); time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that writes tmp_path/run until it is killed."""
    command = [sys.executable, "-c", HOLDING, tmp_path / "run"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def left(folder: Path, owner: Owner) -> Path:
    """A folder as a killed writer leaves it."""
    folder.mkdir()
    (folder / lock.FILE).write_text(json.dumps(asdict(owner)))
    return folder


def test_a_second_process_is_refused_and_told_of_the_first(holder, tmp_path):
    told = f"run: is being written by process {holder.pid} on .* since 20"
    with pytest.raises(InputError, match=told), locked(tmp_path / "run"):
        pass
    assert (tmp_path / "run" / lock.FILE).is_file()


def test_after_kill_9_the_next_takes_over(holder, tmp_path):
    holder.kill()
    holder.wait()
    assert (tmp_path / "run" / lock.FILE).is_file()
    with locked(tmp_path / "run"):
        told = json.loads((tmp_path / "run" / lock.FILE).read_text())
        assert (told["pid"], told["host"]) == (os.getpid(), Owner.this().host)
    assert list((tmp_path / "run").iterdir()) == []


def test_another_machines_lock_is_refused_with_the_remedy(tmp_path):
    away = replace(Owner.this(), host="elsewhere", boot="another")
    folder = left(tmp_path / "run", away)
    with pytest.raises(InputError, match=f"on elsewhere, .* remove {folder / lock.FILE}"), locked(folder):
        pass
    (folder / lock.FILE).unlink()
    with locked(folder):
        pass


@pytest.mark.parametrize("change", [{"host": "a-container"}, {"boot": "before the last start"}, {"pid": 2**22 + 1}])
def test_who_was_on_this_machine_is_known_to_have_ended(tmp_path, change):
    folder = left(tmp_path / "run", replace(Owner.this(), **change))
    with locked(folder):
        assert json.loads((folder / lock.FILE).read_text()) == asdict(Owner.this())


@pytest.mark.parametrize(
    "content",
    [
        *("", "7", "{}", '{"pid": "x"}', "\x00\xff", '{"pid": 1, "started": [], "host": 1}', "[" * 4096),
        '{"pid": 1e999, "started": 1, "host": "h", "boot": "b"}',
        '{"pid": 1, "started": 1e300, "host": "h", "boot": "b"}',
        '{"pid": 1, "started": NaN, "host": "h", "boot": "b"}',
    ],
)
def test_a_file_that_names_nobody_is_taken_over(tmp_path, content):
    (tmp_path / lock.FILE).write_bytes(content.encode("latin-1"))
    with locked(tmp_path):
        pass


def test_a_link_in_its_place_is_not_written_through(tmp_path):
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / lock.FILE).symlink_to(tmp_path / "precious")
    with pytest.raises(InputError, match="can't be written"), locked(tmp_path / "run"):
        pass
    assert (tmp_path / "precious").read_text() == "mine"


def test_where_the_system_can_lock_nothing_the_name_decides(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "lockf", refuse)
    parent = replace(Owner.this(), pid=os.getppid(), started=psutil.Process(os.getppid()).create_time())
    folder = left(tmp_path / "run", parent)
    with pytest.raises(InputError, match=f"is being written by process {os.getppid()}"), locked(folder):
        pass
    # Its number is another process's by now.
    (folder / lock.FILE).write_text(json.dumps(asdict(replace(parent, started=parent.started - 60))))
    with locked(folder):
        pass


def test_the_writer_may_lock_again_and_another_thread_may_not(tmp_path):
    refused = []

    def other():
        try:
            with locked(tmp_path / "run"):
                pass
        except InputError as error:
            refused.append(str(error))

    with locked(tmp_path / "run"), locked(tmp_path / "elsewhere" / ".." / "run"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert "another thread" in refused[0]
    other()
    assert len(refused) == 1


def test_nothing_is_left_of_what_nobody_wrote_into(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "a" / "b"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "result").touch()
    assert list((tmp_path / "a" / "b").iterdir()) == [tmp_path / "a" / "b" / "result"]


def test_takings_of_four_processes_never_overlap(tmp_path):
    """Each adds one to a number by reading and writing it; none is lost."""
    adding = """import sys
from pathlib import Path
from medimg.lock import locked
from medimg.errors import InputError
place, done = Path(sys.argv[1]), 0
while done < 40:
    try:
        with locked(place / "run"):
            file = place / "number"
            file.write_text(str(int(file.read_text()) + 1))
            done += 1
    except InputError:
        pass
"""
    (tmp_path / "number").write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", adding, tmp_path]) for _ in range(4)]
    assert [process.wait(120) for process in processes] == [0] * 4
    assert (tmp_path / "number").read_text() == "160"


def test_what_tells_a_folder_goes_last_and_what_is_kept_stays(tmp_path, monkeypatch):
    for name in ("a", "config.yaml", "z", "ledger"):
        (tmp_path / name).touch()
    (tmp_path / "fold-1").mkdir()
    (tmp_path / "fold-1" / "model").touch()
    gone = []
    unlink = Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda path, **_: (gone.append(path.name), unlink(path))[1])
    lock.empty(tmp_path, last=["config.yaml"], keep=["ledger"])
    assert gone == ["a", "z", "config.yaml"]
    assert [path.name for path in tmp_path.iterdir()] == ["ledger"]


def test_a_folder_with_a_writer_in_it_is_not_emptied(holder, tmp_path):
    with pytest.raises(InputError, match=f"process {holder.pid}"):
        lock.empty(tmp_path, last=[])
    assert (tmp_path / "run").is_dir()


SCRATCH = """import sys, time; from medimg.lock import scratch
with scratch('test') as folder:
    (folder / 'sub').mkdir(); (folder / 'sub' / 'film').write_text('x')
    print(folder, flush=True); time.sleep(600)
"""


def test_what_a_killed_command_left_in_the_temporary_folder_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    made = [
        subprocess.Popen(
            [sys.executable, "-c", SCRATCH],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        for _ in range(2)
    ]
    try:
        killed, alive = (Path(process.stdout.readline().strip()) for process in made)
        made[0].kill()
        made[0].wait()
        assert (killed / "sub" / "film").is_file()
        with lock.scratch("test") as own, lock.scratch("test") as inner:
            assert not killed.exists()
            assert (alive / "sub" / "film").is_file()
            assert own.is_dir()
            assert own != inner
    finally:
        for process in made:
            process.kill()
            process.communicate()
    assert list(tmp_path.iterdir()) == [alive]


def test_the_name_of_a_strangers_machine_forges_no_line(tmp_path):
    folder = left(tmp_path / "run", Owner(1, 1.0, "a\n\x1b[31mmedimg: error", "b"))
    with pytest.raises(InputError) as told, locked(folder):
        pass
    assert r"on a\n\x1b[31mmedimg: error, running" in str(told.value)


def test_of_many_threads_one_has_it(tmp_path):
    together, inside, problems = threading.Barrier(8), [], []

    def take():
        for _ in range(150):
            together.wait(60)
            try:
                with locked(tmp_path / "run"):
                    inside.append(1)
                    if len(inside) > 1:
                        problems.append("two at once")
                    inside.pop()
            except InputError:
                pass
            except Exception as error:
                problems.append(repr(error))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []


def test_a_link_to_itself_is_told_in_a_line(tmp_path):
    (tmp_path / "run").symlink_to(tmp_path / "run")
    with pytest.raises(InputError, match="run: "), locked(tmp_path / "run"):
        pass


HOLDING_A_FILE = """import sys, time; from medimg.lock import locked_file
with locked_file(sys.argv[1]): print('held', flush=True); time.sleep(600)
"""


@pytest.mark.parametrize("name", ["out.csv", "n" * 251 + ".csv"])
def test_one_file_is_had_alone_and_others_beside_it_are_free(tmp_path, name):
    command = [sys.executable, "-c", HOLDING_A_FILE, tmp_path / name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        told = f"is being written by process {process.pid} "
        with pytest.raises(InputError, match=told), lock.locked_file(tmp_path / name):
            pass
        with lock.locked_file(tmp_path / "other.csv"), lock.locked_file(tmp_path / "other.csv"):
            pass
    finally:
        process.kill()
        process.communicate()
    # Killed, it has left its lock, which the next takes over and takes away.
    assert len(list(tmp_path.iterdir())) == 1
    with lock.locked_file(tmp_path / name):
        pass
    assert list(tmp_path.iterdir()) == []
