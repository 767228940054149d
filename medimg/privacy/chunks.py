"""A step in pieces of one static size, so that memory holds it and TensorFlow traces once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from medimg.errors import InputError
from medimg.privacy.sampling import Step
from medimg.privacy.units import Units


@dataclass(frozen=True, eq=False)
class Chunk:
    """Whole units of a step, filled up to a static size.

    Clipped sums of the chunks of a step add up; noise is added once, with the last.

    Attributes:
        step: number of the step.
        rows: int64 (size,), rows of the training part; the padding repeats row 0.
        groups: int32 (size,), which unit of the chunk each row belongs to, from 0; -1: padding.
        units: real units in the chunk; 0 in the one chunk of an empty step, which must still add
            its noise.
        last: whether the step ends with it.
    """

    step: int
    rows: np.ndarray
    groups: np.ndarray
    units: int
    last: bool


def chunks(step: Step, size: int, units: Units) -> Iterator[Chunk]:
    """Cut a step into chunks without splitting a unit.

    Units go in the step's order, each chunk taking as many as fit.

    Args:
        step: from `Sampling.step`.
        size: rows of a chunk.
        units: of the step, to name one that does not fit.

    Raises:
        InputError: a unit has more rows than a chunk; it can't be clipped in parts.
    """
    sizes = np.bincount(step.groups, minlength=len(step.units))
    if len(sizes) and sizes.max() > size:
        patient = units.names[step.units[int(sizes.argmax())]]
        raise InputError(
            f"patient '{patient}': {sizes.max()} images in a private step, more than the {size} that are computed "
            "at once; set --dp-images-per-patient"
        )
    ends = np.cumsum(sizes)
    first = 0
    while True:
        start = int(ends[first - 1]) if first else 0
        past = int(np.searchsorted(ends, start + size, side="right"))
        last = past >= len(sizes)
        yield _chunk(step, start, int(ends[past - 1]) if past else 0, first, past - first, size, last)
        if last:
            return
        first = past


def _chunk(step: Step, start: int, stop: int, first: int, units: int, size: int, last: bool) -> Chunk:
    count = stop - start
    rows = np.zeros(size, np.int64)
    groups = np.full(size, -1, np.int32)
    rows[:count] = step.rows[start:stop]
    groups[:count] = step.groups[start:stop] - first
    return Chunk(step.number, rows, groups, units, last)
