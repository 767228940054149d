"""SDMetrics' quality report of a table: column shapes and pair trends."""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from medimg.data import schema

# Pairs grow with the square of the columns.
MOST_COLUMNS = 40
_TYPES = {"continuous": "numerical", "integer": "numerical", "date": "datetime"}


def quality(
    real: pd.DataFrame, synthetic: pd.DataFrame, features: Sequence[schema.Feature]
) -> dict[str, float | dict | None]:
    """Column shapes (1 less the Kolmogorov-Smirnov or total variation distance) and pair trends, in 0..1.

    Args:
        real: N rows.
        synthetic: M rows.
        features: columns; the first MOST_COLUMNS that `real` knows are compared, and the label.

    Returns:
        `column_shapes`, `pair_trends`: means, None where nothing could be compared; `columns`: each column's shape;
        `undefined_pairs`: of constant columns, which SDMetrics leaves out of the mean.
    """
    from sdmetrics.reports import QualityReport

    compared = [f for f in features if (schema.as_text(real[f.name]) != "").any()][:MOST_COLUMNS]
    kinds = {f.name: _TYPES.get(f.type, "categorical") for f in compared}
    metadata = {name: {"sdtype": kind} for name, kind in kinds.items()}
    for name, kind in kinds.items():
        if kind == "datetime":
            metadata[name]["datetime_format"] = "%Y-%m-%d"
    metadata["label"] = {"sdtype": "categorical"}
    tables = [_typed(rows, kinds).assign(label=rows["label"].to_numpy()) for rows in (real, synthetic)]
    report = QualityReport()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        tables_by_name = [{"table": table} for table in tables]
        report.generate(*tables_by_name, {"tables": {"table": {"columns": metadata}}}, verbose=False)
        shapes = report.get_details("Column Shapes")
        pairs = report.get_details("Column Pair Trends")
    return {
        "column_shapes": _mean(shapes["Score"]),
        "pair_trends": _mean(pairs["Score"]),
        "columns": dict(zip(shapes["Column"], shapes["Score"].astype(float), strict=True)),
        "undefined_pairs": int(pairs["Score"].isna().sum()),
    }


def _typed(rows: pd.DataFrame, kinds: dict[str, str]) -> pd.DataFrame:
    columns = {}
    for name, kind in kinds.items():
        values = rows[name].reset_index(drop=True)
        if kind == "numerical":
            columns[name] = values.astype(np.float64)
        elif kind == "datetime":
            columns[name] = pd.to_datetime(schema.as_text(values).replace("", None), errors="coerce")
        else:
            columns[name] = schema.as_text(values).replace("", None)
    return pd.DataFrame(columns)


def _mean(scores: pd.Series) -> float | None:
    defined = scores.dropna()
    return float(defined.mean()) if len(defined) else None
