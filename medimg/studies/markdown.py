"""Markdown of a study's README.md."""

import pandas as pd

from medimg.style.words import interval, signed_interval


def table_lines(table: pd.DataFrame, labels: list[str], metrics: list[str]) -> list[str]:
    """A Markdown table: labels, then each metric as `0.970 [0.955, 0.983]`, `-` where there is none.

    Args:
        table: with the columns `labels` and, of each metric, `metric`, `metric_low` and `metric_high`.
        labels: columns shown as they are.
        metrics: columns shown with their intervals, differences (`a_less_b`) with their sign.
    """
    names = [name.replace("_", " ").replace("auroc", "AUROC") for name in metrics]
    lines = ["| " + " | ".join([*labels, *names]) + " |", "|---" * (len(labels) + len(names)) + "|"]
    for _, row in table.iterrows():
        cells = [str(row[name]) for name in labels] + [value(row, name, signed="_less_" in name) for name in metrics]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def value(row: pd.Series, name: str, signed: bool = False) -> str:
    """`0.970 [0.955, 0.983]` of a row's `name`, `name_low` and `name_high`; without ends the value alone.

    Args:
        row: of a table.
        name: of the value.
        signed: it is a difference.
    """
    measured = {"value": row.get(name), "low": row.get(f"{name}_low"), "high": row.get(f"{name}_high")}
    measured = {key: None if pd.isna(v) else v for key, v in measured.items()}
    return signed_interval(measured) if signed else interval(measured)
