"""The link's state is held open, so that no call waits for the disk, and a kill loses nothing."""

import shutil
import sqlite3
from contextlib import closing

from federated.flower.superlink import held_open


def _written(path, number: int) -> None:
    """As Flower does at every call."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS numbers (number INTEGER)")
        connection.execute("INSERT INTO numbers VALUES (?)", (number,))


def _numbers(path) -> list[int]:
    with closing(sqlite3.connect(path)) as connection:
        return [number for (number,) in connection.execute("SELECT number FROM numbers")]


def test_the_log_stays_and_what_a_kill_leaves_is_whole(tmp_path):
    path, log = tmp_path / "state.db", tmp_path / "state.db-wal"
    _written(path, 0)
    assert not log.exists()
    with closing(held_open(str(path))):
        for number in (1, 2):
            _written(path, number)
        # Nobody waited for it to be written into the file.
        assert log.stat().st_size > 0
        (tmp_path / "killed").mkdir()
        for left in (path, log):
            shutil.copy(left, tmp_path / "killed")
    assert _numbers(path) == [0, 1, 2]
    assert _numbers(tmp_path / "killed" / "state.db") == [0, 1, 2]
