"""A table Run's model as functions of raw values: what is explained, and the probabilities."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import tensorflow as tf

from explain.methods.score import class_score
from medimg.errors import InputError
from medimg.evaluation.prediction import probabilities
from medimg.run import Run
from medimg.tables.preprocessing import Preprocessing
from medimg.tables.raw import read

_BATCH = 8192


@dataclass(frozen=True, eq=False)
class TableModel:
    """Preprocessing and model of a Run.

    Attributes:
        model: float32 (B, F) in, logits (B, classes) out.
        preprocessing: from raw values to its input.
        task: `binary`, `multiclass` or `multilabel`.
        classes: in the order of the logits.
        calibrator: the Run's, of probabilities; scores are the model's own.
    """

    model: tf.keras.Model
    preprocessing: Preprocessing
    task: str
    classes: tuple[str, ...]
    calibrator: dict | None = None

    @classmethod
    def of(cls, run: Run) -> "TableModel":
        """The Run's own.

        Raises:
            InputError: the Run is not of a table, or not finished.
        """
        description = run.description()
        if "preprocessing" not in description:
            raise InputError(f"{run.root}: not a Run of a table (model.json has no preprocessing)")
        return cls(
            run.model(),
            Preprocessing.from_dict(description["preprocessing"]),
            description["task"],
            tuple(description["classes"]),
            description.get("calibrator"),
        )

    @property
    def features(self) -> tuple[str, ...]:
        """Raw columns that the model learns from."""
        return self.preprocessing.inputs

    @cached_property
    def explained(self) -> list[int]:
        """Classes whose scores are explained: the positive one of a binary model, else all."""
        return [1] if self.task == "binary" else list(range(len(self.classes)))

    def score_name(self, index: int) -> str:
        """What a score of `explained` is, in words."""
        kind = "log-odds" if self.task in ("binary", "multilabel") else "logit"
        return f"{kind} of {self.classes[self.explained[index]]}"

    def raw(self, frame: pd.DataFrame) -> np.ndarray:
        """float64 (N, features): numbers, days and codes of categories; NaN is missing."""
        return read(frame, self.preprocessing.raw)

    def logits(self, raw: np.ndarray) -> np.ndarray:
        """float32 (N, classes) of raw values as `raw` gives them."""
        parts = [
            self.model(self.preprocessing.encode(raw[i : i + _BATCH]), training=False).numpy()
            for i in range(0, len(raw), _BATCH)
        ]
        return np.concatenate(parts)

    def scores(self, raw: np.ndarray) -> np.ndarray:
        """float64 (N, explained): `class_score` of each explained class."""
        return self.scores_of(self.logits(raw))

    def scores_of(self, logits: np.ndarray) -> np.ndarray:
        """float64 (N, explained) of logits (N, classes)."""
        logits = tf.constant(logits, tf.float64)
        targets = [tf.fill([len(logits)], index) for index in self.explained]
        return np.stack([class_score(logits, target, self.task).numpy() for target in targets], axis=1)

    def probabilities(self, raw: np.ndarray) -> np.ndarray:
        """float32 (N, classes)."""
        return probabilities(self.logits(raw), self.task, self.calibrator)
