"""One private step of any of the networks here: gradients of patients, each clipped, summed, with Gaussian noise.

Opacus is not used for it: its hooks give the gradient of a row, where a patient with several rows is one unit, and the
gradient penalty of a critic is itself a gradient, which hooks can't go through twice. `torch.func` can.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.func import grad, vmap

from medimg.privacy.sampling import Sampling
from medimg.privacy.secret import stream_seed

# Rows whose gradients are held at once.
ROWS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class PrivateSteps:
    """How patients are drawn and what is added to their gradients.

    Attributes:
        sampling: of patients, by step.
        l2_norm_clip: largest L2 norm of a patient's gradient.
        noise_multiplier: standard deviation of the noise over the clip.
        seed: secret.
    """

    sampling: Sampling
    l2_norm_clip: float
    noise_multiplier: float
    seed: int

    def noise(self, number: int, size: int) -> torch.Tensor:
        """The noise of a step: depends on the seed and the step alone, so that a resumed step repeats."""
        generator = torch.Generator().manual_seed(stream_seed(self.seed, "noise", number))
        scale = self.noise_multiplier * self.l2_norm_clip
        return torch.randn(size, generator=generator) * scale


def set_gradients(
    parameters: dict[str, torch.nn.Parameter],
    row_loss: Callable,
    inputs: tuple[torch.Tensor, ...],
    groups: np.ndarray,
    private: PrivateSteps,
    number: int,
) -> None:
    """Give the parameters the private gradient of a step: (sum of clipped patients' gradients + noise) / expected.

    Args:
        parameters: by name; their `grad` is set.
        row_loss: (parameters, *inputs of one row) -> the row's loss, a scalar.
        inputs: each (R, ...); R may be 0: the step then releases noise alone.
        groups: int (R,), the row's patient, counted from 0 within the step, non-decreasing.
        private: clip and noise.
        number: of the step.
    """
    plain = {name: value.detach() for name, value in parameters.items()}
    size = sum(value.numel() for value in plain.values())
    patients = int(groups[-1]) + 1 if len(groups) else 0
    sums = torch.zeros(patients, size)
    per_row = vmap(grad(row_loss), in_dims=(None, *[0] * len(inputs)), randomness="error")
    for start in range(0, len(groups), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        gradients = per_row(plain, *(values[part] for values in inputs))
        flat = torch.cat([gradients[name].flatten(1) for name in plain], dim=1)
        sums.index_add_(0, torch.from_numpy(groups[part]), flat)
    norms = sums.norm(dim=1, keepdim=True)
    # A gradient that overflowed says nothing, and would make the sum so.
    scale = torch.where(norms.isfinite(), (private.l2_norm_clip / norms).clamp(max=1.0), 0.0)
    total = (sums.nan_to_num() * scale).sum(dim=0) + private.noise(number, size)
    total /= private.sampling.expected_units
    start = 0
    for parameter in parameters.values():
        parameter.grad = total[start : start + parameter.numel()].reshape(parameter.shape).clone()
        start += parameter.numel()
