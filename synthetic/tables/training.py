"""Training of a generator of rows in epochs, with checkpoints that a killed one resumes from, bit for bit.

What is random is a function of (seed, epoch) alone, so a checkpoint holds networks, optimizers and the history.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import torch

from medimg import atomic
from medimg.errors import InputError
from medimg.privacy.draws.noise_seed import Secret
from medimg.untrusted.arrays import read_arrays
from medimg.untrusted.json_file import parse_json
from synthetic.tables.private_step import PrivateSteps

# Checkpoints of a training: often enough to lose little, seldom enough to cost little.
CHECKPOINTS = 20


class Generator(Protocol):
    """What CTGAN and TVAE are to the training."""

    private: PrivateSteps | None
    networks: dict[str, torch.nn.Module]
    optimizers: dict[str, torch.optim.Optimizer]

    def step(self, number: int, random: np.random.Generator) -> dict[str, float]:
        """One step; losses by name."""

    def sample(self, wanted: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Rows of the matrix for these classes."""


@contextmanager
def randomness(seed: int | Secret, purpose: str, *numbers: int) -> Iterator[np.random.Generator]:
    """A NumPy generator of this use of the seed; torch's and NumPy's own are set by it and put back at the end.

    The noise of private steps is none of theirs (`private_step.PrivateSteps`): a seed of torch has 64 bits.
    """
    secret = seed if isinstance(seed, Secret) else Secret.fixed(seed, {})
    number = int.from_bytes(secret.stream(f"torch {purpose}", *numbers)[:8], "big")
    before = np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(number % 2**63)
        np.random.seed(number % 2**32)
        try:
            yield secret.generator(purpose, *numbers)
        finally:
            np.random.set_state(before)


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in one order on any machine; networks of this size gain nothing from more threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def train(
    model: Generator,
    epochs: int,
    steps_per_epoch: int,
    seed: int | Secret,
    checkpoint: Path | None = None,
    before: Callable[[int, int], None] = lambda first, last: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    resumed: Callable[[int], None] = lambda steps: None,
) -> pd.DataFrame:
    """Train a generator in place.

    Args:
        model: as built by its seed.
        epochs: in all.
        steps_per_epoch: of each.
        seed: of everything random.
        checkpoint: file to keep the state in, and to resume from where it exists; None: none is kept.
        before: called with (first, last) steps, from 0, last excluded, before they are made.
        progress: called with epochs done and in all.
        resumed: called with the steps that the checkpoint has.

    Returns:
        The mean losses, one row an epoch.

    Raises:
        InputError: the checkpoint can't be read, or a loss is no longer a number.
    """
    history = _resume(model, checkpoint)
    resumed(len(history) * steps_per_epoch)
    every = max(1, epochs // CHECKPOINTS)
    for epoch in range(len(history), epochs):
        if epoch % every == 0:
            last = min(epochs, epoch + every)
            before(epoch * steps_per_epoch, last * steps_per_epoch)
        with randomness(seed, "epoch", epoch) as random:
            first = epoch * steps_per_epoch
            losses = [model.step(first + i, random) for i in range(steps_per_epoch)]
        history.append({"epoch": epoch + 1, **_means(losses)})
        if not all(np.isfinite(value) for value in history[-1].values()):
            raise InputError(
                f"epoch {epoch + 1}: a loss of the generator is no longer a number; give a larger --batch-size"
            )
        if checkpoint and ((epoch + 1) % every == 0 or epoch + 1 == epochs):
            _save(model, history, checkpoint)
        progress(epoch + 1, epochs)
    return pd.DataFrame(history)


def _means(losses: list[dict[str, float]]) -> dict[str, float]:
    names = {name: None for step in losses for name in step}
    return {name: float(np.mean([step[name] for step in losses if name in step])) for name in names}


def _save(model: Generator, history: list[dict], path: Path) -> None:
    arrays = {"history": np.frombuffer(json.dumps(history).encode(), np.uint8)}
    for name, network in model.networks.items():
        arrays |= {f"{name}/{key}": tensor.numpy() for key, tensor in network.state_dict().items()}
    for name, optimizer in model.optimizers.items():
        for number, state in optimizer.state_dict()["state"].items():
            arrays |= {f"{name} optimizer/{number}/{key}": tensor.numpy() for key, tensor in state.items()}
    # As plain arrays: torch's own files are pickles.
    with atomic.replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def _resume(model: Generator, path: Path | None) -> list[dict]:
    """Put the checkpoint's state, if there is one, into the model; its history."""
    if path is None or not path.is_file():
        return []
    try:
        arrays = read_arrays(path)
        history = parse_json(arrays.pop("history").tobytes(), allow_nan=True)
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        for name, network in model.networks.items():
            network.load_state_dict(_below(tensors, name))
        for name, optimizer in model.optimizers.items():
            state: dict[int, dict[str, torch.Tensor]] = {}
            for key, tensor in _below(tensors, f"{name} optimizer").items():
                number, _, what = key.partition("/")
                state.setdefault(int(number), {})[what] = tensor
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
        if not isinstance(history, list) or not all(isinstance(row, dict) for row in history):
            raise ValueError("its history is none")
    except (RuntimeError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{path}: not a checkpoint of this training; start it anew with --overwrite") from error
    return history


def _below(tensors: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f"{name}/"): one for key, one in tensors.items() if key.startswith(f"{name}/")}
