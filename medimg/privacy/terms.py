"""What a private training promises, and the account of each site where several share it."""

from dataclasses import dataclass
from typing import Self

from medimg.errors import InputError
from medimg.privacy.mechanism import Mechanism


@dataclass(frozen=True)
class Terms:
    """What a private training promises and how it keeps it.

    Attributes:
        delta: in (0, 1).
        budget_epsilon: claimed beforehand, across sites of every site; None: the noise multiplier was given instead.
        l2_norm_clip: most that a unit contributes to the sum, in L2 norm.
        expected_units: units in a step, across sites most of any site.
        draw: `medimg.privacy.draws.noise_seed.Secret.draw`; across sites each account has its own.
        unit: who is protected: `patient` or `client`.
        mechanism: in words.
        composition: across sites: why the total is what it is, a sentence.
    """

    delta: float
    budget_epsilon: float | None
    l2_norm_clip: float
    expected_units: int
    draw: str = ""
    unit: str = "patient"
    mechanism: str = "DP-SGD: Gaussian noise on the sum of clipped contributions"
    composition: str = ""

    @classmethod
    def of(cls, config, expected_units: int, **others: str) -> Self:
        """By options `dp_delta`, `dp_epsilon` and `dp_clip`; the others are attributes of their names."""
        return cls(config.dp_delta, config.dp_epsilon, config.dp_clip, expected_units, **others)


def require_finite_clip(config) -> None:
    """Refuse an infinite clip, whatever noise there is.

    Raises:
        InputError: it is infinite.
    """
    if config.dp_clip == float("inf"):
        raise InputError("--dp-clip inf: noise needs a finite clip")


def require_small_delta(config, units: int, name: str = "patient") -> None:
    """Refuse a delta that so many units do not allow.

    Args:
        config: options, of which `dp_delta` is read.
        units: number of patients or clients.
        name: of a unit.

    Raises:
        InputError: it is not below 1 / units.
    """
    if config.dp_delta >= 1 / units:
        raise InputError(
            f"--dp-delta {config.dp_delta:g}: must be below 1 / {units} {name}s, or a {name}'s data may be published "
            "outright within it"
        )


@dataclass(frozen=True)
class Account:
    """One site's.

    Attributes:
        mechanism: of each of its steps.
        draw: names its secret draws and all options.
        about: plain values that `privacy.json` also tells of it.
    """

    mechanism: Mechanism
    draw: str
    about: dict
