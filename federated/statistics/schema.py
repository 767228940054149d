"""Schema: what the clients of a federation agree on before anything is computed from their rows."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from medimg.data.dataset import SEPARATOR, Dataset
from medimg.data.schema import ROLES, Feature
from medimg.errors import InputError
from medimg.untrusted.printable import printable

__all__ = ["Schema", "agreed", "require_inputs"]


@dataclass(frozen=True)
class Schema:
    """Columns and classes of a federation of tables.

    Attributes:
        features: columns that a model may learn from, in the order of the result.
        task: `binary`, `multiclass` or `multilabel`.
        classes: in the order of the model's outputs.
        negative: of a multilabel set, the label that says "none of the classes".
    """

    features: tuple[Feature, ...]
    task: str
    classes: tuple[str, ...]
    negative: str = ""

    @classmethod
    def of(cls, dataset: Dataset) -> "Schema":
        """That of one table."""
        return cls(dataset.inputs, dataset.task, dataset.classes, dataset.negative)

    @classmethod
    def from_dict(cls, values: dict) -> "Schema":
        """The inverse of `to_dict`."""
        features = tuple(Feature(name, kind, tuple(o)) for name, kind, o in values["features"])
        return cls(features, values["task"], tuple(values["classes"]), values["negative"])

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return {
            "features": [[f.name, f.type, list(f.order)] for f in self.features],
            "task": self.task,
            "classes": list(self.classes),
            "negative": self.negative,
        }


def agreed(dataset: Dataset, schema: Schema) -> Dataset:
    """A site's own table in the federation's form: its columns, types and classes.

    A column that the site does not have counts as not known in all of its rows; one that the federation does not have
    is left alone. One that the site has, but does not learn from (a hospital's number, for one), counts as not there.

    Raises:
        InputError: not a table, none of the columns, or a label that is no class of the federation.
    """
    if not dataset.is_table:
        raise InputError(f"{dataset.root}: holds images; this federation learns from tables")
    present = {feature.name for feature in dataset.inputs} & set(dataset.manifest.columns)
    for feature in schema.features:
        if feature.name in ROLES:
            raise InputError(f"{dataset.root}: '{feature.name}' says what a row is, and nothing learns from it")
    absent = [feature for feature in schema.features if feature.name not in present]
    if len(absent) == len(schema.features):
        raise InputError(
            f"{dataset.root}/manifest.csv: none of the federation's columns is there "
            f"('{absent[0].name}', ...); is it the right table?"
        )
    _check_labels(dataset, schema)
    empty = pd.DataFrame({f.name: np.nan if f.is_number else "" for f in absent}, index=dataset.manifest.index)
    return replace(
        dataset,
        manifest=pd.concat([dataset.manifest.drop(columns=empty.columns, errors="ignore"), empty], axis=1),
        features=schema.features,
        task=schema.task,
        classes=schema.classes,
        negative=schema.negative,
    )


def require_inputs(table: Dataset, names: Iterable[str]) -> None:
    """Refuse a preprocessing of other columns than the federation's.

    Args:
        table: of `agreed`.
        names: of the columns that it reads.

    Raises:
        InputError: names one.
    """
    strange = sorted(set(names) - {feature.name for feature in table.inputs})
    if strange:
        raise InputError(f"the preprocessing reads column '{printable(strange[0], 50)}', which nobody learns from")


def _check_labels(dataset: Dataset, schema: Schema) -> None:
    several = schema.task == "multilabel"
    # Of one label a row, that of no class would be rows that count in some sums and not in others.
    known = {*schema.classes, "", *([schema.negative] if several else [])}
    labels = pd.unique(dataset.manifest["label"])
    for label in labels:
        for name in label.split(SEPARATOR) if several else (label,):
            if name not in known:
                raise InputError(
                    f"{dataset.root}/manifest.csv: label '{name}' is no class of the federation "
                    f"({', '.join(schema.classes)}); mend it, or federate without this site"
                )
