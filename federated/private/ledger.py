"""The privacy ledger of a federation: `privacy.json` with every site's account, and lines in the Dataset's ledger.

A round is written down before its updates are asked for: killed in between, the ledger counts steps whose result was
lost, never the other way round; resumed, the same steps are recorded again, which changes nothing
(`medimg.privacy.segments`).

The sites' patients are different people, so what is spent at one site costs the patients of another nothing: the total
is the largest of the sites' (parallel composition, McSherry 2009), not their sum.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from medimg import atomic
from medimg.errors import InputError
from medimg.privacy.accounting import epsilon_of
from medimg.privacy.events import to_dict
from medimg.privacy.ledger import json_numbers
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.segments import Segment
from medimg.privacy.spending import FILE, Spending, Stretch


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
        assumptions: why the Dataset's ledger could not be written (empty: it was), and whether steps of other Runs were
            inherited -> sentences.
        spending: of the Run; its steps are reserved.
    """

    def __init__(
        self,
        folder: Path,
        terms: FederatedTerms,
        accounts: dict[str, Account],
        assumptions: Callable[[str, bool], list[str]],
        spending: Spending,
    ):
        self.folder, self.terms, self.accounts = Path(folder), terms, accounts
        self._assumptions, self.spending = assumptions, spending

    def record(self, ranges: dict[str, tuple[int, int]]) -> dict:
        """Write down steps of some sites; call it before they are asked for.

        Args:
            ranges: site -> (first step, one past the last), counted from the site's first.

        Returns:
            For the audit log: `unit`, `delta`, the total's `epsilon` after these steps, and the sites' DpEvents.

        Raises:
            InputError: the Run's folder can't be written, the Dataset's ledger can't be read, or what was reserved in
                it has been released.
        """
        stretches = [self._stretch(name, steps) for name, steps in ranges.items()]
        segments = [segment for stretch in stretches for segment in self.spending.record([stretch], site=stretch.phase)]
        content = self._write("running")
        told = {name: content[name] for name in ("unit", "delta", "epsilon")}
        return {**told, "events": {s.phase: to_dict(s.event()) for s in segments}}

    def complete(self) -> None:
        """Mark the training as complete, add what all Runs on the Dataset have spent, release what is left over."""
        self._write("complete")
        self.spending.release()

    def summary(self) -> dict:
        """Unit, delta, the total's epsilon and each site's account, without events."""
        sites = {name: self._site(name) for name in self.accounts}
        largest = _largest([site["epsilon"] for site in sites.values()])
        told = {name: {**site, "epsilon": json_numbers(site["epsilon"])} for name, site in sites.items()}
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
        return sum(s.steps for s in self.spending.own if s.phase == site and s.draw == draw)

    def covers(self, site: str, steps: tuple[int, int]) -> bool:
        """Whether these steps of a site are recorded already, on today's terms: a round that is repeated."""
        return self.spending.covers(self._stretch(site, steps))

    def _stretch(self, site: str, steps: tuple[int, int]) -> Stretch:
        first, last = steps
        if not 0 <= first < last:
            raise InputError(f"client {site}: steps {first} to {last}: nothing to record")
        account = self.accounts[site]
        return Stretch(site, account.draw, account.mechanism, (steps,))

    def _write(self, status: str) -> dict:
        terms = self.terms
        sites = {name: self._site(name) for name in self.accounts}
        content = {
            "run": self.spending.run,
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
            "events": [
                *(self._event(segment) for segment in self.spending.inherited),
                *(self._event(segment, segment.phase) for segment in self.spending.own),
            ],
            "sites": {name: {**site, "epsilon": json_numbers(site["epsilon"])} for name, site in sites.items()},
            "assumptions": self._assumptions(
                self.spending.unwritten if self.spending.dataset else "", bool(self.spending.inherited)
            ),
        }
        if status == "complete" and self.spending.dataset:
            content["dataset"] = self._all_runs()
        atomic.write_json(self.folder / FILE, content)
        return content

    def _site(self, name: str) -> dict:
        account = self.accounts[name]
        own = [s for s in self.spending.own if s.phase == name]
        return {
            "epsilon": epsilon_of(self.spending.events(name), self.terms.delta),
            "steps": sum(s.steps for s in own),
            "noise_multiplier": account.mechanism.noise_multiplier,
            "sampling_probability": account.mechanism.sampling_probability,
            **account.about,
            "events": [self._event(segment, name) for segment in own],
        }

    def _event(self, segment: Segment, site: str = "") -> dict:
        about = {"site": site} if site else {}
        return {**segment.to_dict(), **about, "event": to_dict(segment.event(self.terms.unit))}

    def _all_runs(self) -> dict:
        """Of this Run and every other on the Dataset, at this Run's delta, for the patients who lost most."""
        each = [epsilon_of(self.spending.with_all_runs(site), self.terms.delta) for site in self.accounts]
        return {"runs": self.spending.runs(), "epsilon": json_numbers(_largest(each))}


def _largest(epsilons: list[dict[str, float]]) -> dict[str, float]:
    return {name: max(epsilon[name] for epsilon in epsilons) for name in epsilons[0]}
