"""A generator of rows in training as one list of arrays: what a federation sends, averages and keeps."""

from collections.abc import Iterator

import numpy as np
import torch

from synthetic.tables.training import Generator

_MOMENTS = ("exp_avg", "exp_avg_sq")


def read(model: Generator) -> list[np.ndarray]:
    """Weights and buffers of the networks, then of each optimizer its steps and of each weight Adam's two moments.

    Second moments travel as their square roots, which are of a gradient's size: the grid of a secure sum would round
    the squares away, and a mean of roots is not negative.

    Returns:
        float32, copies; before the first step the moments are 0.
    """
    arrays = [tensor.numpy(force=True) for tensor in _tensors(model)]
    for optimizer in model.optimizers.values():
        weights = _weights(optimizer)
        known = [optimizer.state.get(weight, {}) for weight in weights]
        arrays.append(np.array([float(known[0].get("step", 0.0))]))
        for weight, state in zip(weights, known, strict=True):
            first, second = (state.get(name, torch.zeros_like(weight)) for name in _MOMENTS)
            arrays += [first.numpy(force=True), second.sqrt().numpy(force=True)]
    return [np.array(array, np.float32) for array in arrays]


def assign(model: Generator, arrays: list[np.ndarray]) -> None:
    """Take over what `read` gave, or a mean of it over clients."""
    values = (torch.from_numpy(np.array(array, np.float32)) for array in arrays)
    with torch.no_grad():
        for tensor in _tensors(model):
            tensor.copy_(next(values))
    for optimizer in model.optimizers.values():
        step = next(values)[0]
        for weight in _weights(optimizer):
            first, root = next(values), next(values)
            # A rounded sum may be a little below 0.
            second = root.clamp(min=0.0).square()
            moments = dict(zip(_MOMENTS, (first, second), strict=True))
            optimizer.state[weight] = {"step": step.clone(), **moments}


def _tensors(model: Generator) -> Iterator[torch.Tensor]:
    """Whole numbers are left out: they are counts of batches, which nothing reads."""
    for network in model.networks.values():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                yield tensor


def _weights(optimizer: torch.optim.Optimizer) -> list[torch.nn.Parameter]:
    return [weight for group in optimizer.param_groups for weight in group["params"]]
