"""The privacy ledger of a Run: `privacy.json`, and its lines in the Dataset's ledger.

Steps are written down before they are run: `record("train", 0, 200)`, then steps 0 to 199, then the
checkpoint. Killed between the two, the ledger counts steps whose result was lost, never the other
way round; resumed, the training records the same steps again, which changes nothing
(`medimg.privacy.segments` says why that is right), runs them, and the count is exact. Epsilon is
computed from the events each time, so it is never added up wrongly. All steps are reserved in the
Dataset's ledger before the first one (`RunLedger.reserve`).
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from medimg import atomic
from medimg.errors import InputError
from medimg.privacy.accounting import epsilon_of
from medimg.privacy.assumptions import Circumstances, assumptions
from medimg.privacy.events import to_dict
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.segments import Segment, events_of, united
from medimg.privacy.spending import FILE, Spending, Spent, Stretch


@dataclass(frozen=True)
class Terms:
    """What a private training promises and how it keeps it.

    Attributes:
        delta: in (0, 1).
        budget_epsilon: claimed beforehand; None: the noise multiplier was given instead.
        l2_norm_clip: most that a unit contributes to the sum, in L2 norm.
        expected_units: units in a step.
        draw: `medimg.privacy.draws.noise_seed.Secret.draw`.
        unit: who is protected: `patient` or `client`.
        mechanism: in words.
    """

    delta: float
    budget_epsilon: float | None
    l2_norm_clip: float
    expected_units: int
    draw: str
    unit: str = "patient"
    mechanism: str = "DP-SGD: Gaussian noise on the sum of clipped contributions"


class RunLedger:
    """The ledger of one Run.

    Args:
        folder: the Run.
        terms: of the training.
        circumstances: decide the assumptions.
        dataset: the Dataset's folder; None: it has none.
        inherited: steps of Runs that this one continues on the same patients (`medimg.privacy.spending`).

    Raises:
        InputError: `privacy.json` or the Dataset's ledger exists and can't be read.
    """

    def __init__(
        self,
        folder: Path,
        terms: Terms,
        circumstances: Circumstances,
        dataset: Path | None = None,
        inherited: Iterable[Segment] = (),
    ):
        self.folder, self.terms, self.circumstances = Path(folder), terms, circumstances
        self.spending = Spending(folder, terms.unit, dataset, known(folder), inherited)

    @property
    def run(self) -> str:
        """Id of the Run."""
        return self.spending.run

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Its own steps."""
        return self.spending.own

    def reserve(
        self,
        settle: Callable[[Callable[..., float | None], tuple], Iterable[tuple[str, Mechanism, int]]],
        whole_dataset: bool = False,
    ) -> None:
        """Settle noise and steps while no other training can, and set them aside; before the first step.

        Args:
            settle: given `noise` and `previous`, returns phase, mechanism and number of steps of each phase planned.
                `noise(*phases)` is the noise multiplier that these phases have had on the same terms, or None;
                `previous` are DpEvents that the budget must cover as well.
            whole_dataset: the budget covers all Runs on the Dataset (`--dp-budget dataset`).

        Raises:
            InputError: of `settle`; or a Dataset's budget that can't be kept.
        """
        draw = self.terms.draw

        def stretches(spent: Spent) -> list[Stretch]:
            planned = settle(lambda *phases: spent.noise(draw, *phases), spent.previous(draw))
            return [Stretch(phase, draw, mechanism, ((0, steps),)) for phase, mechanism, steps in planned if steps]

        self.spending.reserve(stretches, whole_dataset)

    def record(self, phase: str, first: int, last: int, mechanism: Mechanism) -> dict[str, float]:
        """Write down steps first..last - 1 of a phase; call it before they are run.

        Args:
            phase: name of the phase.
            first: first step, counted from the start of the phase.
            last: one past the last.
            mechanism: of each of them.

        Returns:
            Epsilon of the Run with these steps (`epsilon_of`).

        Raises:
            InputError: the Run's folder can't be written, the Dataset's ledger can't be read, or what was reserved in
                it has been released.
        """
        if not 0 <= first < last:
            raise InputError(f"steps {first} to {last} of phase '{phase}': nothing to record")
        self.spending.record([Stretch(phase, self.terms.draw, mechanism, ((first, last),))])
        return self._write("running")

    def complete(self) -> dict[str, float]:
        """Mark the training as complete, add what all Runs on the Dataset have spent, release what is left over."""
        epsilon = self._write("complete")
        self.spending.release()
        return epsilon

    def _write(self, status: str) -> dict[str, float]:
        terms, spending = self.terms, self.spending
        epsilon = epsilon_of(spending.events(), terms.delta)
        circumstances = replace(
            self.circumstances, dataset_ledger=spending.unwritten, inherited=bool(spending.inherited)
        )
        content = {
            "run": self.run,
            "status": status,
            "mechanism": terms.mechanism,
            "unit": terms.unit,
            "neighbouring": f"add or remove one {terms.unit}",
            "delta": terms.delta,
            "epsilon": json_numbers(epsilon),
            "budget_epsilon": terms.budget_epsilon,
            "steps": sum(segment.steps for segment in self.segments),
            "l2_norm_clip": terms.l2_norm_clip,
            "expected_units": terms.expected_units,
            "accountant": f"dp-accounting {metadata.version('dp-accounting')}",
            "events": [
                {**s.to_dict(), "event": to_dict(s.event(terms.unit))} for s in (*spending.inherited, *spending.own)
            ],
            "assumptions": assumptions(circumstances),
        }
        if status == "complete":
            content["dataset"] = {
                "runs": spending.runs(),
                "epsilon": json_numbers(epsilon_of(spending.with_all_runs(), terms.delta)),
            }
        atomic.write_json(self.folder / FILE, content)
        return epsilon


def read(folder: Path) -> dict | None:
    """Content of a Run's `privacy.json`, None when it was not trained privately.

    Raises:
        InputError: it can't be read.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not readable as JSON; restore it: it says what was spent") from error
    if not isinstance(content, dict) or not {"run", "events"} <= set(content):
        raise InputError(f"{path}: 'run' or 'events' is missing; restore it: it says what was spent")
    return content


def is_private(options: Mapping) -> bool:
    """Whether a Run's options ask for differential privacy, by `train` or by `federate`."""
    given = (options.get(name) for name in ("dp_epsilon", "dp_noise_multiplier"))
    return any(value is not None for value in given) or options.get("dp", "none") != "none"


def of_run(folder: Path, options: Mapping) -> dict | None:
    """What a Run that leaves its folder must say: its `privacy.json`, None when it was not trained privately.

    Args:
        folder: the Run.
        options: of its config.yaml.

    Raises:
        InputError: it can't be read, or is gone though the options ask for privacy.
    """
    content = read(folder)
    if content is None and is_private(options):
        raise InputError(
            f"{Path(folder) / FILE}: missing, though the Run was trained privately; restore it: it says what was spent"
        )
    return content


def segments_of(content: dict) -> tuple[Segment, ...]:
    """The segments of a `privacy.json`.

    Raises:
        InputError: an event can't be read.
    """
    return tuple(Segment.from_dict(event) for event in content["events"])


def known(folder: Path) -> tuple[str, tuple[Segment, ...]] | None:
    """Id and steps of the Run that is in a folder already; None: it is new.

    Raises:
        InputError: its `privacy.json` can't be read.
    """
    content = read(folder)
    return (content["run"], segments_of(content)) if content else None


def total_epsilon(segments: Iterable[Segment], delta: float, unit: str = "patient") -> dict:
    """Epsilon of any segments together, e.g. `DatasetLedger.segments()`."""
    return epsilon_of(events_of(united(segments), unit), delta)


def json_numbers(epsilon: dict[str, float]) -> dict[str, float | str]:
    """Epsilons for JSON, which has no infinity; null would read as unknown."""
    return {name: "infinite" if math.isinf(value) else value for name, value in epsilon.items()}
