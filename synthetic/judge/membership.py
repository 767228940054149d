"""Membership inference on a generator's output: who was in train, told from the synthetic rows alone.

Sources: Chen et al., GAN-Leaks, ACM CCS 2020 (distance to the closest synthetic row, and the same calibrated by a
reference); Carlini et al., IEEE S&P 2022 (TPR at low FPR).
"""

from collections.abc import Sequence

import numpy as np

from medimg.audit.roc import Ranking, auc, measure
from synthetic.judge.neighbours import nearest
from synthetic.judge.permutation import p_value

_TINY = 1e-12


def scores(made: np.ndarray, pool: np.ndarray, patients: Sequence) -> dict[str, np.ndarray]:
    """How much each real row looks like a training row to someone who has the synthetic rows.

    Args:
        made: float (N, F).
        pool: float (M, F), real rows.
        patients: length M.

    Returns:
        `distance`: the closer a synthetic row, the higher; `calibrated`: the same over the distance to the closest real
        row of another patient, so that ordinary rows, close to everything, don't all look like members. float64 (M,).
    """
    to_made = nearest(pool, made)[0][:, 0]
    patients = np.asarray(patients)
    to_real = nearest(pool, pool, alien=(patients, patients))[0][:, 0]
    return {"distance": -to_made, "calibrated": np.log(to_real + _TINY) - np.log(to_made + _TINY)}


def infer(
    made: np.ndarray, pool: np.ndarray, member: np.ndarray, patients: Sequence, resamples: int, seed: int
) -> dict[str, dict]:
    """Every attack's AUC, advantage and TPR at low FPR with intervals over patients, and its p.

    Args:
        made: float (N, F), synthetic rows.
        pool: float (M, F), real rows.
        member: bool (M,).
        patients: length M.
        resamples: of the bootstrap, and permutations.
        seed: of both.

    Returns:
        Attack -> what `medimg.audit.roc.measure` gives, and "p".
    """
    results = {}
    for name, score in scores(made, pool, patients).items():
        ranking = Ranking(score)

        def area(members, ranking=ranking):
            return auc(*ranking.rates(1.0 * members, 1.0 * ~members))

        results[name] = measure(score, member, patients, resamples, seed)
        results[name]["p"] = p_value(area, member, patients, resamples, seed)
    return results
