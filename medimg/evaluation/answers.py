"""A model's answers on rows of several Datasets, counted together for one progress bar."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from medimg.data.dataset import Dataset
from medimg.evaluation.classes import check_kind
from medimg.evaluation.prediction import logits_of, probabilities


class Answers:
    """Logits and probabilities of a Run's model.

    Args:
        model: as `prediction.predict` takes it.
        description: the Run's; its `calibrator` may be set later.
        batch_size: images in a step.
        progress: called with rows done and rows in all, over all calls.
    """

    def __init__(
        self, model, description: dict, batch_size: int = 32, progress: Callable[[int, int], None] | None = None
    ):
        self.model, self.description, self.batch_size, self.progress = model, description, batch_size, progress
        self._done = 0

    def logits(self, dataset: Dataset, rows: pd.DataFrame, to_come: int = 0) -> np.ndarray:
        """float32 (N, classes).

        Args:
            dataset: where the rows are.
            rows: of its manifest.
            to_come: rows that will be asked about afterwards.
        """
        check_kind(dataset, self.description)
        before, total = self._done, self._done + len(rows) + to_come

        def report(images: int, _: int) -> None:
            if self.progress:
                self.progress(before + images, total)

        logits = logits_of(self.model, rows, self.description, dataset.root, self.batch_size, report)
        self._done += len(rows)
        return logits

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """float32 (N, classes), calibrated where the description has a calibrator."""
        return probabilities(logits, self.description["task"], self.description.get("calibrator"))

    def __call__(self, dataset: Dataset, rows: pd.DataFrame, to_come: int = 0) -> np.ndarray:
        """Probabilities of rows."""
        return self.probabilities(self.logits(dataset, rows, to_come))
