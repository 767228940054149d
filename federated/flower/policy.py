"""policy.yaml: what a site allows whoever coordinates. The site refuses by it; the coordinator can't override it."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path

from federated.config import FederateConfig
from federated.flower import runs
from federated.flower.keys import Party
from federated.flower.policy_entries import entries
from federated.secure.terms import SumTerms
from medimg.errors import InputError
from medimg.untrusted.printable import printable


class PolicyError(InputError):
    """What a site won't do, in words that may leave it: they hold nothing of its data."""


@dataclass(frozen=True)
class Policy:
    """What a site allows.

    Attributes:
        coordinators: whose messages are answered.
        sites: whom it sums securely with; (): those that the coordinator names.
        models, strategies: allowed; (): all.
        most_rounds: of a run.
        most_runs: that may ever be taken part in; 0: any number.
        secure: `required`: updates leave in a secure sum alone; `masking` or `ckks`: in one of that kind; `optional`.
        fewest_sites: of a secure sum.
        fewest_patients: below which the site takes part in nothing, and tells no metric of a part or sum of a class.
        fewest_rows: of a step but a pass's last, with privacy patients: the update of a step of one is that row.
        dp_unit: `patient`: the site trains with differential privacy alone; `none`: it need not.
        dp_epsilon: most of a run.
        dp_delta: most of a run.
        dp_noise: `local`: the site adds all the noise by itself; `distributed`: or a share of it, where fewer than
            half of the sites that it lists may collude.
        dp_budget: most epsilon over all runs, of the Dataset's ledger; None: no limit.
        statistics: counts and sums of its training rows may leave, as columns are scaled by them; where updates leave
            in a secure sum alone, in masked sums alone.
        metrics: its own test part may be measured, and the numbers leave.
        gain: with the metrics, the site trains alone as well, and tells by how much the federation's model is better.
        hours: from and to, local time; None: always.
        approval: every run is allowed by name with 'medimg federate policy approve'.
    """

    coordinators: tuple[Party, ...]
    sites: tuple[Party, ...] = ()
    models: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ()
    most_rounds: int = 1000
    most_runs: int = 0
    secure: str = "optional"
    fewest_sites: int = 2
    fewest_patients: int = 5
    fewest_rows: int = 8
    dp_unit: str = "none"
    dp_epsilon: float | None = None
    dp_delta: float | None = None
    dp_noise: str = "local"
    dp_budget: float | None = None
    statistics: bool = False
    metrics: bool = True
    gain: bool = False
    hours: tuple[time, time] | None = None
    approval: bool = False
    digest: str = field(default="", compare=False)

    @classmethod
    def read(cls, path: Path) -> "Policy":
        """Of a file, whose keys' files are relative to it.

        Raises:
            InputError: names the file and the entry.
        """
        return cls(**entries(path), digest=hashlib.sha256(Path(path).read_bytes()).hexdigest())

    def check_now(self, now: datetime | None = None) -> None:
        """Refuse outside the hours.

        Raises:
            PolicyError: it is not the time.
        """
        if not self.hours:
            return
        first, last, now_ = *self.hours, (now or datetime.now()).time()
        inside = first <= now_ < last if first <= last else now_ >= first or now_ < last
        if not inside:
            raise PolicyError(f"hours: this site answers from {first:%H:%M} to {last:%H:%M}, its local time")

    def check_patients(self, patients: int) -> None:
        """Refuse where there are too few.

        Raises:
            PolicyError: there are.
        """
        if patients < self.fewest_patients:
            # How many there are is not told.
            raise PolicyError(f"min_patients: this site has fewer than {self.fewest_patients} training patients")

    def check_plan(self, config: FederateConfig, run: str, roster: dict, folder: Path) -> None:
        """Refuse a training that goes against it; put down the run that it allows.

        Args:
            config: options of the training.
            run: its name.
            roster: sites by name, to public keys in hexadecimal digits.
            folder: of the site, where runs are put down.

        Raises:
            PolicyError: names the entry.
        """
        self.check_model(config.model)
        _check_listed("strategies", self.strategies, config.strategy)
        if config.rounds > self.most_rounds:
            raise PolicyError(f"max_rounds: {config.rounds} are asked for, {self.most_rounds} allowed")
        kinds = {"required": ("masking", "ckks"), "optional": ("none", "masking", "ckks")}.get(self.secure)
        if config.secure not in (kinds or (self.secure,)):
            kind = "masking" if kinds else self.secure
            raise PolicyError(f"secure: updates of this site leave in a secure sum alone; give --secure {kind}")
        if config.secure != "none":
            self.check_partners(config.secure, roster)
        if config.shares_noise:
            self._check_shares(len(roster))
        if config.batch_size < self.fewest_rows:
            raise PolicyError(
                f"min_batch: a step of {config.batch_size} shows its rows; raise --batch-size to {self.fewest_rows}"
            )
        self._check_privacy(config)
        self.check_run(run, folder)

    def check_model(self, model: str) -> None:
        """Refuse a model, and statistics that are for it alone.

        Raises:
            PolicyError: it is not among those that are allowed.
        """
        _check_listed("models", self.models, model)

    def check_statistics(self, masked: bool) -> None:
        """Refuse counts and sums where they may not leave; they carry no noise.

        Args:
            masked: they are to leave in a masked sum.

        Raises:
            PolicyError: they may not.
        """
        if self.dp_unit == "patient":
            raise PolicyError("dp: this site trains with --dp patient alone, and tells no statistics")
        if not self.statistics:
            raise PolicyError("statistics: none of this site's rows leave; 'statistics: true' in its policy lets them")
        if self.secure != "optional" and not masked:
            kind = "ckks" if self.secure == "ckks" else "masking"
            raise PolicyError(f"secure: statistics of this site leave in masked sums alone; give --secure {kind}")

    def check_terms(self, terms: SumTerms, number: int, start: str) -> None:
        """Refuse a secure sum of too few sites, or of something else than what this site has to add up.

        Args:
            terms: of the sum.
            number: of the round that was trained, or of the question.
            start: digest of what it was trained from, or of the question.

        Raises:
            PolicyError: names the entry.
        """
        if terms.round != number:
            raise PolicyError(f"round {number}: the secure sum is of round {terms.round}")
        if terms.start != start:
            raise PolicyError(
                f"round {number}: other sites were given another plan, another question or other weights than this one"
            )
        if terms.threshold < self.fewest_sites:
            raise PolicyError(
                f"min_sites: a secure sum of {terms.threshold} or more of {len(terms.clients)} sites, "
                f"{self.fewest_sites} are needed; give --secure-threshold {self.fewest_sites}"
            )

    def check_metrics(self) -> None:
        """Refuse to measure where that may not leave.

        Raises:
            PolicyError: it may not.
        """
        if not self.metrics:
            raise PolicyError("metrics: none of this site's own test part leave")

    def check_partners(self, secure: str, roster: dict) -> None:
        """Refuse sums with sites that the policy does not list.

        Args:
            secure: kind of the sum.
            roster: sites by name, to public keys in hexadecimal digits.

        Raises:
            PolicyError: names the entry.
        """
        known = {party.name: party.identity.hex() for party in self.sites}
        if secure == "ckks" and not known:
            raise PolicyError(
                "sites: --secure ckks hands its key to the sites that the policy lists, and it lists none"
            )
        strangers = [name for name, key in roster.items() if known.get(name) != key]
        if known and strangers:
            raise PolicyError(
                f"sites: {printable(', '.join(strangers), 200)} are not those that this site sums securely with"
            )

    def _check_privacy(self, config: FederateConfig) -> None:
        if self.dp_unit == "patient" and config.dp != "patient":
            raise PolicyError("dp: this site trains with --dp patient alone")
        if config.dp != "patient":
            return
        for entry, most, given, option in (
            ("epsilon", self.dp_epsilon, config.dp_epsilon, "--dp-epsilon"),
            ("delta", self.dp_delta, config.dp_delta, "--dp-delta"),
        ):
            if most is not None and (given is None or given > most):
                raise PolicyError(f"dp {entry}: {given} is asked for, {most:g} allowed; lower {option}")

    def _check_shares(self, asked: int) -> None:
        """Refuse to share the noise with so many sites."""
        from federated.private.noise_shares import colluding

        if self.dp_noise != "distributed":
            raise PolicyError("dp noise: this site adds all its noise by itself; leave out --noise distributed")
        if not self.sites:
            raise PolicyError(
                "sites: noise in shares counts on the other sites, and this policy lists none: the coordinator could "
                "invent them"
            )
        may, counted = colluding(len(self.sites)), colluding(asked)
        if may > counted:
            # Whoever chooses among those that are listed may choose the ones that it colludes with.
            raise PolicyError(
                f"sites: of the {len(self.sites)} that the policy lists {may} may collude, and a federation of {asked} "
                f"counts on {counted} at most; ask all of them, or have the policy list those of this federation alone"
            )

    def check_run(self, run: str, folder: Path) -> None:
        """Refuse a run too many, or one that nobody approved; put down the one that is allowed.

        Args:
            run: its name.
            folder: of the site, where runs are put down.

        Raises:
            PolicyError: names the entry.
        """
        with runs.alone(folder):
            known = runs.read(folder)
            if run in known["taken"]:
                return
            if self.most_runs and len(known["taken"]) >= self.most_runs:
                raise PolicyError(f"max_runs: this site has taken part in {len(known['taken'])}, and may in no more")
            if self.approval and run not in known["approved"]:
                raise PolicyError(
                    f"approval: a person at this site must allow run {printable(run, 64)} "
                    "('medimg federate policy approve'); ask there, then start again"
                )
            runs.take(run, folder)


def _check_listed(entry: str, allowed: tuple[str, ...], given: str) -> None:
    if allowed and given not in allowed:
        raise PolicyError(f"{entry}: {printable(given, 50)} is not among {', '.join(allowed)}")
