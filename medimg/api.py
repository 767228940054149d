"""The way in from Python: what `medimg train` and `medimg evaluate` do, and predictions as arrays.

Options have the names and defaults of the command line, with underscores. TensorFlow is imported by the first call
that needs it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from medimg import run as run_folder
from medimg.config import EvaluateConfig, TrainConfig
from medimg.data.dataset import Dataset
from medimg.errors import InputError
from medimg.listener import Listener
from medimg.preparation.builtin import resolve
from medimg.privacy.ledger import is_private
from medimg.privacy.release import require_unprotected

__all__ = ["Dataset", "InputError", "Run", "evaluate", "load_dataset", "load_run", "train"]


@dataclass(frozen=True)
class Run(run_folder.Run):
    """A Run folder whose model predicts.

    Example:
        >>> run = load_run("run")
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
            >>> run, data = load_run("run"), load_dataset("data")
            >>> run.predict(data, split="test").shape
            (32, 2)
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


def load_dataset(folder: str | Path) -> Dataset:
    """Open a Dataset that `medimg data prepare` has made.

    Args:
        folder: of the Dataset; or the word `phantom`: radiographs that are drawn on first use.

    Raises:
        InputError: the folder is not a Dataset, or a row of its manifest can't be used.

    Example:
        >>> data = load_dataset("data")
        >>> data.task, data.classes
        ('binary', ('healthy', 'disease'))
        >>> len(data.rows("test"))
        32
    """
    return Dataset.load(resolve(str(folder)))


def train(
    data: Dataset | str | Path,
    out: str | Path,
    *,
    resume: bool = False,
    overwrite: bool = False,
    listener: Listener | None = None,
    **options,
) -> Run:
    """Train a classifier and leave a Run, as `medimg train` does; resumable at any moment.

    Args:
        data: a Dataset or its folder; what is trained on is the folder's content.
        out: the Run folder.
        resume: go on with the Run at `out`.
        overwrite: replace the Run at `out`.
        listener: is told of progress.
        **options: of `medimg train` (`medimg train --help`), e.g. `model="mlp"`, `epochs=50`, `dp_epsilon=3`.

    Raises:
        InputError: an option is not known or doesn't fit, the data leak or can't be read, or `out` is taken.

    Example:
        >>> run = train("data", "another", model="logistic", epochs=3, seed=1)
        >>> len(run.history())
        3
    """
    from medimg.training.train import train as train_run

    config = TrainConfig.from_dict(options)
    config.require_budget()
    if not config.is_private:
        config.require_privacy()
    if config.folds and not config.fold:
        raise InputError("folds: train() leaves one Run; give fold=1 and so on too, or use 'medimg train --folds'")
    done = train_run(_folder(data), Path(out), config, resume, overwrite, listener)
    return Run(done.root, done.config)


def load_run(folder: str | Path) -> Run:
    """Open a Run that a training has left.

    Raises:
        InputError: the folder is not a Run.

    Example:
        >>> load_run("run").description()["task"]
        'binary'
    """
    return Run.load(Path(folder))


def evaluate(
    run: run_folder.Run | str | Path,
    data: Dataset | str | Path | None = None,
    *,
    progress: Callable[[int, int], None] | None = None,
    **options,
) -> dict:
    """Measure a Run's model, as `medimg evaluate` does; leaves metrics.json, predictions.csv, figures and a report.

    Args:
        run: a Run or its folder.
        data: another Dataset with the same classes, or its folder (default: the Run's own).
        progress: called with rows done and rows in all.
        **options: of `medimg evaluate` (`medimg evaluate --help`), e.g. `split="val"`, `bootstrap=200`.

    Returns:
        The content of metrics.json: `metrics` with `value`, `low` and `high` (95%, over patients) of each, `per_class`,
        `sites`, `threshold`, `notes` and more.

    Raises:
        InputError: an option, the Run or the data can't be used.

    Example:
        >>> found = evaluate("run", bootstrap=200)
        >>> auroc = found["metrics"]["auroc"]
        >>> bool(0.6 < auroc["low"] < auroc["value"] < auroc["high"])
        True
        >>> found["split"], found["n"]
        ('test', 32)
    """
    from medimg.evaluation.evaluate import evaluate as evaluate_run

    if not isinstance(run, run_folder.Run):
        run = load_run(run)
    if data is not None:
        options["data"] = str(_folder(data))
    return evaluate_run(run, EvaluateConfig.from_dict(options), progress)


def _folder(data: Dataset | str | Path) -> Path:
    """Where the data are; a Dataset that says something else than its folder is refused, not silently read anew."""
    if not isinstance(data, Dataset):
        return resolve(str(data))
    known = data.fingerprint()
    if all(Dataset.load(data.root, joins).fingerprint() != known for joins in (True, False)):
        raise InputError(f"{data.root}: differs from the Dataset in memory; call its save(), in a folder of its own")
    return data.root
