"""What a client of a table's generator tells before the first round: counts of its rows, which add up over clients."""

import math
from collections.abc import Iterable
from dataclasses import asdict

import numpy as np
import pandas as pd

from federated.statistics import Schema, agreed, training_rows
from federated.statistics.few import require_patients
from federated.statistics.keys import DOUBLE, to_keys
from federated.statistics.names import sketched
from federated.statistics.table_answers import cells_of, counts_of
from medimg.data.dataset import Dataset
from medimg.data.schema import Feature
from synthetic.federation.tables.agreement import counted
from synthetic.tables.columns import MEASURED, GeneratorColumn, fitting, numbers_of
from synthetic.tables.generator_inputs import targets_of

# In the order in which they are asked; `federated.flower.site_statistics` says how often.
KNOWN, NAMES, PLACES, COUNT = "generator known", "generator names", "generator places", "generator counts"


def learnt_from(client: Dataset, schema: Schema) -> tuple[Dataset, pd.DataFrame]:
    """A client's table in the federation's form, and its labelled training rows.

    Raises:
        InputError: a label is no class of the federation, or none of the columns is there.
    """
    table = agreed(client, schema)
    return table, training_rows(table, None).reset_index(drop=True)


def answer(client: Dataset, request: dict) -> np.ndarray:
    """Counts over the labelled training rows.

    Args:
        client: its rows.
        request: `kind`, `schema`, and what the kind needs; `fewest`, the site's own: where a class has fewer patients
            nothing is told.

    Returns:
        float64 (n,), n by the request alone.

    Raises:
        InputError: a class has fewer, or the rows do not fit the federation.
        KeyError, TypeError, ValueError: it is something else, or asks for a column that is not learnt from.
    """
    table, rows = learnt_from(client, Schema.from_dict(request["schema"]))
    require_patients(targets_of(rows, table.classes)[None], rows["patient"], request.get("fewest", 1))
    if request["kind"] not in _KINDS:
        raise ValueError("a question that no generator asks")
    return np.asarray(_KINDS[request["kind"]](table, rows, request), np.float64)


def known_size(features: tuple[Feature, ...]) -> int:
    """Counts of an answer to KNOWN."""
    return 1 + len(features) + sum(len(fitting(np.zeros(0))) for f in features if f.type in MEASURED)


def _known(table: Dataset, rows: pd.DataFrame, request: dict) -> np.ndarray:
    """Rows, how many lack each column, and how many of each number or date can be written with few decimals."""
    measured = [feature for feature in table.features if feature.type in MEASURED]
    lacking = [int(_lacks(rows[f.name], f).sum()) for f in table.features]
    return np.concatenate([[len(rows)], lacking, *(fitting(_numbers(rows, f)) for f in measured)])


def _names(table: Dataset, rows: pd.DataFrame, request: dict) -> np.ndarray:
    """The names and counts of the categories of each column, in a sketch of `cells`."""
    names, known = request["columns"], _named(table)

    def categories() -> Iterable[tuple[str, dict[str, int]]]:
        for name in names:
            if known[name].type in MEASURED:
                raise ValueError("a column without categories")
            values = rows[name]
            yield name, values[values != ""].value_counts().to_dict()

    return sketched(categories(), names, cells_of(request))


def _places(table: Dataset, rows: pd.DataFrame, request: dict) -> np.ndarray:
    """How many values of numbers and dates lie in each of `bins` parts of each of the `intervals`, of float64 keys."""
    known = _named(table)
    return counts_of(request, lambda names: ((name, to_keys(_numbers(rows, known[name]), DOUBLE)) for name in names))


def _counts(table: Dataset, rows: pd.DataFrame, request: dict) -> np.ndarray:
    """As `agreement.counted`, of `columns`, `edges` and `categories`."""
    columns = columns_from(request["columns"])
    if {column.name for column in columns} - _named(table).keys():
        raise ValueError("a column that nobody learns from")
    edges = [np.asarray(one, np.float64) for one in request["edges"]]
    return counted(rows, columns, table.classes, edges, bool(request["categories"]))


_KINDS = {KNOWN: _known, NAMES: _names, PLACES: _places, COUNT: _counts}


def columns_told(columns: tuple[GeneratorColumn, ...]) -> list[dict]:
    """Columns as they travel, a missing number as None."""
    return [{**asdict(one), "levels": [None if pd.isna(v) else v for v in one.levels]} for one in columns]


def columns_from(described: list[dict]) -> tuple[GeneratorColumn, ...]:
    """The inverse of `columns_told`."""
    return tuple(
        GeneratorColumn(**{**one, "levels": tuple(math.nan if v is None else v for v in one["levels"])})
        for one in described
    )


def _named(table: Dataset) -> dict[str, Feature]:
    return {feature.name: feature for feature in table.features}


def _numbers(rows: pd.DataFrame, feature: Feature) -> np.ndarray:
    values = numbers_of(rows[feature.name], feature.type)
    return values[~np.isnan(values)]


def _lacks(values: pd.Series, feature: Feature) -> np.ndarray:
    return values.isna().to_numpy() if feature.is_number else (values == "").to_numpy()
