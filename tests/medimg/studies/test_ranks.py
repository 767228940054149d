"""Mean ranks of cells over metrics."""

from medimg.studies.measured import Value
from medimg.studies.ranks import mean_ranks


def test_ranks_are_means_over_the_metrics_that_a_cell_has():
    cells = {
        "a": {"more": [Value(0.9), Value(0.1)], "less": [Value(0.2), Value(0.9)], "some": [Value(1.0), Value(1.0)]},
        "b": {"more": [Value(0.5), Value(0.5)], "less": [Value(0.2), Value(0.1)], "some": [Value(2.0), Value(2.0)]},
        "c": {"more": [Value(0.1), Value(0.9)], "less": [Value(0.9), Value(0.5)], "some": []},
    }
    ranks = mean_ranks(cells, {"more": "most", "less": "least"})
    # By hand; equals share the mean of their places.
    assert [one.value for one in ranks["a"]] == [(1 + 1.5) / 2, (3 + 3) / 2]
    assert [one.value for one in ranks["b"]] == [(2 + 1.5) / 2, (2 + 1) / 2]
    assert [one.value for one in ranks["c"]] == [(3 + 3) / 2, (1 + 2) / 2]


def test_a_metric_ranks_those_that_have_it():
    cells = {"a": {"m": [Value(0.9)], "n": [Value(0.3)]}, "b": {"m": [Value(0.5)]}, "c": {"m": [Value(0.7)]}}
    ranks = mean_ranks(cells, {"m": "most", "n": "least", "nobody has": "most"})
    assert {label: [one.value for one in its] for label, its in ranks.items()} == {"a": [1.0], "b": [3.0], "c": [2.0]}


def test_of_cells_with_fewer_seeds_the_seeds_that_all_have_are_ranked():
    cells = {"a": {"m": [Value(0.9), Value(0.4)]}, "b": {"m": [Value(0.5)]}}
    assert {label: len(its) for label, its in mean_ranks(cells, {"m": "most"}).items()} == {"a": 1, "b": 1}
