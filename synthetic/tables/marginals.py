"""Rows by the counts of each column in each class: no network, and of private synthesis the one for few patients.

Within a class columns are independent (naive Bayes), so what depends on the class is kept and nothing else. All counts
are one sum over patients, which gets Gaussian noise once: a budget that a network would use up on its first steps is
enough for a hundred patients. The simplest of the marginal-based methods (McKenna et al. 2021, arXiv:2108.04978).
"""

import math

import numpy as np
import torch

from medimg.privacy.secret import generator
from synthetic.tables.material import Material

# Of a number within its mode: modes are normalised so that 4 standard deviations are 1.
WITHIN_MODE = 0.25


class Marginals:
    """Counts of the one-hot cells of the matrix by class.

    Args:
        material: training rows, and noise and clip of the counts; its settings are not used: nothing is trained.
    """

    def __init__(self, material: Material):
        encoding = material.encoding
        self.private = material.private
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self._matrix, self._targets = encoding.matrix, material.targets
        self._classes = material.classes
        self._one_hot = [span for span in encoding.spans if span.kind != "value"]
        self._cells = np.concatenate(
            [np.arange(span.start, span.start + span.size) for span in self._one_hot]
        )
        self._values = [span.start for span in encoding.spans if span.kind == "value"]
        self._kept = torch.nn.Module()
        shape = (self._classes, self._matrix.shape[1])
        self._kept.register_buffer("shares", torch.zeros(shape, dtype=torch.float64))

    @property
    def networks(self) -> dict[str, torch.nn.Module]:
        """What a checkpoint must hold: `shares`, float64 (classes, columns of the matrix).

        The share of the training rows that are of the class and have the cell; private: of the patients, with noise.
        """
        return {"counted": self._kept}

    def step(self, number: int, random: np.random.Generator) -> dict[str, float]:
        """The whole of it: count.

        Args:
            number: of the step, 0.
            random: not used.
        """
        if self.private is None:
            one_hot = np.eye(self._classes)[self._targets]
            found = np.zeros(self._kept.shares.shape)
            found[:, self._cells] = one_hot.T @ self._matrix[:, self._cells] / len(one_hot)
        else:
            found = self._noisy(number) / len(self.private.sampling.units)
        self._kept.shares.copy_(torch.from_numpy(found))
        return {}

    def sample(self, wanted: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Rows of the matrix.

        Args:
            wanted: int (N,), their classes.
            random: draws them.
        """
        rows = np.zeros((len(wanted), self._matrix.shape[1]), np.float32)
        inside = random.normal(0.0, WITHIN_MODE, (len(wanted), len(self._values)))
        rows[:, self._values] = np.clip(inside, -1.0, 1.0)
        for k in np.unique(wanted):
            of_class = np.flatnonzero(wanted == k)
            for span in self._one_hot:
                chances = self._chances(k, span.start, span.size)
                cell = random.choice(span.size, len(of_class), p=chances)
                rows[of_class, span.start + cell] = 1.0
        return rows

    def _noisy(self, number: int) -> np.ndarray:
        """Sums of patients' mean rows with noise: in units of the longest such row, which is the clip."""
        step = self.private.sampling.step(number)
        cells = self._cells
        sums = np.zeros((self._classes, self._matrix.shape[1]))
        # A row has a 1 in each span; the mean of a patient's rows is no longer than one of them.
        norm = math.sqrt(len(self._one_hot))
        rows_of = np.bincount(step.groups, minlength=len(step.units))
        weight = 1.0 / rows_of[step.groups]
        part = self._matrix[step.rows][:, cells] * weight[:, None]
        random = generator(self.private.seed, "noise", number)
        noise = random.normal(0.0, self.private.noise_multiplier, (self._classes, len(cells)))
        noisy = noise * norm
        np.add.at(noisy, self._targets[step.rows], part)
        sums[:, cells] = noisy
        return sums

    def _chances(self, k: int, start: int, size: int) -> np.ndarray:
        counts = np.maximum(self._kept.shares[k, start : start + size].numpy(), 0.0)
        # Noise may leave nothing: then any is as good.
        return counts / counts.sum() if counts.sum() > 0 else np.full(size, 1.0 / size)
