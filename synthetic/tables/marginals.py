"""Rows by the counts of each column in each class: no network, and of private synthesis the one for few patients.

Within a class columns are independent (naive Bayes), so what depends on the class is kept and nothing else. All counts
are one sum over patients, which gets Gaussian noise once, in coordinates that tell nothing twice
(`synthetic.tables.residuals`): a budget that a network would use up on its first steps is enough for a hundred
patients. The simplest of the marginal-based methods (McKenna et al. 2021, arXiv:2108.04978).
"""

import numpy as np
import torch

from synthetic.tables.generator_inputs import GeneratorInputs
from synthetic.tables.residuals import Residuals, nearest_shares

# Of a number within its mode: modes are normalised so that 4 standard deviations are 1.
WITHIN_MODE = 0.25
# Of all rows: a class has so many at least, whatever noise says, when its columns are drawn.
LEAST_OF_CLASS = 0.1


class Marginals:
    """Counts of what the columns may be by class: a category, a mode of a number, or missing.

    Args:
        material: training rows, and noise and clip of the counts; its settings are not used: nothing is trained.
    """

    def __init__(self, material: GeneratorInputs):
        encoding = material.encoding
        self.private = material.private
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self._targets, self._classes = material.targets, material.classes
        self._width = encoding.matrix.shape[1]
        self._choices = encoding.code.choices
        self._cells = np.concatenate(self._choices)
        self._counted = _one_of_each(encoding.matrix, self._choices)
        self._residuals = Residuals(self._choices, self._classes)
        self._spans = encoding.spans
        self._kept = torch.nn.Module()
        shape = (self._classes, self._width)
        self._kept.register_buffer("shares", torch.zeros(shape, dtype=torch.float64))

    @property
    def networks(self) -> dict[str, torch.nn.Module]:
        """What a checkpoint must hold: `shares`, float64 (classes, columns of the matrix).

        The share of the training rows that are of the class and have the cell; private: of patients, with noise, over
        a number that is about theirs.
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
            shares = np.zeros(self._kept.shares.shape)
            shares[:, self._cells] = one_hot.T @ self._counted[:, self._cells] / len(one_hot)
        else:
            shares = self._residuals.counts(self._noisy(number), self._width) / self.private.divisor
        self._kept.shares.copy_(torch.from_numpy(shares))
        return {}

    def sample(self, wanted: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Rows of the matrix.

        Args:
            wanted: int (N,), their classes.
            random: draws them.
        """
        rows = np.zeros((len(wanted), self._width), np.float32)
        values = [span.start for span in self._spans if span.kind == "value"]
        inside = random.normal(0.0, WITHIN_MODE, (len(wanted), len(values)))
        rows[:, values] = np.clip(inside, -1.0, 1.0)
        of_classes = self._kept.shares[:, self._choices[0]].numpy().sum(axis=1)
        least = LEAST_OF_CLASS * np.maximum(of_classes, 0.0).sum()
        for k in np.unique(wanted):
            of_class = np.flatnonzero(wanted == k)
            for cells in self._choices:
                chances = nearest_shares(self._kept.shares[k, cells].numpy(), least)
                rows[of_class, random.choice(cells, len(of_class), p=chances)] = 1.0
        # What is not said to be missing is there; of what is missing any mode will do.
        for span in self._spans:
            if span.kind != "value":
                cells = rows[:, span.start : span.start + span.size]
                cells[cells.sum(axis=1) == 0, self._otherwise(span)] = 1.0
        return rows

    def clipped_sum(self, number: int) -> np.ndarray:
        """Sums of patients' mean rows in coordinates, float64 (D,): no patient's part is longer than `norm`."""
        step = self.private.sampling.step(number)
        rows_of = np.bincount(step.groups, minlength=len(step.units))
        part = self._counted[step.rows] / rows_of[step.groups, None]
        sums = np.zeros((self._classes, self._width))
        np.add.at(sums, self._targets[step.rows], part)
        return self._residuals.coordinates(sums)

    @property
    def norm(self) -> float:
        """L2 norm of a row in coordinates; the mean of a patient's rows has no larger one."""
        return self._residuals.norm

    def _noisy(self, number: int) -> np.ndarray:
        """Noise is in units of the longest row, which is the clip."""
        sums = self.clipped_sum(number)
        random = self.private.secret.generator("noise", number)
        return sums + random.normal(0.0, self.private.noise_multiplier * self.norm, sums.shape)

    def _otherwise(self, span) -> int:
        """The cell of a span that a row has when none was drawn: of a number's "is missing" that it is not."""
        cells = np.arange(span.start, span.start + span.size)
        undrawn = np.flatnonzero(~np.isin(cells, self._cells))
        return int(undrawn[0]) if len(undrawn) else 0


def _one_of_each(matrix: np.ndarray, choices: tuple[np.ndarray, ...]) -> np.ndarray:
    """The matrix with a single 1 for each column: a number that is missing has no mode, whatever stands in for it."""
    counted = matrix.astype(np.float64)
    for cells in choices:
        several = counted[:, cells].sum(axis=1) > 1
        counted[np.ix_(several, cells[:-1])] = 0.0
    return counted
