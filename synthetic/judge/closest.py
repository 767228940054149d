"""Distance to the closest record: do synthetic rows lie nearer to training rows than to held-out ones?

Sources: Platzer and Reutterer, Holdout-based empirical assessment of mixed-type synthetic data, Frontiers in Big Data
4, 2021 (the share, expected 0.5); Zhao et al., CTAB-GAN, ACML 2021 (nearest-neighbour distance ratio).
"""

from collections.abc import Sequence

import numpy as np

from medimg.evaluation.exact import bounded_share
from medimg.evaluation.few_faults import any_of_few
from medimg.evaluation.intervals import cluster_bootstrap, percentile_interval
from medimg.evaluation.metrics import ratio
from synthetic.judge.neighbours import credit, nearest
from synthetic.judge.permutation import p_value


def closer_to_train(
    made: np.ndarray, pool: np.ndarray, member: np.ndarray, patients: Sequence, resamples: int, seed: int
) -> dict:
    """Share of synthetic rows whose closest real row is a training row, as if both parts were of one size.

    With train larger than test more closest rows are training rows even by chance. So each is counted as 1 / (rows of
    its part): the share is 0.5 for a generator that knows train no better than test, whatever the sizes, and 1 for one
    that copies.

    Args:
        made: float (N, F), synthetic rows.
        pool: float (M, F), real rows.
        member: bool (M,), the real row is a training row.
        patients: length M; patients are resampled and exchanged.
        resamples: of the bootstrap, and permutations.
        seed: of both.

    Returns:
        {"value", "low", "high", "expected": 0.5, "p"}.
    """
    row_credit = credit(made, pool)

    def share(train: np.ndarray, test: np.ndarray) -> np.ndarray:
        # Weights (B, M) of the real rows as members and as others.
        by_train = ratio(train @ row_credit, train.sum(axis=1))
        by_test = ratio(test @ row_credit, test.sum(axis=1))
        return ratio(by_train, by_train + by_test)

    interval = percentile_interval(
        cluster_bootstrap(lambda w: share(w * member, w * ~member), patients, resamples, seed)
    )
    value = float(share(1.0 * member[None], 1.0 * ~member[None])[0])
    # Credit of few real patients is of no more than these.
    few = any_of_few((row_credit * member, row_credit * ~member), patients)
    interval = bounded_share(interval, value, len(set(np.asarray(patients)[row_credit > 0])), few)
    return {
        **interval.around(value),
        "expected": 0.5,
        "p": p_value(lambda m: share(1.0 * m, 1.0 * ~m), member, patients, resamples, seed),
    }


def distance_ratio(rows: np.ndarray, train: np.ndarray) -> dict:
    """Distance to the closest training row over that to the second closest: near 0 where one row was copied.

    Args:
        rows: float (N, F), synthetic or held-out.
        train: float (M, F).

    Returns:
        {"median", "fifth_percentile"}; of rows with two closest at distance 0 the ratio is 1: no single row is meant.
    """
    distances, _ = nearest(rows, train, 2)
    ratios = np.divide(distances[:, 0], distances[:, 1], out=np.ones(len(distances)), where=(distances[:, 1] > 0))
    return {"median": float(np.median(ratios)), "fifth_percentile": float(np.quantile(ratios, 0.05))}
