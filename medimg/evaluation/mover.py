"""Intervals of differences and means of what is measured on different patients, from each one's own interval.

MOVER: Zou and Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27, 2008.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from medimg.evaluation.intervals import Interval


def difference_of(one: dict, other: dict) -> Interval:
    """Of one less the other, each {"value", "low", "high"}; no interval where either has none."""
    if None in (one["low"], other["low"]):
        return Interval(None, None)
    gap = one["value"] - other["value"]
    below = math.hypot(one["value"] - one["low"], other["high"] - other["value"])
    above = math.hypot(one["high"] - one["value"], other["value"] - other["low"])
    return Interval(gap - below, gap + above)


def mean_of(each: Sequence[dict]) -> Interval:
    """Of the mean of several, each {"value", "low", "high"}; no interval where one of them has none."""
    if any(one["low"] is None for one in each):
        return Interval(None, None)
    value, low, high = np.array([[one["value"], one["low"], one["high"]] for one in each], float).T
    mean, below, above = value.mean(), math.hypot(*(value - low)), math.hypot(*(high - value))
    return Interval(float(mean - below / len(each)), float(mean + above / len(each)))


def with_parts(interval: Interval, parts: Sequence[dict], of: Callable[[Sequence[dict]], Interval]) -> Interval:
    """The bootstrap's interval of what is made of parts; where one's own is not the bootstrap's, the further ends.

    Args:
        interval: the bootstrap's.
        parts: of different patients, each {"value", "low", "high"}, with "interval" as of `medimg.evaluation.exact`.
        of: what parts' own intervals come to, as `mean_of`.
    """
    return wider(interval, of(parts)) if interval.is_flat or any("interval" in one for one in parts) else interval


def wider(interval: Interval, other: Interval) -> Interval:
    """The further ends of both; none where either is none."""
    if None in (interval.low, interval.high, other.low, other.high):
        return Interval(None, None, interval.left_out)
    return Interval(min(interval.low, other.low), max(interval.high, other.high), interval.left_out)
