"""Privacy units: which images belong to which patient."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from medimg.errors import InputError


@dataclass(frozen=True, eq=False)
class Units:
    """Rows of the training part by unit.

    Attributes:
        names: of the units, e.g. patients, in the order of their first row.
        rows: int64 (N,), row numbers, those of a unit together.
        starts: int64 (units + 1,): unit u has rows[starts[u]:starts[u + 1]].
    """

    names: tuple[str, ...]
    rows: np.ndarray
    starts: np.ndarray

    @classmethod
    def of(cls, patients: Sequence[str]) -> "Units":
        """Group rows by their patient.

        Args:
            patients: (N,), the patient of each row of the training part, in its order.

        Raises:
            InputError: no rows.
        """
        patient_of_row = np.asarray(patients, dtype=str)
        if not len(patient_of_row):
            raise InputError("split 'train' has no labelled image; prepare with another --split")
        names, first, index = np.unique(patient_of_row, return_index=True, return_inverse=True)
        # np.unique sorts by name; the order of the manifest is easier to follow.
        order = np.argsort(first, kind="stable")
        rank = np.empty(len(names), np.int64)
        rank[order] = np.arange(len(names))
        unit_of_row = rank[index]
        rows = np.argsort(unit_of_row, kind="stable").astype(np.int64)
        starts = np.concatenate([[0], np.cumsum(np.bincount(unit_of_row, minlength=len(names)))])
        return cls(tuple(names[order].tolist()), rows, starts.astype(np.int64))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def sizes(self) -> np.ndarray:
        """Rows of each unit, int64 (units,)."""
        return np.diff(self.starts)

    def rows_of(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the chosen units.

        Args:
            chosen: int (U,), unit numbers.

        Returns:
            rows int64 (R,) and groups int64 (R,): the position in `chosen` of each row's unit,
            non-decreasing.
        """
        sizes = self.sizes[chosen]
        groups = np.repeat(np.arange(len(chosen)), sizes)
        # Position of each row within its unit, then from where its unit starts.
        within = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self.rows[np.repeat(self.starts[chosen], sizes) + within], groups
