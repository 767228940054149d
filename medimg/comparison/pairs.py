"""All tests of all pairs of candidates, corrected for their number."""

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from medimg.comparison.candidates import Candidate
from medimg.comparison.delong import delong
from medimg.comparison.folds import corrected_t
from medimg.comparison.paired import difference, mcnemar
from medimg.evaluation.exact_differences import counted_for_difference
from medimg.evaluation.holm import holm
from medimg.evaluation.metrics import METRICS

ALPHA = 0.05
TESTS = ("bootstrap", "delong", "mcnemar", "corrected_t")


def pairs_of(candidates: list[Candidate]) -> list[tuple[int, int]]:
    """Positions (i, j), i < j, of what is tested: Runs with each other and with baselines.

    Baselines among themselves are nobody's question, and each pair more weakens the others' tests.
    """
    kinds = [candidate.kind for candidate in candidates]
    return [
        (i, j)
        for i in range(len(kinds))
        for j in range(i + 1, len(kinds))
        if "run" in (kinds[i], kinds[j]) and "majority" not in (kinds[i], kinds[j])
    ]


def tested_pairs(
    candidates: list[Candidate],
    metric: str,
    values: np.ndarray,
    resampled: np.ndarray,
    over_folds: np.ndarray | None,
    ratio: float,
    patients: Sequence | None = None,  # noqa: PT028 - not a test of pytest's
) -> list[dict]:
    """The entries `pairs` of comparison.json.

    Args:
        candidates: C models with predictions of the same rows.
        metric: whose difference is tested.
        values: float64 (C, len(METRICS)).
        resampled: float64 (C, R, len(METRICS)), on the same resamples.
        over_folds: float64 (C, K), the metric in each fold; None without folds.
        ratio: test rows over training rows of a fold.
        patients: of the rows; None: every row has its own.
    """
    column = METRICS.index(metric)
    predicted = candidates[0].members[0]
    counted = counted_for_difference(predicted, range(len(predicted)) if patients is None else patients, metric)
    entries = []
    for i, j in pairs_of(candidates):
        first, second = candidates[i], candidates[j]
        draws = (resampled[one, :, column] for one in (i, j))
        bootstrap = difference(values[i, column], values[j, column], *draws, counted)
        tests = {"bootstrap": asdict(bootstrap), **_of_single_models(first, second, patients)}
        if over_folds is not None:
            tests["corrected_t"] = asdict(corrected_t(over_folds[i], over_folds[j], ratio))
        entries.append({"first": first.name, "second": second.name, **tests})
    _correct(entries)
    for entry in entries:
        # The test that also knows of the choice of training rows decides, where there is one.
        entry["decisive"] = "corrected_t" if "corrected_t" in entry else "bootstrap"
        p = entry[entry["decisive"]]["p_holm"]
        entry["evidence"] = p is not None and p < ALPHA
    return entries


def _of_single_models(first: Candidate, second: Candidate, patients: Sequence | None) -> dict:
    """Tests of two sets of predictions; the mean over seeds is no set of predictions."""
    if len(first.members) > 1 or len(second.members) > 1:
        return {}
    one, other = first.members[0], second.members[0]
    tests = {}
    if one.task == "binary":
        scores = (p.probabilities[:, 1] for p in (one, other))
        result = delong(one.truth[:, 1], *scores, patients)
        if result:
            tests["delong"] = asdict(result)
    if one.task != "multilabel":
        tests["mcnemar"] = asdict(mcnemar(one, other, patients))
    return tests


def _correct(entries: list[dict]) -> None:
    """Add `p_holm` to every test: each kind of test is one family over the pairs."""
    for name in TESTS:
        tests = [entry[name] for entry in entries if name in entry]
        for test, p in zip(tests, holm([test["p"] for test in tests]), strict=True):
            test["p_holm"] = p
