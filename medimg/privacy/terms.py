"""What a private training promises, and the account of each site where several share it."""

from dataclasses import dataclass

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
