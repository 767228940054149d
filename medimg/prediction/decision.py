"""How a Run's probabilities become decisions, and the rows of a CSV that say so."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from medimg.data.dataset import SEPARATOR, Dataset
from medimg.data.positive import positive_class
from medimg.errors import InputError
from medimg.evaluation import prediction
from medimg.evaluation.operating_point import metrics_of, operating_point, threshold_statement, thresholds
from medimg.evaluation.own_threshold import rule_of
from medimg.evaluation.predictions import Predictions
from medimg.prediction.images import Batch
from medimg.run import Run


@dataclass(frozen=True, eq=False)
class Decision:
    """What decides.

    Attributes:
        task, classes: of the model.
        threshold: as of `Predictions`.
        negative: what a row of a multilabel model without any class is called.
        positive: the positive class, '' where there is none.
        statement: all of it in a sentence.
        calibrator: the Run's, of its description.
    """

    task: str
    classes: tuple[str, ...]
    threshold: float | np.ndarray | None
    negative: str
    positive: str
    statement: str
    calibrator: dict | None = None

    def table(self, unit: str, batch: Batch, chances: np.ndarray, warnings: list[str]) -> pd.DataFrame:
        """Rows of the CSV.

        Args:
            unit: name of the first column.
            batch: B inputs, G of which can be used.
            chances: float64 (G, classes).
            warnings: (B,).
        """
        good = np.array([not why for why in batch.broken], bool)
        every = np.full((len(good), len(self.classes)), np.nan)
        every[good] = chances
        decided = np.full(len(good), "", object)
        decided[good] = self.predictions(chances).names(self.predictions(chances).decisions, self.negative)
        # Of several labels one threshold each, in the order of the classes.
        limits = [] if self.threshold is None else [repr(float(limit)) for limit in np.atleast_1d(self.threshold)]
        return pd.DataFrame(
            {
                unit: batch.names,
                **{f"p_{name}": column for name, column in zip(self.classes, every.T, strict=True)},
                "decision": decided,
                "threshold": SEPARATOR.join(limits),
                "positive_class": self.positive,
                "warnings": warnings,
            }
        )

    def predictions(self, chances: np.ndarray) -> Predictions:
        """Of rows without labels: its `decisions` alone mean something."""
        return Predictions(self.task, self.classes, np.zeros(len(chances)), chances, self.threshold)


def decision_of(run: Run, model, description: dict, dataset: Dataset | None, batch_size: int) -> Decision:
    """As the Run's evaluation decides; before one, as it would.

    Args:
        run: the Run.
        model: its model.
        description: its description.
        dataset: its Dataset, None where it is not on this machine.
        batch_size: of predictions on the validation part, where a threshold must be chosen.

    Raises:
        InputError: the description names other classes than the model answers, or the evaluation can't be used.
    """
    outputs, named = model.output_shape[-1], len(description["classes"])
    if outputs != named:
        raise InputError(
            f"{run.root / 'model.json'}: names {named} classes, but the model answers {outputs}; restore it"
        )
    metrics, task = metrics_of(run), description["task"]
    # As many, and yet others, or in another order: the evaluation says which the model was asked for.
    if metrics and metrics.get("classes", description["classes"]) != description["classes"]:
        raise InputError(
            f"{run.root / 'model.json'}: names other classes than metrics.json of the same model, or in another "
            "order; restore it"
        )
    statement = threshold_statement(metrics, description)
    if metrics is not None:
        limits = thresholds(run, description)
        threshold = {"multiclass": None, "binary": limits[1], "multilabel": np.array(limits)}[task]
    else:

        def predict(data: Dataset, rows: pd.DataFrame, _: int) -> np.ndarray:
            return prediction.predict(model, data, rows, description, batch_size)

        rule = rule_of(run, None)
        point = operating_point(rule, run, dataset, description, predict, 0)
        threshold = point.threshold
        statement = threshold_statement({"threshold": point.described}, description)
        statement += " The Run has not been evaluated." if task != "multiclass" else ""
    # Runs of before it was kept: as their Dataset says.
    negative = description.get("negative") or (dataset.negative if dataset else "")
    classes = tuple(description["classes"])
    positive = positive_class(task, classes)
    return Decision(task, classes, threshold, negative, positive, statement, description.get("calibrator"))
