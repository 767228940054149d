"""Mean ranks of the cells of a group over several of their metrics."""

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

from medimg.studies.measured import Value


def mean_ranks(cells: Mapping[str, Mapping[str, Sequence[Value]]], better: Mapping[str, str]) -> dict[str, list[Value]]:
    """A rank of each cell and seed, without an interval; equals share theirs.

    Args:
        cells: label -> title -> a value a seed, of the cells that are ranked among each other.
        better: title -> `most` or `least`, which end is good; of each metric those cells are ranked that have it.

    Returns:
        Label -> a mean rank a seed, 1 the best, for as many seeds as all cells have; none of a cell without a metric.
    """
    seeds = min((len(its[title]) for its in cells.values() for title in better if its.get(title)), default=0)
    ranks: dict[str, list[list[float]]] = {label: [[] for _ in range(seeds)] for label in cells}
    for title, end in better.items():
        labels = [label for label, its in cells.items() if its.get(title)]
        for seed in range(seeds):
            values = np.array([cells[label][title][seed].value for label in labels])
            for label, rank in zip(labels, rankdata(values if end == "least" else -values), strict=True):
                ranks[label][seed].append(float(rank))
    return {label: [Value(float(np.mean(its))) for its in of_seeds if its] for label, of_seeds in ranks.items()}
