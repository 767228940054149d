"""The privacy ledger of a Run: `privacy.json`, and its lines in the Dataset's ledger.

Steps are written down before they are run: `record("train", 0, 200)`, then steps 0 to 199, then the
checkpoint. Killed between the two, the ledger counts steps whose result was lost, never the other
way round; resumed, the training records the same steps again, which changes nothing
(`medimg.privacy.segments` says why that is right), runs them, and the count is exact. Epsilon is
computed from the events each time, so it is never added up wrongly.
"""

import json
import math
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from medimg import atomic
from medimg.errors import InputError
from medimg.privacy.accounting import epsilon_of
from medimg.privacy.assumptions import Circumstances, assumptions
from medimg.privacy.dataset_ledger import DatasetLedger
from medimg.privacy.events import to_dict
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.segments import Segment, united

FILE = "privacy.json"


@dataclass(frozen=True)
class Terms:
    """What a private training promises and how it keeps it.

    Attributes:
        delta: in (0, 1).
        budget_epsilon: claimed beforehand; None: the noise multiplier was given instead.
        l2_norm_clip: most that a unit contributes to the sum, in L2 norm.
        expected_units: units in a step.
        draw: `medimg.privacy.secret.Secret.draw`.
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

    Raises:
        InputError: `privacy.json` or the Dataset's ledger exists and can't be read.
    """

    def __init__(
        self, folder: Path, terms: Terms, circumstances: Circumstances, dataset: Path | None = None
    ):
        self.folder, self.terms, self.circumstances = Path(folder), terms, circumstances
        self.dataset = DatasetLedger(dataset) if dataset is not None else None
        if self.dataset:
            # A broken ledger stops the training before its first step, not after its last.
            self.dataset.segments(terms.unit)
        existing = read(self.folder)
        self.run = existing["run"] if existing else uuid.uuid4().hex
        self.segments = segments_of(existing) if existing else ()

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
            InputError: the Run's folder can't be written, or the Dataset's ledger can't be read.
        """
        if not 0 <= first < last:
            raise InputError(f"steps {first} to {last} of phase '{phase}': nothing to record")
        ranges = ((first, last),)
        segment = Segment(self.run, phase, self.terms.draw, mechanism, ranges, self.terms.unit)
        # First where it outlives the Run.
        self._tell_dataset(segment)
        self.segments = united((*self.segments, segment))
        return self._write("running")

    def complete(self) -> dict[str, float]:
        """Mark the training as complete and add what all Runs on the Dataset have spent together."""
        return self._write("complete")

    def _tell_dataset(self, segment: Segment) -> None:
        why = "the data are built in" if self.dataset is None else ""
        if self.dataset is not None:
            try:
                self.dataset.append(segment, folder=str(self.folder.resolve()))
            except OSError as error:
                why = error.strerror or str(error)
        self.circumstances = replace(self.circumstances, dataset_ledger=why)

    def _write(self, status: str) -> dict[str, float]:
        epsilon = epsilon_of((s.event() for s in self.segments), self.terms.delta)
        terms = self.terms
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
            "events": [{**s.to_dict(), "event": to_dict(s.event())} for s in self.segments],
            "assumptions": assumptions(self.circumstances),
        }
        if status == "complete":
            content["dataset"] = self._all_runs()
        atomic.write_json(self.folder / FILE, content)
        return epsilon

    def _all_runs(self) -> dict:
        """Epsilon of this Run and every other on the Dataset, at this Run's delta."""
        others = self.dataset.events(self.terms.unit, but=self.run) if self.dataset else ()
        runs = self.dataset.runs(self.terms.unit) if self.dataset else []
        events = (*others, *(segment.event() for segment in self.segments))
        return {
            "runs": len({*runs, self.run}),
            "epsilon": json_numbers(epsilon_of(events, self.terms.delta)),
        }


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
        raise InputError(
            f"{path}: not readable as JSON; restore it: it says what was spent"
        ) from error
    if not isinstance(content, dict) or not {"run", "events"} <= set(content):
        raise InputError(
            f"{path}: 'run' or 'events' is missing; restore it: it says what was spent"
        )
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


def total_epsilon(segments: Iterable[Segment], delta: float) -> dict[str, float]:
    """Epsilon of any segments together, e.g. `DatasetLedger.segments()`."""
    return epsilon_of((segment.event() for segment in united(segments)), delta)


def json_numbers(epsilon: dict[str, float]) -> dict[str, float | str]:
    """Epsilons for JSON, which has no infinity; null would read as unknown."""
    return {name: "infinite" if math.isinf(value) else value for name, value in epsilon.items()}
