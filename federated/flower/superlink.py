"""`python -m federated.flower.superlink`: Flower's own SuperLink, started from this installation."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from federated.flower.child import ends_with_parent


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


if __name__ == "__main__":
    ends_with_parent()
    with without_tensorflow():
        from flwr.server.app import run_superlink
        from flwr.supercore.object_store.sqlite_object_store import SqliteObjectStore

        SqliteObjectStore.preregister = narrow(SqliteObjectStore.preregister)

    run_superlink()
