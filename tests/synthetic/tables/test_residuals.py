"""Counts in coordinates that tell nothing twice: an inverse, a norm that every row has, less noise than on cells."""

import numpy as np
import pytest
from scipy.optimize import minimize

from synthetic.tables.residuals import Residuals, nearest_shares

SIZES = (6, 1, 2, 9)


def drawn(classes: int, rows: int, seed: int = 0) -> tuple[Residuals, np.ndarray, np.ndarray]:
    """Rows one-hot (N, cells), their classes; cells of the columns are mixed up."""
    draw = np.random.default_rng(seed)
    mixed = draw.permutation(sum(SIZES))
    choices = tuple(np.split(mixed, np.cumsum(SIZES)[:-1]))
    one_hot = np.zeros((rows, len(mixed)))
    for cells in choices:
        one_hot[np.arange(rows), draw.choice(cells, rows)] = 1
    return Residuals(choices, classes), one_hot, draw.integers(0, classes, rows)


def counted(one_hot, targets, classes):
    return np.eye(classes)[targets].T @ one_hot


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_counts_come_back(classes):
    residuals, one_hot, targets = drawn(classes, 40)
    counts = counted(one_hot, targets, classes)
    np.testing.assert_allclose(residuals.counts(residuals.coordinates(counts), counts.shape[1]), counts, atol=1e-12)


@pytest.mark.parametrize("classes", [1, 2, 5])
def test_every_row_has_the_norm_and_a_mean_of_rows_no_larger_one(classes):
    residuals, one_hot, targets = drawn(classes, 60)
    pairs = zip(one_hot, targets, strict=True)
    each = [residuals.coordinates(counted(row[None], target[None], classes)) for row, target in pairs]
    np.testing.assert_allclose(np.linalg.norm(each, axis=1), residuals.norm, rtol=1e-12)
    means = [np.mean(each[i : i + 3], axis=0) for i in range(50)]
    assert np.linalg.norm(means, axis=1).max() <= residuals.norm * (1 + 1e-12)


def test_a_row_more_moves_the_coordinates_by_the_norm():
    residuals, one_hot, targets = drawn(2, 30)
    whole = residuals.coordinates(counted(one_hot, targets, 2))
    for left in range(30):
        keep = np.arange(30) != left
        fewer = residuals.coordinates(counted(one_hot[keep], targets[keep], 2))
        assert np.linalg.norm(whole - fewer) == pytest.approx(residuals.norm)


def test_what_differs_between_classes_has_less_noise_than_by_noise_on_all_cells():
    residuals, one_hot, _ = drawn(2, 1)
    width, draws = one_hot.shape[1], np.random.default_rng(3).normal(0, residuals.norm, (4000, 100))
    size = len(residuals.coordinates(np.zeros((2, width))))
    found = np.array([residuals.counts(draw[:size], width) for draw in draws])
    differences = found[:, 1] - found[:, 0]
    for cells in residuals.choices[2:3]:
        contrast = differences[:, cells] @ [1, -1]
        # Noise on all cells: of four cells, in units of the root of the columns.
        assert contrast.std() < 0.85 * np.sqrt(4 * len(SIZES))


@pytest.mark.parametrize(("least", "total"), [(0.0, 11.0), (14.0, 14.0), (99.0, 19.0)])
def test_nearest_shares_are_the_nearest(least, total):
    counts = np.array([9.0, -5.0, 4.0, -3.0, 6.0, 0.0])
    found = nearest_shares(counts, least)
    assert found.min() >= 0
    assert found.sum() == pytest.approx(1)
    best = minimize(
        lambda shares: ((total * shares - counts) ** 2).sum(),
        np.full(6, 1 / 6),
        bounds=[(0, 1)] * 6,
        constraints={"type": "eq", "fun": lambda shares: shares.sum() - 1},
    )
    np.testing.assert_allclose(found, best.x, atol=1e-3)


def test_counts_without_noise_are_their_own_shares():
    np.testing.assert_allclose(nearest_shares(np.array([2.0, 0.0, 6.0]), 50.0), [0.25, 0, 0.75])
    np.testing.assert_allclose(nearest_shares(np.array([-3.0, 0.0]), 1.0), 0.5)
