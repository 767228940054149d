"""Run: the folder that a training leaves, opened, with a model that predicts."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from medimg import run as run_folder
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.privacy.ledger import is_private
from medimg.privacy.release import require_unprotected


@dataclass(frozen=True)
class Run(run_folder.Run):
    """A Run folder whose model predicts.

    Example:
        >>> import medimg
        >>> run = medimg.load_run("run")
        >>> run.classes
        ('healthy', 'disease')
        >>> run.history().columns[:3].tolist()
        ['epoch', 'phase', 'loss']
    """

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the model's outputs; of a binary task the second is the positive class."""
        return tuple(self.description()["classes"])

    def predict(
        self,
        data: Dataset | pd.DataFrame,
        split: str | None = None,
        root: str | Path | None = None,
        batch_size: int = 32,
    ) -> np.ndarray:
        """Probabilities of rows, computed as `evaluate` computes them.

        Args:
            data: a Dataset, labelled or not; or rows: of a table with the columns that the model was trained on, in any
                order and beside any others; of images with the files' paths in the column `image`.
            split: of a Dataset: train, val or test (default: all its rows).
            root: of rows of images: the folder that the paths are below (default: the working directory).
            batch_size: images in a step.

        Returns:
            float32 (N, classes), in the order of the rows and of `classes`. Softmax, or of a multilabel model a
            probability for each class by itself.

        Raises:
            InputError: the data are not of the model's kind, a column is missing or an image can't be read; the Run is
                private, and the rows are of the patients that it protects.

        Example:
            >>> import medimg
            >>> run, data = medimg.load_run("run"), medimg.load_dataset("data")
            >>> run.predict(data, split="test").shape
            (32, 2)
            >>> import pandas as pd
            >>> new = pd.DataFrame({"age": [48, 74], "pain": ["none", "typical"], "noise": [0.1, -0.2],
            ...                     "visits": [2, 3], "stage": ["I", "II"], "day": ["2020-03-01", "2020-03-02"]})
            >>> healthy, disease = run.predict(new).T
            >>> bool(disease[0] < disease[1])
            True
        """
        from medimg.evaluation.prediction import predict, predict_rows

        if isinstance(data, Dataset):
            if root is not None:
                raise InputError("root: a Dataset knows its folder; leave it out")
            rows = data.rows(split)
            self._require_unprotected(data, rows)
            return predict(self._model, data, rows, self.description(), batch_size)
        if split is not None:
            raise InputError("split: rows are in no split; leave it out, or give the Dataset")
        return predict_rows(self._model, data, self.description(), Path(root or ""), batch_size)

    @cached_property
    def _model(self):
        return self.model()

    def _require_unprotected(self, dataset: Dataset, rows: pd.DataFrame) -> None:
        options = self.config["options"]
        if is_private(options) and dataset.root.resolve() == Path(self.config["data"]).resolve():
            protected = self.dataset().rows("train").index
            if rows.index.isin(protected).any():
                require_unprotected(options, "train")


def load_run(folder: str | Path) -> Run:
    """Open a Run that a training has left.

    Raises:
        InputError: the folder is not a Run.

    Example:
        >>> import medimg
        >>> medimg.load_run("run").description()["task"]
        'binary'
    """
    return Run.load(Path(folder))
