"""`python -m federated.flower.superlink`: Flower's own SuperLink, started from this installation."""

from flwr.server.app import run_superlink

if __name__ == "__main__":
    run_superlink()
