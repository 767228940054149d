"""What a generator is told of the row to make: its class, and now and then one of its categories.

Training by sampling (Xu et al. 2019): a column is picked at random, a category of it by the logarithm of its
frequency, then a training row that has it; so rare categories are seen often enough. Here the class is always told as
well, so that rows of a class can be asked for exactly.
"""

import numpy as np

from synthetic.tables.encoding import Span


class Conditions:
    """Conditions of the training rows.

    Args:
        matrix: float32 (N, columns).
        spans: of the matrix.
        targets: int (N,), class of each row.
        classes: number of classes.
    """

    def __init__(self, matrix: np.ndarray, spans: tuple[Span, ...], targets: np.ndarray, classes: int):
        one_hot = np.eye(classes, dtype=np.float32)[targets]
        spans = [span for span in spans if span.kind == "category"]
        self.categories = np.concatenate([np.arange(s.start, s.start + s.size) for s in spans] or [np.array([], int)])
        self.cells = np.concatenate([one_hot, matrix[:, self.categories]], axis=1)
        sizes = [classes, *(span.size for span in spans)]
        ends = np.cumsum(sizes)
        self._ranges = list(zip(ends - sizes, ends, strict=True))
        self.classes = classes
        # Rows by category, one after the other, so that a row of many categories is drawn at once.
        self._count = self.cells.sum(axis=0).astype(int)
        self._rows = np.concatenate([np.flatnonzero(column) for column in self.cells.T])
        self._start = np.cumsum(self._count) - self._count
        self._chance = [_log_frequency(self._count[a:b]) for a, b in self._ranges]
        self._by_class = [np.flatnonzero(targets == k) for k in range(classes)]

    @property
    def size(self) -> int:
        """Columns of a condition."""
        return self.cells.shape[1]

    def draw(self, count: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Training rows by their conditions.

        Returns:
            rows int (count,) and their conditions float32 (count, size).
        """
        column = random.integers(len(self._ranges), size=count)
        cell = np.empty(count, int)
        for number in np.unique(column):
            where = column == number
            first, last = self._ranges[number]
            cell[where] = random.choice(np.arange(first, last), where.sum(), p=self._chance[number])
        position = (random.random(count) * self._count[cell]).astype(int)
        rows = self._rows[self._start[cell] + position]
        return rows, self._of(rows, cell)

    def of_classes(self, wanted: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Conditions of rows to make, each with a category as frequent as it is in its class.

        Args:
            wanted: int (N,), classes that the training rows have.
            random: draws them.
        """
        rows = np.empty(len(wanted), int)
        for k in np.unique(wanted):
            where = wanted == k
            rows[where] = random.choice(self._by_class[k], where.sum())
        cell = np.empty(len(wanted), int)
        column = random.integers(len(self._ranges), size=len(wanted))
        for number in np.unique(column):
            where = column == number
            first, last = self._ranges[number]
            cell[where] = first + self.cells[rows[where], first:last].argmax(axis=1)
        return self._of(rows, cell)

    def class_only(self, wanted: np.ndarray) -> np.ndarray:
        """Conditions that tell the class and nothing else."""
        conditions = np.zeros((len(wanted), self.size), np.float32)
        conditions[np.arange(len(wanted)), wanted] = 1.0
        return conditions

    def _of(self, rows: np.ndarray, cell: np.ndarray) -> np.ndarray:
        conditions = np.zeros((len(rows), self.size), np.float32)
        conditions[:, : self.classes] = self.cells[rows, : self.classes]
        conditions[np.arange(len(rows)), cell] = 1.0
        return conditions


def _log_frequency(count: np.ndarray) -> np.ndarray:
    weight = np.log1p(count)
    return weight / weight.sum()
