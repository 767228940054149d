"""Rows as points: what distances, neighbours and classifiers are computed on."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from medimg.config import TrainConfig
from medimg.data.dataset import Dataset
from medimg.tables.fit import fit
from synthetic.judge.rows import Subject

# How a table's columns become numbers: medimg's usual way.
ENCODING = TrainConfig()


@dataclass(frozen=True, eq=False)
class Vectors:
    """Points of the three parts in one space.

    Attributes:
        made: float (N, F), synthetic rows.
        train: float (M1, F).
        test: float (M2, F).
        name: of the features, for the report.
        sources: of a table, the column that each of the F comes from.
    """

    made: np.ndarray
    train: np.ndarray
    test: np.ndarray
    name: str
    sources: tuple[str, ...] = ()

    @property
    def pool(self) -> np.ndarray:
        """All real rows, train first."""
        return np.concatenate([self.train, self.test])

    def with_labels(self, subject: Subject) -> "Vectors":
        """The label beside the features, as far from any other label as a category is from another."""
        columns = [one_hot(subject.real, rows) for rows in (subject.made, subject.train, subject.test)]
        made, train, test = (
            np.hstack([part, column]) for part, column in zip((self.made, self.train, self.test), columns, strict=True)
        )
        label = ("label",) * columns[0].shape[1]
        return Vectors(made, train, test, self.name, self.sources + label if self.sources else ())


def of_table(subject: Subject) -> Vectors:
    """Standardised numbers and one-hot categories, missing values imputed and marked.

    The scales are learnt from train and test together: learnt from train alone they would fit its rows a little better,
    which distances must not mistake for memory.

    Raises:
        InputError: no column varies.
    """
    ruler = fit(subject.real, subject.pool, ENCODING)
    made, train, test = (
        ruler.transform(rows).astype(np.float64) for rows in (subject.made, subject.train, subject.test)
    )
    return Vectors(made, train, test, "standardised columns", ruler.sources)


def one_hot(dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
    """Labels as float64 (N, classes) of 0 and 1."""
    targets = dataset.targets(rows)
    if targets.ndim == 2:
        return targets.astype(np.float64)
    return (targets[:, None] == np.arange(len(dataset.classes))).astype(np.float64)
