"""`python -m federated.flower.superlink`: Flower's own SuperLink, started from this installation."""

import sys

from federated.flower.child import ends_with_parent

if __name__ == "__main__":
    ends_with_parent()
    # Flower imports it for a logger that no link uses: 500 MB and some seconds.
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    from flwr.server.app import run_superlink

    run_superlink()
