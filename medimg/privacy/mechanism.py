"""The mechanism of a private training: Gaussian noise on a clipped sum over sampled units."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from medimg.errors import InputError
from medimg.privacy.events import steps_per_pass

SAMPLINGS = ("poisson", "shuffle")


@dataclass(frozen=True)
class Mechanism:
    """One step's mechanism, as the accountants need it.

    A unit (a patient with all its images) contributes a vector of norm at most the clip; the sum
    over the sampled units gets Gaussian noise of standard deviation `noise_multiplier` x clip.

    Attributes:
        sampling: `poisson` (each unit independently, each step) or `shuffle` (each unit once a
            pass).
        sampling_probability: of a unit in a step. `shuffle`: 1 / steps_per_pass, and no privacy is
            drawn from it.
        steps_per_pass: batches that share all units out.
        noise_multiplier: standard deviation of the noise over the clip; 0: no privacy.
    """

    sampling: str
    sampling_probability: float
    steps_per_pass: int
    noise_multiplier: float = 0.0

    def __post_init__(self):
        if self.sampling not in SAMPLINGS:
            raise InputError(f"--dp-sampling {self.sampling}: choose one of {', '.join(SAMPLINGS)}")
        if not 0.0 < self.sampling_probability <= 1.0:
            raise InputError(f"sampling probability {self.sampling_probability}: must be above 0 and at most 1")
        if not (isinstance(self.steps_per_pass, int) and self.steps_per_pass >= 1):
            raise InputError(f"steps of a pass {self.steps_per_pass}: must be a whole number of at least 1")
        if not self.noise_multiplier >= 0.0:
            raise InputError(f"--dp-noise-multiplier {self.noise_multiplier}: must be at least 0")

    @classmethod
    def poisson(cls, sampling_probability: float, noise_multiplier: float = 0.0) -> "Mechanism":
        """Each unit in each step with this probability."""
        passes = steps_per_pass(sampling_probability) if sampling_probability > 0 else 1
        return cls("poisson", sampling_probability, passes, noise_multiplier)

    @classmethod
    def shuffle(cls, steps_per_pass: int, noise_multiplier: float = 0.0) -> "Mechanism":
        """Each unit in one step of every `steps_per_pass`; 1: every unit in every step."""
        return cls("shuffle", 1.0 / steps_per_pass, steps_per_pass, noise_multiplier)

    def event(self, ranges: Sequence[tuple[int, int]]):
        """The `dp_accounting.DpEvent` of some steps of one training.

        Args:
            ranges: disjoint [first step, one past the last), counted from the first step of the
                phase.

        Returns:
            `poisson`: the sampled Gaussian, composed over the steps. `shuffle`: the Gaussian,
            composed over the passes that the steps touch: a unit is in one batch of each, and the
            batch may be known.
        """
        from dp_accounting import dp_event

        gaussian = dp_event.GaussianDpEvent(self.noise_multiplier)
        if self.sampling == "poisson":
            count = sum(last - first for first, last in ranges)
            if self.sampling_probability < 1.0:
                gaussian = dp_event.PoissonSampledDpEvent(self.sampling_probability, gaussian)
        else:
            count = self._passes(ranges)
        return dp_event.SelfComposedDpEvent(gaussian, count)

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return asdict(self)

    def _passes(self, ranges: Sequence[tuple[int, int]]) -> int:
        """Number of passes that the steps touch."""
        touched, done = 0, 0
        for first, last in sorted(ranges):
            if last > first:
                start, end = max(first // self.steps_per_pass, done), (last - 1) // self.steps_per_pass + 1
                touched, done = touched + max(end - start, 0), max(end, done)
        return touched
