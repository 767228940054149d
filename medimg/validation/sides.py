"""The two sides of a validation, the Run's own test part and other patients, and how far their patients differ."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from medimg.data.dataset import Dataset
from medimg.evaluation.answers import Answers
from medimg.evaluation.classes import match_classes, targets_in_order
from medimg.evaluation.predictions import Predictions, as_written
from medimg.validation import shift
from medimg.validation.patients import Patients


@dataclass(frozen=True, eq=False)
class Side:
    """Rows of one side and what the model says of them.

    Attributes:
        dataset: where they are.
        rows: all of them.
        labelled: bool (N,).
        probabilities: float64 (N, classes), of all.
        predictions: of the labelled ones, None without any.
    """

    dataset: Dataset
    rows: pd.DataFrame
    labelled: np.ndarray
    probabilities: np.ndarray
    predictions: Predictions | None

    @property
    def patients(self) -> pd.Series:
        """Of the labelled rows."""
        return self.rows.loc[self.labelled, "patient"]


def own_side(training: Dataset | None, description: dict, answers: Answers, threshold) -> Side | None:
    """The Run's own test part and what its model says of it; None where it is not here, or has no rows."""
    rows = None if training is None else training.rows("test", labelled=True).reset_index(drop=True)
    if rows is None or rows.empty:
        return None
    order = match_classes(training, description["task"], tuple(description["classes"]))
    labelled = np.ones(len(rows), bool)
    return side_of(
        Patients(training, rows, labelled, targets_in_order(training, rows, order), []), description, answers, threshold
    )


def side_of(patients: Patients, description: dict, answers: Answers, threshold) -> Side:
    """The patients of one side and what the model says of them.

    Args:
        patients: the patients.
        description: of the Run.
        answers: of its model.
        threshold: of probabilities, as its evaluation has it.
    """
    probabilities = as_written(answers(patients.dataset, patients.rows))
    predictions = None
    if patients.labelled.any():
        predictions = Predictions(
            task=description["task"],
            classes=tuple(description["classes"]),
            targets=patients.targets,
            probabilities=probabilities[patients.labelled],
            threshold=threshold,
        )
    return Side(patients.dataset, patients.rows, patients.labelled, probabilities, predictions)


def kinds(predictions: Predictions | None) -> list[str]:
    """Kinds of rows that are there, of the labelled ones: with one alone no ranking can be measured."""
    if predictions is None:
        return []
    if predictions.task == "multilabel":
        return [name for name, share in zip(predictions.classes, predictions.truth.mean(axis=0), strict=True) if share]
    return [name for name, any_of in zip(predictions.classes, predictions.truth.any(axis=0), strict=True) if any_of]


def patients_of_classes(side: Side) -> dict[str, int]:
    """Patients with a row of each class."""
    if side.predictions is None:
        return {}
    classes = zip(side.predictions.classes, side.predictions.truth.astype(bool).T, strict=True)
    return {name: int(side.patients[any_of].nunique()) for name, any_of in classes}


def shifts(internal: Side | None, external: Side, description: dict, step) -> list[dict]:
    """`shift` of validation.json: images, metadata, classes, predictions of both sides; none without the Run's own."""
    if internal is None:
        return []
    who = (internal.rows["patient"], external.rows["patient"])
    differences = []
    if not internal.dataset.is_table:
        size = description["image_size"]
        first, second = (
            shift.image_statistics(side.dataset, side.rows, size, lambda *counts: step("look at images", *counts))
            for side in (internal, external)
        )
        names = shift.STATISTICS | (shift.FORMS if _as_found(internal, external) else {"form": shift.FORMS["form"]})
        differences += [shift.compare("image", words, first[name], second[name], *who) for name, words in names.items()]
    columns = shift.metadata(internal.dataset, internal.rows, external.rows)
    differences += [shift.compare("metadata", name, *sides, *who) for name, sides in columns.items()]
    if description["task"] != "multilabel" and len(kinds(external.predictions)) > 1:
        labels = [_class_names(side) for side in (internal, external)]
        differences.append(shift.compare("class", "class mix", *labels, internal.patients, external.patients))
    if description["task"] == "binary":
        name = f"predicted probability of {description['classes'][1]}"
        differences.append(
            shift.compare("prediction", name, internal.probabilities[:, 1], external.probabilities[:, 1], *who)
        )
    return shift.settle([one for one in differences if one])


def _as_found(internal: Side, external: Side) -> bool:
    """Neither side was resized when it was prepared."""
    options = [side.dataset.preparation.get("options") or {} for side in (internal, external)]
    return not any(option.get("image_size") for option in options)


def _class_names(side: Side) -> np.ndarray:
    return np.asarray(side.predictions.classes, object)[side.predictions.truth.argmax(axis=1)]
