"""What cells measured: values with intervals over patients and seeds, differences, and what they say of a claim."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from medimg.comparison.seeds import seed_tests
from medimg.evaluation.intervals import Measured
from medimg.evaluation.mover import difference_of
from medimg.studies.declared import PublishedClaim
from medimg.studies.over_seeds import mean_interval
from medimg.style.words import interval, p_text, signed_interval

# With fewer seeds Student's t tells next to nothing, and the interval is of patients alone.
LEAST_SEEDS = 3
HOLDS, FAILS, OPEN = "holds here", "does not hold here", "can't be said"
# Shares of a few patients meet a round bound exactly but for the last digit: 0.8 - 0.79 is more than 0.01.
_LAST_DIGIT = 1e-9


Paired = Callable[[str, str, str], "list[Measured] | None"]


def measured_at(results: dict, path: str) -> Measured | None:
    """Where a result has a metric: `train.metrics.f1`; `*` is the mean over all that is there, without an interval.

    Returns:
        None where it has none.
    """
    name, _, rest = path.partition(".")
    if not isinstance(results, dict):
        return None
    if name == "*":
        each = [one for one in (measured_at(its, rest) for its in results.values()) if one]
        return Measured(float(np.mean([one.value for one in each]))) if each else None
    content = results.get(name)
    if rest:
        return measured_at(content, rest)
    ends = [content.get(name) for name in Measured._fields] if isinstance(content, dict) else [content]
    measured = Measured.of(*ends)
    return None if measured.value is None else measured


def over_seeds(values: Sequence[Measured]) -> Measured:
    """The mean over the seeds that have a value; its interval covers other patients and, with enough, other seeds.

    The ends over patients are the means of the seeds' ends, since all have the same test patients; over seeds they are
    Student's t; of both the further one counts.
    """
    # What is None is NaN here.
    parts = np.array([one for one in values if one.value is not None], float)
    if not len(parts):
        return Measured()
    means = parts.mean(axis=0)
    value, low, high = float(means[0]), float(means[1]), float(means[2])
    if len(parts) >= LEAST_SEEDS:
        _, below, above = mean_interval(parts[:, 0])
        low, high = float(np.fmin(low, below)), float(np.fmax(high, above))
    return Measured.of(value, low, high)


def differences(first: Sequence[Measured], second: Sequence[Measured]) -> list[Measured]:
    """First less second, seed by seed, of what is no Run's metric on the same rows.

    By the ends of both (MOVER: Zou and Donner, Statistics in Medicine 27, 2008), as if they were of different patients:
    too wide for the same ones where both move together.
    """
    each = []
    for a, b in zip(first, second, strict=False):
        if a.value is None or b.value is None:
            each.append(Measured())
            continue
        interval = difference_of(a._asdict(), b._asdict())
        each.append(Measured(a.value - b.value, interval.low, interval.high))
    return each


@dataclass(frozen=True)
class Verdict:
    """What is said of a claim.

    Attributes:
        claim: of the source.
        measured: here, in words.
        verdict: HOLDS, FAILS or OPEN.
        interval: that decided.
    """

    claim: PublishedClaim
    measured: str
    verdict: str
    interval: dict | None = None


def judge(
    claim: PublishedClaim,
    cells: dict[str, dict[str, list[Measured]]],
    paired: Paired = lambda *_: None,
    votes: Collection[str] = (),
) -> Verdict:
    """Decide a claim by the interval: wholly on its side it holds, wholly on the other it does not.

    Args:
        claim: of the source.
        cells: label -> title -> a value a seed, none where a seed has none.
        paired: two labels and a title -> differences, one a seed, on the same resamples of patients; None: can't be.
        votes: labels of cells that others' Runs vote in: no groups of their own for an analysis of variance.
    """
    if not claim.cell:
        return _by_variance(claim, {label: its for label, its in cells.items() if label not in votes})
    needed = [label for label in (claim.cell, claim.less) if label]
    missing = [label for label in needed if not cells.get(label, {}).get(claim.metric)]
    if missing:
        was_run = any(cells.get(missing[0], {}).values())
        why = f"has no {claim.metric}" if was_run else "was not measured"
        return Verdict(claim, f"{missing[0]} {why}", OPEN)
    values = [cells[label][claim.metric] for label in needed]
    here = over_seeds((paired(*needed, claim.metric) or differences(*values)) if claim.less else values[0])
    text = (signed_interval if claim.less else interval)(here._asdict())
    of = " less ".join(needed)
    return Verdict(claim, f"{claim.metric} of {of}: {text}", _side(claim, here), here._asdict())


def _side(claim: PublishedClaim, here: Measured) -> str:
    if here.low is None or here.high is None:
        return OPEN
    most = math.inf if claim.at_most is None else claim.at_most + _LAST_DIGIT
    if claim.more_than is not None:
        least = claim.more_than + _LAST_DIGIT
    else:
        least = -math.inf if claim.at_least is None else claim.at_least - _LAST_DIGIT
    if least < here.low and here.high < most:
        return HOLDS
    return FAILS if here.high < least or here.low > most else OPEN


def _by_variance(claim: PublishedClaim, cells: dict) -> Verdict:
    """A small p holds; a large one shows nothing."""
    groups = [[one.value for one in its.get(claim.metric, ())] for its in cells.values()]
    groups = [np.array([value for value in group if value is not None]) for group in groups]
    groups = [group for group in groups if len(group) > 1]
    if len(groups) < 2:
        return Verdict(claim, "analysis of variance needs two cells of two seeds each", OPEN)
    tests = seed_tests(groups)
    if tests.p is None:
        return Verdict(claim, "no cell varies with its seed", OPEN)
    words = f"one-way analysis of variance over seeds: F{tests.df} = {tests.f:.2f}, {p_text(tests.p)}"
    return Verdict(claim, words, HOLDS if tests.p < claim.at_most else OPEN)
