"""One private step of any of the networks here: gradients of patients, each clipped, summed, with Gaussian noise.

Opacus is not used for it: its hooks give the gradient of a row, where a patient with several rows is one unit, and the
gradient penalty of a critic is itself a gradient, which hooks can't go through twice. `torch.func` can.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch.func import grad, vmap

from medimg.privacy.draws.keyed import fold, normal, uniform
from medimg.privacy.draws.noise_seed import Secret
from medimg.privacy.sampling import Sampling

# Rows whose gradients are held at once.
ROWS_AT_ONCE = 256


@dataclass(frozen=True, eq=False)
class PrivateSteps:
    """How patients are drawn and what is added to their gradients.

    Attributes:
        sampling: of patients, by step.
        l2_norm_clip: largest L2 norm of a patient's gradient.
        noise_multiplier: standard deviation of the noise over the clip.
        secret: of the training.
        divisor: what a sum is divided by: a number that no patient changes.
        keys: uint64 (N,), what each training row draws by: a patient's absence changes no other's draws.
    """

    sampling: Sampling
    l2_norm_clip: float
    noise_multiplier: float
    secret: Secret
    divisor: float
    keys: np.ndarray

    def noise(self, number: int, size: int) -> np.ndarray:
        """The noise of a step, float64: depends on the secret and the step alone, so that a resumed step repeats."""
        scale = self.noise_multiplier * self.l2_norm_clip
        return self.secret.generator("noise", number).normal(0.0, scale, size)

    def uniform(self, rows: np.ndarray, columns: int, *purpose: int) -> torch.Tensor:
        """What rows draw for one use: float32 (R, columns) in (0, 1).

        Args:
            rows: int (R,), training rows.
            columns: numbers of each.
            *purpose: the step, and which of its uses.
        """
        drawn = uniform(fold(self.keys[rows], *purpose), columns)
        # Neither end: float32 would round up to 1.
        return torch.from_numpy(np.clip(drawn, 1e-7, 1 - 1e-7).astype(np.float32))

    def normal(self, rows: np.ndarray, columns: int, *purpose: int) -> torch.Tensor:
        """The same of N(0, 1)."""
        return torch.from_numpy(normal(fold(self.keys[rows], *purpose), columns).astype(np.float32))


def set_gradients(
    parameters: dict[str, torch.nn.Parameter], sums: torch.Tensor, private: PrivateSteps, number: int
) -> None:
    """Give the parameters the private gradient of a step: (sum of clipped patients' gradients + noise) / divisor.

    Args:
        parameters: by name; their `grad` is set.
        sums: of `clipped_sum`.
        private: clip and noise.
        number: of the step.
    """
    noisy = sums + torch.from_numpy(private.noise(number, len(sums)))
    total, start = (noisy / private.divisor).float(), 0
    for parameter in parameters.values():
        parameter.grad = total[start : start + parameter.numel()].reshape(parameter.shape).clone()
        start += parameter.numel()


def clipped_sum(
    parameters: dict[str, torch.nn.Parameter],
    row_loss: Callable,
    inputs: tuple[torch.Tensor, ...],
    groups: np.ndarray,
    l2_norm_clip: float,
) -> torch.Tensor:
    """The sum of patients' gradients, each of at most the clip; one whose gradient is not finite is absent.

    Args:
        parameters: by name.
        row_loss: (parameters, *inputs of one row) -> the row's loss, a scalar.
        inputs: each (R, ...); R may be 0: the step then releases noise alone.
        groups: int (R,), the row's patient, counted from 0 within the step, non-decreasing.
        l2_norm_clip: largest L2 norm of a patient's gradient.

    Returns:
        float64 (weights,), without noise.
    """
    plain = {name: value.detach() for name, value in parameters.items()}
    size = sum(value.numel() for value in plain.values())
    patients = int(groups[-1]) + 1 if len(groups) else 0
    # In 64 bits: what rounding takes from one patient's part must not depend on how many there are.
    sums = torch.zeros(patients, size, dtype=torch.float64)
    per_row = vmap(grad(row_loss), in_dims=(None, *[0] * len(inputs)), randomness="error")
    for start in range(0, len(groups), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        gradients = per_row(plain, *(values[part] for values in inputs))
        flat = torch.cat([gradients[name].flatten(1) for name in plain], dim=1)
        sums.index_add_(0, torch.from_numpy(groups[part]), flat.double())
    norms = sums.norm(dim=1, keepdim=True)
    finite = norms.isfinite()
    scale = (l2_norm_clip / norms.clamp(min=1e-300)).clamp(max=1.0)
    return torch.where(finite, sums * scale, 0.0).sum(dim=0)
