"""Values that no training row has: unseen categories, numbers far beyond the range or not whole, gaps."""

import numpy as np
import pandas as pd

from medimg.data import schema
from medimg.tables.ordered import ordered_values
from synthetic.judge.rows import Subject

# Any sample's range is short of what there is: numbers count from this part of the range beyond either end.
MARGIN = 0.1


def measure(subject: Subject) -> dict:
    """Rows with a value that training lacks. Held-out patients have some too: real rows reach beyond any sample.

    Returns:
        `synthetic`, `held_out`: share of rows with any; `error`: standard error of their difference, were they drawn
        alike; `columns`: of those with any in synthetic rows, how many rows
        by kind: `unseen_category`, `outside_range`, `not_whole`, `missing`.
    """
    columns = {}
    flags = {"synthetic": np.zeros(len(subject.made), bool), "held_out": np.zeros(len(subject.test), bool)}
    for feature in subject.real.inputs:
        for name, rows in (("synthetic", subject.made), ("held_out", subject.test)):
            kinds = _novel(rows, subject.train, feature)
            for is_novel in kinds.values():
                flags[name] |= is_novel
            counts = {kind: int(is_novel.sum()) for kind, is_novel in kinds.items() if is_novel.any()}
            if name == "synthetic" and counts:
                columns[feature.name] = counts
    shares = {name: float(is_novel.mean()) for name, is_novel in flags.items()}
    common = float(np.concatenate(list(flags.values())).mean())
    error = (common * (1 - common) * sum(1 / len(is_novel) for is_novel in flags.values())) ** 0.5
    return {**shares, "error": error, "columns": columns}


def _novel(rows: pd.DataFrame, train: pd.DataFrame, feature: schema.Feature) -> dict[str, np.ndarray]:
    if feature.is_number or feature.type == "date":
        trained, values = ordered_values(train, feature), ordered_values(rows, feature)
        novel, missing = {}, np.isnan(values)
        present = trained[~np.isnan(trained)]
        if len(present):
            low, high = present.min(), present.max()
            margin = MARGIN * (high - low)
            novel["outside_range"] = (values < low - margin) | (values > high + margin)
        else:
            novel["outside_range"] = ~missing
        if feature.type == "integer":
            novel["not_whole"] = ~missing & (values != np.round(values))
        never_missing = len(present) == len(trained)
    else:
        text, trained = schema.as_text(rows[feature.name]), set(schema.as_text(train[feature.name]))
        missing = (text == "").to_numpy()
        novel = {"unseen_category": ~missing & ~text.isin(trained).to_numpy()}
        never_missing = "" not in trained
    novel["missing"] = missing & never_missing
    return novel
