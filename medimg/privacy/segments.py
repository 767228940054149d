"""Steps that were released, counted once however often they are written down.

A segment is some steps of one training. Its key is (run, phase, draw, mechanism). `draw` names the
secret seed and all options, so equal keys and equal step numbers mean the same sample and the same
noise on the same state: when a killed training runs again from its checkpoint it computes the very
values that it computed before, nothing new about a patient comes out, and the union of the step
ranges is the right count. Anything else - another seed, another option, changed data - has another
draw, and its steps count again, even with the same numbers.

Where sums are made in another order (GPUs, threads) the two computations may differ in their last
bits. The first one's values went with the crash, so one of the two is released, and it has its noise.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from medimg.errors import InputError
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.summed_mechanism import SummedMechanism

# A step of a microsecond, for thirty years.
_MOST_STEPS = 10**15


@dataclass(frozen=True)
class Segment:
    """Steps of one training.

    Attributes:
        run: id of the Run.
        phase: name of the training's phase.
        draw: `medimg.privacy.draws.noise_seed.Secret.draw`.
        mechanism: of each step.
        ranges: disjoint, ascending [first step, one past the last).
        unit: who is protected: `patient` or `client`.
    """

    run: str
    phase: str
    draw: str
    mechanism: Mechanism
    ranges: tuple[tuple[int, int], ...]
    unit: str = "patient"

    @property
    def key(self) -> tuple:
        """What makes two segments parts of one training."""
        return (self.run, self.phase, self.draw, self.mechanism, self.unit)

    @property
    def steps(self) -> int:
        """Number of steps."""
        return sum(last - first for first, last in self.ranges)

    def event(self, unit: str = ""):
        """Its `dp_accounting.DpEvent`.

        Args:
            unit: whose loss is asked for; empty: that of the unit it protects. To a `patient` of a protected `client`
                half of the noise is of use: the client stays, and its update, still of norm at most the clip, may
                become any other one, so that the sum moves by up to twice the clip.
        """
        mechanism = self.mechanism
        if unit == "patient" and self.unit == "client":
            # Nothing is known of how sampling clients helps when the client stays.
            mechanism = Mechanism.shuffle(1, 0.5 * mechanism.noise_multiplier)
        return mechanism.event(self.ranges)

    def to_dict(self) -> dict:
        """Plain values for JSON."""
        return {**asdict(self), "ranges": [list(pair) for pair in self.ranges]}

    @classmethod
    def from_dict(cls, content: dict) -> "Segment":
        """From plain values.

        Raises:
            InputError: a value is missing or not of its kind.
        """
        try:
            fields = {key: content[key] for key in ("run", "phase", "draw", "unit")}
            values = content["mechanism"]
            mechanism = SummedMechanism(**values) if "shares" in values else Mechanism(**values)
            ranges = tuple((first, last) for first, last in content["ranges"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"not a record of private steps ({error})") from error
        if not all(isinstance(value, str) for value in fields.values()) or not _are_steps(ranges):
            raise InputError("not a record of private steps (a name or a range of another kind)")
        return cls(mechanism=mechanism, ranges=ranges, **fields)


def _are_steps(ranges: tuple) -> bool:
    """Whether each is [first step, one past the last) of a training that somebody could have made."""
    whole = all(type(step) is int for pair in ranges for step in pair)
    return whole and all(0 <= first <= last <= _MOST_STEPS for first, last in ranges)


def united(segments: Iterable[Segment]) -> tuple[Segment, ...]:
    """One segment for each training phase, in the order of their first mention, its ranges joined."""
    ranges: dict[tuple, list] = {}
    for segment in segments:
        ranges.setdefault(segment.key, []).extend(segment.ranges)
    return tuple(
        Segment(run, phase, draw, mechanism, joined(of_phase), unit)
        for (run, phase, draw, mechanism, unit), of_phase in ranges.items()
    )


def events_of(segments: Iterable[Segment], unit: str) -> tuple:
    """What segments have cost one unit, as DpEvents.

    Clients are different people, so of each training that protects whole clients the steps of the one that was asked
    most often count. They count for a patient too, who is inside one; for a client those for patients tell nothing.

    Args:
        segments: any, each of its steps once (`united`).
        unit: `patient` or `client`.
    """
    events, clients = [], {}
    for segment in segments:
        if segment.unit == unit == "patient":
            events.append(segment.event())
        elif segment.unit == "client":
            training = (segment.run, segment.draw, segment.mechanism)
            if training not in clients or clients[training].steps < segment.steps:
                clients[training] = segment
    return (*events, *(segment.event(unit) for segment in clients.values()))


def missing_from(ranges: Sequence[tuple[int, int]], taken: Sequence[tuple[int, int]]) -> bool:
    """Whether some of the steps are not among those taken."""
    return joined((*ranges, *taken)) != joined(taken)


def joined(ranges: Sequence[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Disjoint ascending ranges of the same steps."""
    result: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if result and first <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], last))
        elif last > first:
            result.append((first, last))
    return tuple(result)
