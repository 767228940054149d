"""`python -m federated.flower.superlink`: Flower's own SuperLink, started from this installation."""

import resource
import sqlite3
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from federated.flower.child import ends_with_parent

# Views of the link's state of each kind that threads keep; each is two open files, and up to 2 MB.
_MOST_KEPT = 64


@contextmanager
def without_tensorflow() -> Iterator[None]:
    """While Flower is imported, which imports it for a logger that no link uses: 500 MB and some seconds."""
    spared = "tensorflow" not in sys.modules
    if spared:
        sys.modules["tensorflow"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if spared:
            del sys.modules["tensorflow"]


def narrow(register: Callable) -> Callable:
    """Flower's registering of a message's parts, of messages like ours alone.

    Parts that have several parts in common, told of one after the other, make a tree that Flower walks for ever.
    """
    from federated.flower.arriving import chain

    def registered(store, run_id: int, object_tree) -> list[str]:
        if not chain(object_tree):
            raise ValueError("no message of medimg has such parts")
        return register(store, run_id, object_tree)

    return registered


def held_open(database: str) -> sqlite3.Connection:
    """The link's state, open as long as what is returned.

    Flower opens and closes it at every call, and whenever nobody has it open any more SQLite writes its log into the
    file, waits for the disk and removes the log: 30 ms, not one. A kill loses what it lost before: nothing.
    """
    connection = sqlite3.connect(database, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    # It counts as open once something was read, and all of that.
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    return connection


def once_a_thread(made: Callable, most: int = _MOST_KEPT) -> Callable:
    """A factory of Flower's whose view of the link's state is made once a thread, not at every call.

    To open the state and to state all its tables takes four fifths of a busy link's time. A connection of SQLite's
    belongs to its thread, and Flower's server keeps its threads, of which whoever reaches its port can have it start a
    thousand: views beyond `most` are closed when their call ends. By itself Python closes none before it looks for
    cycles, and meanwhile each has files open.
    """
    kept, known, turn = threading.local(), weakref.WeakSet(), threading.Lock()

    def view(factory):
        views = kept.__dict__
        if factory.database not in views:
            one = made(factory)
            with turn:
                if len(known) >= most:
                    weakref.finalize(one, one.conn.close).atexit = False
                    return one
                known.add(one)
            views[factory.database] = one
        elif views[factory.database].conn.in_transaction:
            # Of a call that failed on its way: a view that nobody keeps undoes it when it goes.
            views[factory.database].conn.rollback()
        return views[factory.database]

    return view


def with_all_files() -> None:
    """Let this process have as many files open as it may: each call at once has some, and each site."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


if __name__ == "__main__":
    ends_with_parent()
    with_all_files()
    with without_tensorflow():
        from flwr.server.app import run_superlink
        from flwr.server.superlink.linkstate import LinkStateFactory
        from flwr.supercore.object_store import ObjectStoreFactory
        from flwr.supercore.object_store.sqlite_object_store import SqliteObjectStore

        SqliteObjectStore.preregister = narrow(SqliteObjectStore.preregister)
        LinkStateFactory.state = once_a_thread(LinkStateFactory.state)
        ObjectStoreFactory.store = once_a_thread(ObjectStoreFactory.store)

    state = held_open(sys.argv[sys.argv.index("--database") + 1])
    run_superlink()
