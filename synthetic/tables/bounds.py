"""`--bound NAME=LOW:HIGH`: the public range of a column, so that none is read off the patients."""

import math

from medimg.errors import InputError
from synthetic.config import SynthesizeConfig


def bounds_of(config: SynthesizeConfig) -> dict[str, tuple[float, float]]:
    """Column -> lowest and highest value.

    Raises:
        InputError: a bound is not two numbers, the lower one first.
    """
    bounds = {}
    for name, text in config.bound.items():
        try:
            low, high = (float(part) for part in str(text).split(":"))
        except ValueError:
            low = high = math.nan
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise InputError(f"--bound {name}={text}: give two numbers as LOW:HIGH")
        bounds[name] = (low, high)
    return bounds
