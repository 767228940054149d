"""What a generator of rows is built from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from synthetic.tables.encoding import Encoding
from synthetic.tables.private_step import PrivateSteps
from synthetic.tables.settings import Settings


def targets_of(rows: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """The rows' classes as numbers, int64 (N,)."""
    position = {name: number for number, name in enumerate(classes)}
    return rows["label"].map(position).to_numpy(np.int64)


@dataclass(frozen=True, eq=False)
class GeneratorInputs:
    """Training rows, and how they are learnt from.

    Attributes:
        encoding: of the training rows.
        targets: int (N,), their classes.
        classes: number of classes.
        settings: sizes and rates.
        private: how a private step is made; None: not private.
    """

    encoding: Encoding
    targets: np.ndarray
    classes: int
    settings: Settings
    private: PrivateSteps | None = None
