"""What one Run spends: its own steps and those it inherits, reserved and recorded in the Dataset's ledger too.

Weights that a private Run made carry what that Run learnt of its patients. A training on the same
patients that starts from them has cost those patients both, so the source's steps are **inherited**:
they count in the new Run's epsilon, and once, however many ledgers tell of them, because they keep
the id of the Run that made them.
"""

import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from medimg import atomic
from medimg.errors import InputError
from medimg.privacy.dataset_ledger import DatasetLedger, Entries
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.segments import Segment, events_of, missing_from, united
from medimg.untrusted.json_file import read_json
from medimg.untrusted.printable import printable

# Of a Run.
FILE = "privacy.json"
BUILT_IN = "the data are built in"


@dataclass(frozen=True)
class Stretch:
    """Steps that a training plans.

    Attributes:
        phase: its phase, or the site that makes them.
        draw: `medimg.privacy.draws.noise_seed.Secret.draw`.
        mechanism: of each step.
        ranges: [first step, one past the last).
    """

    phase: str
    draw: str
    mechanism: Mechanism
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Spent:
    """What a budget must cover beside the steps that are being planned.

    Attributes:
        run: id of the Run that plans.
        unit: who is protected.
        own: the Run's recorded steps.
        reserved: those that it had planned before.
        others: steps of other Runs that count.
    """

    run: str
    unit: str
    own: tuple[Segment, ...]
    reserved: tuple[Segment, ...]
    others: tuple[Segment, ...]

    def noise(self, draw: str, *phases: str) -> float | None:
        """The noise multiplier of what these phases have reserved or recorded on the same terms: it stays.

        Other noise under the same draw would let the common part of the two be taken off.
        """
        for segment in (*self.reserved, *self.own):
            if segment.draw == draw and segment.phase in phases:
                return segment.mechanism.noise_multiplier
        return None

    def previous(self, draw: str, only: str | None = None) -> tuple:
        """DpEvents that were spent on other terms, here or by others.

        Args:
            draw: of the steps that are being planned, which are not among them.
            only: a site; what the Run's other sites spend costs its patients nothing.
        """
        segments = [
            s
            for s in self.own
            if only in (None, s.phase)
            # Versions that chose their noise anew when they went on have left two under one draw.
            and not (s.draw == draw and s.mechanism.noise_multiplier == self.noise(draw, s.phase))
        ]
        return events_of(united((*self.others, *segments)), self.unit)


class Spending:
    """The steps of one Run, in memory and in the Dataset's ledger.

    Args:
        folder: the Run.
        unit: who is protected.
        dataset: the Dataset's folder; None: it has none.
        existing: the Run's id and steps so far; None: it is new.
        inherited: steps of Runs whose weights or rows this one started from.

    Attributes:
        run: id.
        own: steps recorded.
        inherited: as given, with those of an earlier beginning of the Run.
        unwritten: why the Dataset's ledger could not be written; empty: it was.

    Raises:
        InputError: the Dataset's ledger exists and can't be read.
    """

    def __init__(
        self,
        folder: Path,
        unit: str,
        dataset: Path | None,
        existing: tuple[str, tuple[Segment, ...]] | None = None,
        inherited: Iterable[Segment] = (),
    ):
        self.folder, self.unit = Path(folder), unit
        self.dataset = DatasetLedger(dataset) if dataset is not None else None
        self.unwritten = "" if self.dataset else BUILT_IN
        if self.dataset:
            # A broken ledger stops the training before its first step, not after its last.
            self.dataset.entries()
        self.run, segments = existing or (uuid.uuid4().hex, ())
        self.own = tuple(segment for segment in segments if segment.run == self.run)
        earlier = tuple(segment for segment in segments if segment.run != self.run)
        self.inherited = united((*earlier, *inherited))
        self._holds = False

    def reserve(self, settle: Callable[[Spent], Iterable[Stretch]], whole_dataset: bool = False) -> None:
        """Settle what will be spent and set it aside; call it once, before the first step.

        Args:
            settle: what was spent before -> the steps planned.
            whole_dataset: the budget covers all Runs on the Dataset.

        Raises:
            InputError: of `settle`; or a budget of the whole Dataset whose ledger can't be written.
        """

        def planned(entries: Entries) -> list[Segment]:
            recorded, reserved = (
                tuple(s for s in segments if s.run == self.run) for segments in (entries.recorded, entries.reserved)
            )
            # Of a Run that was copied, or whose privacy.json is an older one, the Dataset's ledger knows more.
            self.own = united((*self.own, *recorded))
            others = entries.others(self.run) if whole_dataset else ()
            spent = Spent(
                self.run,
                self.unit,
                self.own,
                reserved,
                united((*others, *self.inherited)),
            )
            return [self._segment(stretch) for stretch in settle(spent)]

        self._keep_id()
        why = BUILT_IN
        if self.dataset:
            try:
                self.dataset.reserve(self.run, planned, self.inherited, folder=str(self.folder.resolve()))
            except OSError as error:
                why = error.strerror or str(error)
            else:
                self._holds = True
                return
        if whole_dataset:
            raise InputError(
                f"--dp-budget dataset: the Dataset's privacy_ledger.jsonl can't be written ({why}), so no budget of "
                "all Runs can be kept; make it writable, or use --dp-budget run"
            )
        self.unwritten = why
        planned(Entries())

    def record(self, stretches: Iterable[Stretch], **about: str) -> tuple[Segment, ...]:
        """Write down steps; call it before they are run.

        Args:
            stretches: the steps.
            **about: plain values for the reader of the Dataset's ledger.

        Returns:
            The steps as segments.

        Raises:
            InputError: the Dataset's ledger can't be read, or what was reserved in it is gone.
        """
        segments = tuple(map(self._segment, stretches))
        # First where it outlives the Run.
        for segment in segments:
            self._tell_dataset(segment, **about)
        self.own = united((*self.own, *segments))
        return segments

    def require_no_copy(self) -> None:
        """Refuse to go on beside another folder of the same Run: what noise is new each time would count once.

        Raises:
            InputError: the Dataset's ledger tells of a folder that holds the Run too.
        """
        last = self.dataset.entries().folders.get(self.run, "") if self.dataset else ""
        if last and Path(last) != self.folder.resolve() and _run_in(Path(last)) == self.run:
            raise InputError(
                f"{self.folder}: is a copy of {printable(last)}, or that of it; the noise of the two would differ and "
                "the ledger would count it once: go on with the other, or remove it first"
            )

    def require_counted(self, phase: str, ranges: Iterable[tuple[int, int]]) -> None:
        """Refuse to go on from steps that nothing counts, whatever they were drawn by.

        Args:
            phase: its phase, or the site that made them.
            ranges: [first step, one past the last) of what the checkpoint has.

        Raises:
            InputError: some are not recorded.
        """
        counted = [pair for segment in self.own if segment.phase == phase for pair in segment.ranges]
        if missing_from(tuple(ranges), counted):
            raise InputError(
                f"{self.folder / FILE}: does not count steps of '{printable(phase)}' that the checkpoint has made: it "
                "is older than the checkpoint, or new; put back the one that was beside it, or train anew by "
                "--overwrite"
            )

    def require_sites_counted(self, ranges: Mapping[str, tuple[int, int]]) -> None:
        """The same of sites, by their names."""
        for name, steps in ranges.items():
            self.require_counted(name, [steps])

    def covers(self, stretch: Stretch) -> bool:
        """Whether these steps are recorded already."""
        return united((*self.own, self._segment(stretch))) == united(self.own)

    def release(self) -> None:
        """The training has ended: what was reserved and not recorded is free for others."""
        if self._holds and self.dataset:
            # Left standing it is counted as spent, which overstates.
            with suppress(OSError):
                self.dataset.release(self.run)

    def events(self, phase: str | None = None) -> tuple:
        """DpEvents of the Run, of all its phases or of one, with what it has inherited."""
        segments = (s for s in self.own if phase in (None, s.phase))
        return events_of(united((*self.inherited, *segments)), self.unit)

    def with_all_runs(self, phase: str | None = None) -> tuple:
        """DpEvents of this Run, of all its phases or of one, and of every other on the Dataset."""
        segments = (s for s in self.own if phase in (None, s.phase))
        return events_of(united((*self._others(), *self.inherited, *segments)), self.unit)

    def runs(self) -> int:
        """How many Runs there are on the Dataset, with this one and those it has inherited from."""
        there = self.dataset.runs(self.unit) if self.dataset else ()
        return len({*there, self.run, *(segment.run for segment in self.inherited)})

    def _keep_id(self) -> None:
        """Killed after it has reserved, the Run must find what is its own."""
        path = self.folder / FILE
        if not path.is_file():
            begun = {"run": self.run, "status": "running", "unit": self.unit, "events": []}
            atomic.write_json(path, begun)

    def _others(self) -> tuple[Segment, ...]:
        return self.dataset.entries().others(self.run) if self.dataset else ()

    def _segment(self, stretch: Stretch) -> Segment:
        return Segment(self.run, stretch.phase, stretch.draw, stretch.mechanism, stretch.ranges, self.unit)

    def _tell_dataset(self, segment: Segment, **about: str) -> None:
        if self.dataset is None:
            return
        try:
            self.dataset.append(segment, self._holds, folder=str(self.folder.resolve()), **about)
        except OSError as error:
            why = error.strerror or str(error)
            if self._holds:
                # Steps that the ledger does not know might be released as if they had never been run.
                raise InputError(
                    f"{self.dataset.path}: can't be written ({why}), so no step may be run; make room or make it "
                    "writable, and --resume"
                ) from error
            self.unwritten = why


def _run_in(folder: Path) -> str | None:
    """Id of the private Run in a folder; None where none can be told."""
    with suppress(InputError, OSError, ValueError):
        path = folder / FILE
        return read_json(path).get("run") if path.is_file() else None
    return None
