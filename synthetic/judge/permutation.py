"""Is it by chance? Members and non-members exchanged, patient by patient.

Had the generator learnt nothing of single training patients, it would not matter who was in train and who in test: a
measure of the real assignment would look like one of any other. That holds however alike rows are. It does not hold
where the two parts were never drawn alike (other years, other hospitals): then the measure shows that difference too.
Source: Good, Permutation, Parametric and Bootstrap Tests of Hypotheses, 2005.
"""

from collections.abc import Callable, Sequence

import numpy as np

_CELLS = 2_000_000  # of a block of assignments


def p_value(
    statistic: Callable[[np.ndarray], np.ndarray], member: np.ndarray, patients: Sequence, permutations: int, seed: int
) -> float:
    """Chance of a value as large as the real one when patients are assigned at random.

    Args:
        statistic: from members, bool (B, N), to values (B,); large = members are known.
        member: bool (N,), as it is.
        patients: length N; a patient is in one part as a whole.
        permutations: assignments drawn; the least p is 1 / (permutations + 1).
        seed: of the draws.
    """
    observed = float(statistic(member[None])[0])
    _, first, where = np.unique(np.asarray(patients), return_index=True, return_inverse=True)
    is_member = member[first]
    generator = np.random.default_rng([seed, 2])
    block = max(1, _CELLS // len(member))
    as_large = 0
    for start in range(0, permutations, block):
        tiled = np.tile(is_member, (min(block, permutations - start), 1))
        permuted = statistic(generator.permuted(tiled, axis=1)[:, where])
        # A last digit must not decide whether a tie is one.
        as_large += int((permuted >= observed - 1e-12).sum())
    return (1 + as_large) / (1 + permutations)
