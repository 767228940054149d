"""Tables of a study's README.md."""

import math

import pandas as pd

from medimg.studies.markdown import table_lines


def test_table_lines_show_intervals_and_what_is_absent():
    rows = [
        {"model": "a", "auroc": 0.9, "auroc_low": 0.85, "auroc_high": 0.95, "auroc_less_b": 0.1},
        {"model": "b", "auroc": math.nan, "auroc_low": math.nan, "auroc_high": math.nan},
    ]
    lines = table_lines(pd.DataFrame(rows), ["model"], ["auroc", "auroc_less_b"])
    assert lines[2:] == ["| a | 0.900 [0.850, 0.950] | +0.100 |", "| b | - | – |"]
