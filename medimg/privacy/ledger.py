"""The privacy ledger of a Run: `privacy.json`, and its lines in the Dataset's ledger.

Steps are written down before they are run: `record("train", 0, 200)`, then steps 0 to 199, then the
checkpoint. Killed between the two, the ledger counts steps whose result was lost, never the other
way round; resumed, the training records the same steps again, which changes nothing
(`medimg.privacy.segments` says why that is right), runs them, and the count is exact. Epsilon is
computed from the events each time, so it is never added up wrongly. All steps are reserved in the
Dataset's ledger before the first one (`Ledger.reserve`).

Where sites train together each has an account. Their patients are different people, so what is spent at one site costs
those of another nothing: the total is the largest of the sites' (parallel composition, McSherry 2009), not their sum.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from medimg import atomic
from medimg.errors import InputError
from medimg.privacy.accounting import epsilon_of, largest
from medimg.privacy.assumptions import Circumstances, assumptions
from medimg.privacy.events import json_numbers, to_dict
from medimg.privacy.mechanism import Mechanism
from medimg.privacy.segments import Segment
from medimg.privacy.spending import FILE, Spending, Spent, Stretch
from medimg.privacy.terms import Account, Terms
from medimg.untrusted.json_file import read_json


class Ledger:
    """The ledger of one Run, central or federated.

    Args:
        spending: of the Run.
        terms: of the training.
        circumstances: decide the assumptions.
        accounts: by site, whose steps are reserved; None: the training is central.
        sentences: circumstances -> the assumptions in words.

    Attributes:
        folder: the Run.
        run: its id.
    """

    def __init__(
        self,
        spending: Spending,
        terms: Terms,
        circumstances: Circumstances,
        accounts: Mapping[str, Account] | None = None,
        sentences: Callable[[Circumstances], list[str]] = assumptions,
    ):
        self.spending, self.terms, self.circumstances = spending, terms, circumstances
        self.accounts, self._sentences = accounts or {}, sentences
        self.folder, self.run = spending.folder, spending.run

    @classmethod
    def of(
        cls,
        folder: Path,
        terms: Terms,
        circumstances: Circumstances,
        dataset: Path | None = None,
        inherited: Iterable[Segment] = (),
    ) -> "Ledger":
        """Of a central training, nothing of which is reserved yet.

        Args:
            folder: the Run.
            terms: of the training.
            circumstances: decide the assumptions.
            dataset: the Dataset's folder; None: it has none.
            inherited: steps of Runs that this one continues on the same patients (`medimg.privacy.spending`).

        Raises:
            InputError: `privacy.json` or the Dataset's ledger exists and can't be read.
        """
        return cls(Spending(folder, terms.unit, dataset, known(folder), inherited), terms, circumstances)

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
                it has been released; or steps before these are not recorded.
        """
        if not 0 <= first < last:
            raise InputError(f"steps {first} to {last} of phase '{phase}': nothing to record")
        self.require_counted(phase, first)
        self.spending.record([Stretch(phase, self.terms.draw, mechanism, ((first, last),))])
        return self._write("running")

    def require_counted(self, phase: str, steps: int) -> None:
        """Refuse a checkpoint with more steps of a phase than are recorded (`Spending.require_counted`)."""
        self.spending.require_counted(phase, [(0, steps)])

    def record_sites(self, ranges: Mapping[str, tuple[int, int]]) -> dict:
        """Write down steps of some sites; call it before they are asked for.

        Args:
            ranges: site -> (first step, one past the last), counted from the site's first.

        Returns:
            For the audit log: `unit`, `delta`, the total's `epsilon` after these steps, and the sites' DpEvents.

        Raises:
            InputError: as of `record`.
        """
        stretches = [self._stretch(name, steps) for name, steps in ranges.items()]
        segments = [made for one in stretches for made in self.spending.record([one], site=one.phase)]
        epsilon = json_numbers(self._write("running"))
        events = {segment.phase: to_dict(segment.event()) for segment in segments}
        return {"unit": self.terms.unit, "delta": self.terms.delta, "epsilon": epsilon, "events": events}

    def complete(self) -> dict[str, float]:
        """Mark the training as complete, add what all Runs on the Dataset have spent, release what is left over."""
        epsilon = self._write("complete")
        self.spending.release()
        return epsilon

    def summary(self) -> dict:
        """Of sites: unit, delta, the total's epsilon and each site's account, without events."""
        sites = {name: self._site(name) for name in self.accounts}
        total = {"epsilon": json_numbers(largest([site["epsilon"] for site in sites.values()]))}
        for site in sites.values():
            del site["events"]
        return {"unit": self.terms.unit, "delta": self.terms.delta, "total": total, "sites": _in_json(sites)}

    def steps(self, site: str) -> int:
        """Steps of a site that are recorded on today's terms."""
        draw = self.accounts[site].draw
        return sum(s.steps for s in self.spending.own if s.phase == site and s.draw == draw)

    def covers(self, site: str, steps: tuple[int, int]) -> bool:
        """Whether these steps of a site are recorded already, on today's terms: a round that is repeated."""
        return self.spending.covers(self._stretch(site, steps))

    def _stretch(self, site: str, steps: tuple[int, int]) -> Stretch:
        if not 0 <= steps[0] < steps[1]:
            raise InputError(f"client {site}: steps {steps[0]} to {steps[1]}: nothing to record")
        return Stretch(site, self.accounts[site].draw, self.accounts[site].mechanism, (steps,))

    def _write(self, status: str) -> dict[str, float]:
        """Write privacy.json; gives the total's epsilon."""
        terms, spending = self.terms, self.spending
        sites = {name: self._site(name) for name in self.accounts}
        of_sites = [site["epsilon"] for site in sites.values()]
        epsilon = largest(of_sites or [epsilon_of(spending.events(), terms.delta)])
        steps = [site["steps"] for site in sites.values()] or [sum(segment.steps for segment in spending.own)]
        content = {
            "run": self.run,
            "status": status,
            "mechanism": terms.mechanism,
            "unit": terms.unit,
            "neighbouring": f"add or remove one {terms.unit}",
            "delta": terms.delta,
            "epsilon": json_numbers(epsilon),
            **({"composition": terms.composition} if sites else {}),
            "budget_epsilon": terms.budget_epsilon,
            "steps": max(steps),
            "l2_norm_clip": terms.l2_norm_clip,
            "expected_units": terms.expected_units,
            "accountant": f"dp-accounting {metadata.version('dp-accounting')}",
            "events": [*map(self._event, spending.inherited), *(self._event(s, bool(sites)) for s in spending.own)],
            **({"sites": _in_json(sites)} if sites else {}),
            "assumptions": self._assumptions(),
        }
        if status == "complete" and not self._elsewhere:
            content["dataset"] = self._all_runs()
        atomic.write_json(self.folder / FILE, content)
        return epsilon

    @property
    def _elsewhere(self) -> bool:
        """Whether the sites' patients are at workers of their own, where other Runs' steps are not known."""
        return bool(self.accounts) and not self.spending.dataset

    def _assumptions(self) -> list[str]:
        spending = self.spending
        why = "" if self._elsewhere else spending.unwritten
        return self._sentences(replace(self.circumstances, dataset_ledger=why, inherited=bool(spending.inherited)))

    def _site(self, name: str) -> dict:
        account = self.accounts[name]
        segments = [s for s in self.spending.own if s.phase == name]
        return {
            "epsilon": epsilon_of(self.spending.events(name), self.terms.delta),
            "steps": sum(s.steps for s in segments),
            "noise_multiplier": account.mechanism.noise_multiplier,
            "sampling_probability": account.mechanism.sampling_probability,
            **account.about,
            "events": [self._event(segment, True) for segment in segments],
        }

    def _event(self, segment: Segment, of_site: bool = False) -> dict:
        about = {"site": segment.phase} if of_site else {}
        return {**segment.to_dict(), **about, "event": to_dict(segment.event(self.terms.unit))}

    def _all_runs(self) -> dict:
        """Of this Run and every other on the Dataset, at this Run's delta, for the patients who lost most."""
        phases = list(self.accounts) or [None]
        each = [epsilon_of(self.spending.with_all_runs(phase), self.terms.delta) for phase in phases]
        return {"runs": self.spending.runs(), "epsilon": json_numbers(largest(each))}


def _in_json(sites: dict[str, dict]) -> dict[str, dict]:
    return {name: {**site, "epsilon": json_numbers(site["epsilon"])} for name, site in sites.items()}


def read(folder: Path) -> dict | None:
    """Content of a Run's `privacy.json`, None when it was not trained privately.

    Raises:
        InputError: it can't be read.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    return read_json(path, "restore it: it says what was spent", ("run", "events"))


def is_private(options: Mapping) -> bool:
    """Whether a Run's options ask for differential privacy, by `train` or by `federate`."""
    budgets = (options.get(name) for name in ("dp_epsilon", "dp_noise_multiplier"))
    return any(value is not None for value in budgets) or options.get("dp", "none") != "none"


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
