"""What a Run said of which rows: `predictions.csv` and `metrics.json`, checked."""

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from medimg.data.dataset import SEPARATOR
from medimg.errors import InputError
from medimg.evaluation.mistakes import COUNT, Mistake, worst_mistakes
from medimg.evaluation.predictions import Predictions
from medimg.run import Run
from medimg.untrusted.csv_cells import read_csv
from medimg.untrusted.json_file import read_json

UNITS = ("row", "image")


@dataclass(frozen=True, eq=False)
class Decided(Predictions):
    """Predictions whose decisions are given: in cross-validation each fold has a threshold of its own.

    Attributes:
        called: bool (N, classes).
    """

    called: np.ndarray | None = None

    @property
    def decisions(self) -> np.ndarray:
        """Bool (N, classes): the row is called the class."""
        return self.called

    def take(self, chosen: np.ndarray) -> "Decided":
        """Some of the rows, bool (N,)."""
        return replace(super().take(chosen), called=self.called[chosen])


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A Run with its predictions.

    Attributes:
        run: the Run.
        metrics: content of its metrics.json.
        unit: `row` or `image`, the column that names a row.
        rows: that column, patient, site, label, and `fold` (1 to K) when the Run is cross-validated.
        predictions: of these rows.
    """

    run: Run
    metrics: dict
    unit: str
    rows: pd.DataFrame
    predictions: Predictions

    @property
    def place(self) -> str:
        """The Run's folder, for messages."""
        return str(self.run.root)

    @property
    def folds(self) -> np.ndarray | None:
        """int64 (N,) of 1 to K, None when the Run is not cross-validated."""
        return self.rows["fold"].to_numpy(np.int64) if "fold" in self.rows else None

    def take(self, order: np.ndarray) -> "Evaluated":
        """The same with its rows in another order."""
        p = self.predictions
        reordered = replace(p, targets=p.targets[order], probabilities=p.probabilities[order], called=p.called[order])
        return replace(self, rows=self.rows.iloc[order].reset_index(drop=True), predictions=reordered)

    def worst(self, count: int = COUNT) -> list[Mistake]:
        """At most `count` rows that the model is most confidently wrong about, see `worst_mistakes`."""
        # The threshold is told elsewhere, and each fold has its own.
        threshold = 0.0 if self.predictions.task == "binary" else None
        return worst_mistakes(replace(self.predictions, threshold=threshold), count)


def read(run: Run) -> Evaluated:
    """Read what `medimg evaluate` (or a cross-validated training) left in a Run.

    Raises:
        InputError: the Run has not been evaluated, or its files can't be used.
    """
    metrics = _metrics(run)
    path = run.root / "predictions.csv"
    if not path.is_file():
        raise InputError(f"{path}: missing; evaluate it first: medimg evaluate {run.root}")
    table = read_csv(path, dtype=str, keep_default_na=False)
    unit = next((name for name in UNITS if name in table), None)
    classes = tuple(metrics["classes"])
    scores = [f"p_{name}" for name in classes]
    for column in (unit or "row", "patient", "site", "label", "predicted", *scores):
        if column not in table:
            raise InputError(f"{path}: column '{column}' is missing; evaluate it again: medimg evaluate {run.root}")
    if len(table) == 0 or len(table) != metrics["n"] or table[unit].duplicated().any():
        raise InputError(
            f"{path}: {len(table)} rows ({table[unit].nunique()} names), metrics.json has {metrics['n']}; "
            f"evaluate it again: medimg evaluate {run.root}"
        )
    columns = [unit, "patient", "site", "label", *(["fold"] if "fold" in table else [])]
    return Evaluated(run, metrics, unit, table[columns], _predictions(path, table, metrics, scores))


def _metrics(run: Run) -> dict:
    path = run.root / "metrics.json"
    if not path.is_file():
        raise InputError(f"{path}: missing; evaluate it first: medimg evaluate {run.root}")
    return read_json(path, f"evaluate it again: medimg evaluate {run.root}", ("task", "classes", "n", "split"))


def _predictions(path, table: pd.DataFrame, metrics: dict, scores: list[str]) -> Decided:
    probabilities = table[scores].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
    broken = ~np.isfinite(probabilities).all(axis=1)
    if broken.any():
        raise InputError(
            f"{path} row {int(broken.argmax()) + 2}: a probability is no number; "
            "the training has diverged: train again with a lower --learning-rate"
        )
    task, classes = metrics["task"], tuple(metrics["classes"])
    truth = _membership(path, table["label"], classes, task)
    return Decided(
        task=task,
        classes=classes,
        targets=truth if task == "multilabel" else truth.argmax(axis=1),
        probabilities=probabilities,
        called=_membership(path, table["predicted"], classes, task),
    )


def _membership(path, labels: pd.Series, classes: tuple[str, ...], task: str) -> np.ndarray:
    """Bool (N, classes) of labels; in a multilabel task any other single word means none of the classes."""
    if task != "multilabel":
        unknown = ~labels.isin(classes)
        if unknown.any():
            row = int(unknown.to_numpy().argmax())
            raise InputError(
                f"{path} row {row + 2}: '{labels.iloc[row]}' is not a class of metrics.json "
                f"({', '.join(classes)}); evaluate it again"
            )
        return labels.to_numpy(object)[:, None] == np.array(classes, object)
    classes_of_rows = [set(label.split(SEPARATOR)) for label in labels]
    return np.array([[name in names for name in classes] for names in classes_of_rows], bool)
