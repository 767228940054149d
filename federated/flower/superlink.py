"""`python -m federated.flower.superlink`: Flower's own SuperLink, started from this installation."""

from federated.flower.child import ends_with_parent

if __name__ == "__main__":
    ends_with_parent()
    from flwr.server.app import run_superlink

    run_superlink()
