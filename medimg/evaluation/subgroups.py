"""`evaluate --by`: a model's worth on groups of patients apart, and the largest gap between two of them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from medimg.errors import InputError
from medimg.evaluation.intervals import cluster_bootstrap, percentile_interval
from medimg.evaluation.metrics import METRICS
from medimg.evaluation.mover import difference_of, with_parts
from medimg.evaluation.predictions import Predictions
from medimg.evaluation.summary import FEW, summarise_groups
from medimg.style.words import interval

GAPS = ("auroc", "sensitivity", "specificity")
# More are no list of groups that anyone reads.
_MOST_GROUPS = 20


@dataclass(frozen=True)
class Grouping:
    """A column whose values make groups.

    Attributes:
        column: of the manifest.
        width: of its numbers in a group; 0: each value is a group.
    """

    column: str
    width: float = 0.0

    def of(self, rows: pd.DataFrame) -> pd.Series:
        """The group of each row, '' where the column has no value.

        Raises:
            InputError: it isn't a column, isn't of numbers, or makes too many groups.
        """
        option = f"--by {self.column}"
        if self.column not in rows or self.column in ("image", "row", "label", "mask"):
            columns = [name for name in rows if name not in ("image", "row", "label", "mask", "pixels", "split")]
            raise InputError(f"{option}: no such column in manifest.csv; columns: {', '.join(columns)}")
        values = rows[self.column].fillna("").astype(str)
        if not self.width:
            count = values[values != ""].nunique()
            if count > _MOST_GROUPS:
                raise InputError(
                    f"{option}: has {count} values; give a width for numbers, e.g. {self.column}:10, or another column"
                )
            return values
        numbers = pd.to_numeric(values.replace("", np.nan), errors="coerce")
        if (~np.isfinite(numbers) & (values != "")).any() or numbers.isna().all():
            raise InputError(f"{option}:{self.width:g}: the column is not of numbers; leave out the width")
        groups = bands(numbers, self.width)
        count = groups[groups != ""].nunique()
        if count > _MOST_GROUPS:
            raise InputError(f"{option}:{self.width:g}: makes {count} groups; give a larger width")
        return groups


def bands(numbers: pd.Series, width: float) -> pd.Series:
    """`40-49` of 43 with a width of 10, of numbers that are not whole `40 to 50`; '' of NaN."""
    # 0.3 / 0.1 is a little less than 3.
    low = np.floor(numbers / width + 1e-9) * width
    # Whole numbers, as ages are, end before the next group begins.
    whole = float(width).is_integer() and (numbers.dropna() % 1 == 0).all()
    join, high = ("-", low + width - 1) if whole else (" to ", low + width)
    return (low.map("{:g}".format) + join + high.map("{:g}".format)).where(numbers.notna(), "")


def groupings(text: str) -> list[Grouping]:
    """`sex,age:10` -> the columns and widths.

    Raises:
        InputError: it doesn't read so.
    """
    result = []
    for part in text.split(","):
        column, colon, width = part.strip().rpartition(":") if ":" in part else (part.strip(), "", "")
        try:
            size = float(width) if colon else 0.0
        except ValueError:
            size = -1.0
        if not column or (colon and not 0 < size < np.inf):
            raise InputError(f"--by {text}: must be columns, with a width for numbers, e.g. sex,age:10")
        result.append(Grouping(column, size))
    return result


def summarise_subgroups(
    predictions: Predictions, rows: pd.DataFrame, by: list[Grouping], resamples: int = 1000, seed: int = 0
) -> dict:
    """Every metric on each group's rows alone, and the largest gaps.

    Args:
        predictions: of N rows.
        rows: length N, of the manifest.
        by: columns.
        resamples: bootstrap resamples of patients.
        seed: of the bootstrap.

    Returns:
        column -> {"groups": as of `summarise_sites`, "missing": rows without a value, "gap": metric -> {"value", "low",
        "high", "best", "worst"}} with the best and the worst of the groups that have at least 10 rows of each class.

    Raises:
        InputError: a column makes no two groups.
    """
    subgroups = {}
    for grouping in by:
        groups = grouping.of(rows)
        measured = summarise_groups(predictions, groups, rows["patient"], resamples, seed)
        if not measured:
            raise InputError(f"--by {grouping.column}: all rows are in one group; leave it out")
        subgroups[grouping.column] = {
            "groups": measured,
            "missing": int((groups == "").sum()),
            "gap": _gaps(predictions, groups.to_numpy(), measured, rows["patient"], resamples, seed),
        }
    return subgroups


def gap_note(column: str, subgroup: dict) -> str:
    """The largest gap in the ranking, in a sentence; empty where too few groups are large enough."""
    gap = subgroup["gap"].get("auroc")
    if not gap:
        return ""
    sure = gap["low"] is not None and gap["low"] > 0
    doubt = "" if sure else ", which may be chance"
    many = " (picked as the largest of several)" if len(subgroup["groups"]) > 2 else ""
    return f"by {column}: AUROC is {interval(gap)} higher in '{gap['best']}' than in '{gap['worst']}'{many}{doubt}"


def _gaps(predictions: Predictions, groups: np.ndarray, measured: dict, patients, resamples: int, seed: int) -> dict:
    large = [name for name, values in measured.items() if min(values["support"].values()) >= FEW]
    gaps = {}
    for metric in GAPS:
        values = {name: measured[name][metric]["value"] for name in large}
        defined = {name: value for name, value in values.items() if value is not None}
        if len(defined) < 2:
            continue
        best, worst = max(defined, key=defined.__getitem__), min(defined, key=defined.__getitem__)
        column = METRICS.index(metric)

        def difference(weights: np.ndarray, pair=(best, worst), column=column) -> np.ndarray:
            one, other = (predictions.measure(weights * (groups == name))[:, 0, column] for name in pair)
            return one - other

        drawn = cluster_bootstrap(difference, patients, resamples, seed) if resamples else np.empty(0)
        pair = measured[best][metric], measured[worst][metric]
        interval = with_parts(percentile_interval(drawn), pair, lambda both: difference_of(*both))
        gaps[metric] = {**interval.around(defined[best] - defined[worst]), "best": best, "worst": worst}
    return gaps
