"""`python -m federated.flower.superlink`: Flower's own SuperLink, started from this installation."""

import sys
from collections.abc import Iterator
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


if __name__ == "__main__":
    ends_with_parent()
    with without_tensorflow():
        from flwr.server.app import run_superlink

    run_superlink()
