"""The link's state is held open, so that no call waits for the disk, and a kill loses nothing."""

import gc
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from flwr.server.superlink.linkstate import LinkStateFactory
from flwr.supercore.object_store import ObjectStoreFactory

from federated.flower.superlink import held_open, once_a_thread


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


@pytest.mark.parametrize("made", [LinkStateFactory.state, ObjectStoreFactory.store])
def test_a_thread_opens_the_state_once(made, tmp_path):
    factories = [type("Factory", (), {"database": str(tmp_path / name)}) for name in ("one.db", "other.db")]
    view = once_a_thread(made)
    here = [view(factory) for factory in factories * 2]
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(view, factories[0]).result()
        assert there is not here[0]
        assert pool.submit(view, factories[0]).result() is there
    assert here[0] is here[2] is not here[1] is here[3]


@pytest.mark.parametrize("made", [LinkStateFactory.state, ObjectStoreFactory.store])
def test_so_many_threads_keep_the_state_open_and_no_more(made, tmp_path):
    """Whoever reaches the link's port can have it start a thousand threads, which stay."""
    factory, view = type("Factory", (), {"database": str(tmp_path / "one.db")}), once_a_thread(made, 2)
    with ExitStack() as stack:
        pools = [stack.enter_context(ThreadPoolExecutor(1)) for _ in range(4)]
        kept = [pool.submit(lambda: view(factory) is view(factory)).result() for pool in pools]
        assert kept == [True, True, False, False]
        opened = [str(one.readlink()) for one in Path("/proc/self/fd").iterdir() if one.is_symlink()]
        assert opened.count(f"{factory.database}-wal") == 2
        # Of threads that have ended nothing is kept.
        pools[0].shutdown()
        gc.collect()
        assert pools[2].submit(lambda: view(factory) is view(factory)).result()


def test_what_a_call_left_undone_is_not_the_next_ones(tmp_path):
    factory, view = LinkStateFactory(str(tmp_path / "state.db")), once_a_thread(LinkStateFactory.state)
    state = view(factory)
    # As where a call fails between two writes of one transaction.
    state.conn.execute("INSERT INTO token_store VALUES (1, 'a')")
    assert view(factory).query("SELECT * FROM token_store") == []
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: view(factory).query("INSERT INTO token_store VALUES (2, 'b')")).result()
    assert view(factory).query("SELECT * FROM token_store") == [{"run_id": 2, "token": "b"}]
