"""Mean ranks of the cells of a group over several of their metrics."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

from medimg.evaluation.intervals import Measured


def mean_ranks(
    cells: Mapping[str, Mapping[str, Sequence[Measured]]], better: Mapping[str, str]
) -> dict[str, list[Measured]]:
    """A rank of each cell and seed, without an interval; equals share theirs.

    Only metrics that all of the cells have count: a place among few is a better one than the same among many, so who
    has a metric that others lack would gain by it.

    Args:
        cells: label -> title -> a value a seed, none where it has none, of the cells that are ranked among each other.
        better: title -> `most` or `least`, which end is good.

    Returns:
        Label -> a mean rank a seed, 1 the best, for as many seeds as all cells have, no value of a seed without a
        metric that all have; none where that is so of every seed.
    """
    titles = [title for title in better if all(its.get(title) for its in cells.values())]
    seeds = min((len(its[title]) for its in cells.values() for title in titles), default=0)
    means = []
    for seed in range(seeds):
        of_titles = [np.array([its[title][seed].value for its in cells.values()], float) for title in titles]
        ranks = [
            rankdata(values if better[title] == "least" else -values)
            for title, values in zip(titles, of_titles, strict=True)
            if not np.isnan(values).any()
        ]
        means.append(np.mean(ranks, axis=0) if ranks else np.full(len(cells), np.nan))
    if np.isnan(means).all():
        return {label: [] for label in cells}
    return {label: [Measured.of(its[number]) for its in means] for number, label in enumerate(cells)}
