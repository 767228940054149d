"""The privacy ledger of a federation: `privacy.json` with every site's account, and lines in the Dataset's ledger.

A round is written down before its updates are asked for: killed in between, the ledger counts steps whose result was
lost, never the other way round; resumed, the same steps are recorded again, which changes nothing
(`medimg.privacy.segments`).

The sites' patients are different people, so what is spent at one site costs the patients of another nothing: the total
is the largest of the sites' (parallel composition, McSherry 2009), not their sum.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from medimg import atomic
from medimg.errors import InputError
from medimg.privacy.accounting import epsilon_of
from medimg.privacy.dataset_ledger import DatasetLedger
from medimg.privacy.events import to_dict
from medimg.privacy.ledger import FILE, json_numbers, read, segments_of
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.segments import Segment, united


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


@dataclass(frozen=True)
class FederatedTerms:
    """What a private federation promises.

    Attributes:
        unit: who is protected, `patient` or `client`.
        mechanism: in words.
        composition: why the total is what it is, a sentence.
        delta: in (0, 1).
        budget_epsilon: of every site; None: the noise was given instead.
        l2_norm_clip: most that a unit contributes.
        expected_units: most units in a step of any site.
    """

    unit: str
    mechanism: str
    composition: str
    delta: float
    budget_epsilon: float | None
    l2_norm_clip: float
    expected_units: int


class FederatedLedger:
    """The ledger of one federated Run.

    Args:
        folder: the Run.
        terms: of the training.
        accounts: by site.
        assumptions: why the Dataset's ledger could not be written (empty: it was) -> sentences.
        dataset: the Dataset's folder; None: the data stay at the sites.

    Raises:
        InputError: `privacy.json` or the Dataset's ledger exists and can't be read.
    """

    def __init__(
        self,
        folder: Path,
        terms: FederatedTerms,
        accounts: dict[str, Account],
        assumptions: Callable[[str], list[str]],
        dataset: Path | None = None,
    ):
        self.folder, self.terms, self.accounts = Path(folder), terms, accounts
        self._assumptions, self._unwritten = assumptions, ""
        self.dataset = DatasetLedger(dataset) if dataset is not None else None
        if self.dataset:
            # A broken ledger stops the training before its first round, not after its last.
            self.dataset.segments(terms.unit)
        existing = read(self.folder)
        self.run = existing["run"] if existing else uuid.uuid4().hex
        self.segments = segments_of(existing) if existing else ()

    def record(self, ranges: dict[str, tuple[int, int]]) -> dict:
        """Write down steps of some sites; call it before they are asked for.

        Args:
            ranges: site -> (first step, one past the last), counted from the site's first.

        Returns:
            For the audit log: `unit`, `delta`, the total's `epsilon` after these steps, and the sites' DpEvents.

        Raises:
            InputError: the Run's folder can't be written, or the Dataset's ledger can't be read.
        """
        segments = [self._segment(name, steps) for name, steps in ranges.items()]
        # First where it outlives the Run.
        for segment in segments:
            self._tell_dataset(segment)
        self.segments = united((*self.segments, *segments))
        content = self._write("running")
        told = {name: content[name] for name in ("unit", "delta", "epsilon")}
        return {**told, "events": {s.phase: to_dict(s.event()) for s in segments}}

    def complete(self) -> None:
        """Mark the training as complete and add what all Runs on the Dataset have spent together."""
        self._write("complete")

    def summary(self) -> dict:
        """Unit, delta, the total's epsilon and each site's account, without events."""
        sites = {name: self._site(name) for name in self.accounts}
        largest = _largest([site["epsilon"] for site in sites.values()])
        told = {
            name: {**site, "epsilon": json_numbers(site["epsilon"])} for name, site in sites.items()
        }
        for site in told.values():
            del site["events"]
        return {
            "unit": self.terms.unit,
            "delta": self.terms.delta,
            "total": {"epsilon": json_numbers(largest)},
            "sites": told,
        }

    def steps(self, site: str) -> int:
        """Steps of a site that are recorded on today's terms."""
        draw = self.accounts[site].draw
        return sum(s.steps for s in self.segments if s.phase == site and s.draw == draw)

    def covers(self, site: str, steps: tuple[int, int]) -> bool:
        """Whether these steps of a site are recorded already, on today's terms: a round that is repeated."""
        return united((*self.segments, self._segment(site, steps))) == united(self.segments)

    def _segment(self, site: str, steps: tuple[int, int]) -> Segment:
        first, last = steps
        if not 0 <= first < last:
            raise InputError(f"client {site}: steps {first} to {last}: nothing to record")
        account = self.accounts[site]
        return Segment(self.run, site, account.draw, account.mechanism, (steps,), self.terms.unit)

    def _tell_dataset(self, segment: Segment) -> None:
        if self.dataset is None:
            return
        try:
            self.dataset.append(segment, folder=str(self.folder.resolve()), site=segment.phase)
        except OSError as error:
            self._unwritten = error.strerror or str(error)

    def _write(self, status: str) -> dict:
        terms = self.terms
        sites = {name: self._site(name) for name in self.accounts}
        content = {
            "run": self.run,
            "status": status,
            "mechanism": terms.mechanism,
            "unit": terms.unit,
            "neighbouring": f"add or remove one {terms.unit}",
            "delta": terms.delta,
            "epsilon": json_numbers(_largest([site["epsilon"] for site in sites.values()])),
            "composition": terms.composition,
            "budget_epsilon": terms.budget_epsilon,
            "steps": max(site["steps"] for site in sites.values()),
            "l2_norm_clip": terms.l2_norm_clip,
            "expected_units": terms.expected_units,
            "accountant": f"dp-accounting {metadata.version('dp-accounting')}",
            "events": [self._event(segment) for segment in self.segments],
            "sites": {
                name: {**site, "epsilon": json_numbers(site["epsilon"])}
                for name, site in sites.items()
            },
            "assumptions": self._assumptions(self._unwritten),
        }
        if status == "complete" and self.dataset:
            content["dataset"] = self._all_runs()
        atomic.write_json(self.folder / FILE, content)
        return content

    def _site(self, name: str) -> dict:
        account, own = self.accounts[name], [s for s in self.segments if s.phase == name]
        return {
            "epsilon": epsilon_of((s.event() for s in own), self.terms.delta),
            "steps": sum(s.steps for s in own),
            "noise_multiplier": account.mechanism.noise_multiplier,
            "sampling_probability": account.mechanism.sampling_probability,
            **account.about,
            "events": [self._event(segment) for segment in own],
        }

    def _event(self, segment: Segment) -> dict:
        return {**segment.to_dict(), "site": segment.phase, "event": to_dict(segment.event())}

    def _all_runs(self) -> dict:
        """Of this Run and every other on the Dataset, at this Run's delta, for the patients who lost most."""
        unit = self.terms.unit
        others = self.dataset.events(unit, but=self.run)
        each = [
            epsilon_of(
                (*others, *(s.event() for s in self.segments if s.phase == site)), self.terms.delta
            )
            for site in self.accounts
        ]
        return {
            "runs": len({*self.dataset.runs(unit), self.run}),
            "epsilon": json_numbers(_largest(each)),
        }


def _largest(epsilons: list[dict[str, float]]) -> dict[str, float]:
    return {name: max(epsilon[name] for epsilon in epsilons) for name in epsilons[0]}
