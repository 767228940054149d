"""Mean ranks of cells over metrics."""

import numpy as np
import pytest
from scipy.stats import rankdata

from medimg.evaluation.intervals import Measured
from medimg.studies.ranks import mean_ranks


def each(*values: float) -> list[Measured]:
    return [Measured(value) for value in values]


def test_ranks_are_means_over_the_metrics_that_a_cell_has():
    cells = {
        "a": {"more": each(0.9, 0.1), "less": each(0.2, 0.9), "some": each(1.0, 1.0)},
        "b": {"more": each(0.5, 0.5), "less": each(0.2, 0.1), "some": each(2.0, 2.0)},
        "c": {"more": each(0.1, 0.9), "less": each(0.9, 0.5), "some": []},
    }
    ranks = mean_ranks(cells, {"more": "most", "less": "least"})
    # By hand; equals share the mean of their places.
    assert [one.value for one in ranks["a"]] == [(1 + 1.5) / 2, (3 + 3) / 2]
    assert [one.value for one in ranks["b"]] == [(2 + 1.5) / 2, (2 + 1) / 2]
    assert [one.value for one in ranks["c"]] == [(3 + 3) / 2, (1 + 2) / 2]


def test_a_metric_that_a_cell_lacks_ranks_nobody():
    """Alone in a metric, the worst of the other one would have come out as good as the second."""
    cells = {"a": {"m": each(0.5), "n": each(0.3)}, "b": {"m": each(0.9)}, "c": {"m": each(0.7)}}
    ranks = mean_ranks(cells, {"m": "most", "n": "least", "nobody has": "most"})
    assert {label: [one.value for one in its] for label, its in ranks.items()} == {"a": [3.0], "b": [1.0], "c": [2.0]}
    # Nor does that of a seed which one of them lacks; the other seed keeps its place.
    cells = {"a": {"m": [Measured(), Measured(0.5)]}, "b": {"m": each(0.1, 0.9)}}
    ranks = mean_ranks(cells, {"m": "most"})
    assert [one.value for one in ranks["a"]] == [None, 2.0]
    assert mean_ranks({"a": {"m": each(0.1)}, "b": {}}, {"m": "most"}) == {"a": [], "b": []}


def test_ranks_with_ties_are_those_of_scipy():
    draw = np.random.default_rng(0)
    better = {"m": "most", "n": "least", "o": "most"}
    values = {title: draw.integers(0, 4, (6, 2)) / 4 for title in better}
    cells = {f"c{i}": {title: [Measured(float(v)) for v in its[i]] for title, its in values.items()} for i in range(6)}
    signs = {"most": -1, "least": 1}
    expected = np.mean([rankdata(signs[end] * values[title], axis=0) for title, end in better.items()], axis=0)
    ranks = mean_ranks(cells, better)
    assert np.array([[one.value for one in ranks[f"c{i}"]] for i in range(6)]) == pytest.approx(expected)


def test_of_cells_with_fewer_seeds_the_seeds_that_all_have_are_ranked():
    cells = {"a": {"m": each(0.9, 0.4)}, "b": {"m": each(0.5)}}
    assert {label: len(its) for label, its in mean_ranks(cells, {"m": "most"}).items()} == {"a": 1, "b": 1}
