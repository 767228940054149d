"""Figure of a study: a point with its interval for every way of training, a group for everything compared."""

import pandas as pd
from matplotlib.figure import Figure

from medimg.style.figures import line_style, styled


def points_figure(table: pd.DataFrame, group: str, series: str, metric: str, title: str) -> Figure:
    """Draw the points side by side.

    Args:
        table: a row for each group and series, with `metric`, `metric_low` and `metric_high`; NaN ends are not drawn.
        group: column along the axis.
        series: column told apart by colour.
        metric: column.
        title: of the figure.
    """
    groups, kinds = list(dict.fromkeys(table[group])), list(dict.fromkeys(table[series]))
    with styled():
        figure = Figure(figsize=(max(5.0, 1.6 + 1.5 * len(groups)), 4.0))
        axes = figure.subplots()
        for index, kind in enumerate(kinds):
            rows = table[table[series] == kind].set_index(group)
            shift = 0.13 * (index - (len(kinds) - 1) / 2)
            for place, name in enumerate(groups):
                if name not in rows.index:
                    continue
                row = rows.loc[name]
                style = {"color": line_style(index)["color"]}
                axes.vlines(place + shift, row[f"{metric}_low"], row[f"{metric}_high"], **style)
                label = kind if place == 0 else None
                axes.plot(place + shift, row[metric], "o", label=label, **style)
        axes.set_xticks(range(len(groups)), groups)
        axes.set_ylabel("test AUROC" if metric == "auroc" else f"test {metric}")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        figure.suptitle(title)
    return figure
