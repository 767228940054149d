"""FlowerPool: the clients at sites of their own, as the rounds ask them; a `federated.rounds.pool.Pool`."""

from collections.abc import Callable, Iterable
from contextlib import suppress

import numpy as np

from federated.audit_log import AuditLog
from federated.audit_log.head import witnessed
from federated.config import FederateConfig
from federated.engine.records import ClientData
from federated.engine.state import State
from federated.engine.updates import ClientRound, ClientUpdate
from federated.flower import protocol
from federated.flower.calls import (
    GONE,
    TRIES,
    Asked,
    Calls,
    reading,
    waited_for,
    whole,
)
from federated.flower.description import Description, client_told, described, small, together, whole_number
from federated.flower.envelope import Envelope, WireError
from federated.flower.grid import Grid
from federated.flower.keys import Keys, Party
from federated.flower.own_metrics import metrics_told
from federated.flower.site_privacy import plan_told
from federated.flower.sums import SumsAtSites
from federated.flower.totals import TotalsAtSites
from federated.private.site_plan import SitePlan
from federated.rounds.combining import Sums
from federated.secure.keys import signed_by
from medimg.errors import InputError
from medimg.untrusted.printable import printable

# Of the coordinator's options what is no site's affair; a seed of noise would take it off.
_OWN = {"weights": "none", "dp_seed": None, "engine": "tff", "link": None, "superlink": None, "site": []}
_HEX, _MOST_MEASURES = 64, 20


class SiteChangedError(InputError):
    """A site has other data than when the training began."""


class FlowerPool:
    """The sites of a federation.

    Args:
        grid: of the link.
        keys: of the coordinator.
        parties: the sites, by name.
        config: options of the training.
        run: names it, the same when it is resumed.

    Attributes:
        run: its name.
        key: of the coordinator, by which it signs the head of its log.
        clients: name -> what is known of it, by name; filled by `prepare`.
        privacy: name -> what the site has settled for its patients; filled by `prepare` of a private training.
        messages: name -> what the last round's messages to and from it were, for the audit log.

    Raises:
        InputError: a site is not there, refuses, or sites do not fit together.
    """

    def __init__(self, grid: Grid, keys: Keys, parties: list[Party], config: FederateConfig, run: str):
        self._config, self.run, self.key = config, run, keys.identity().private
        self._calls = Calls(grid, keys, parties, config.site_patience, config.site_timeout, run)
        self._parties = self._calls.parties
        self._sums = SumsAtSites(self._calls, config)
        self._totals = TotalsAtSites(self._calls, config, self._same)
        self._plan: dict[str, tuple[dict, dict]] = {}
        self.clients: dict[str, ClientData] = {}
        self.messages: dict[str, dict] = {}
        self.privacy: dict[str, SitePlan] = {}
        self._descriptions = self._described(list(self._parties))
        self._together = together(self._descriptions)

    def describe(self) -> Description:
        """What all serve together."""
        return self._together

    def total(self, request: dict, size: int) -> np.ndarray:
        """The sum of all sites' answers to a question (`federated.statistics.asking.Total`)."""
        return self._totals(request, size)

    def prepare(
        self, config: FederateConfig, plan: dict, initial: list[np.ndarray], by_examples: bool, start: str
    ) -> list[ClientData]:
        """Have every site write its records and be ready to train; what is known of them, by name.

        Args:
            config: options, settled.
            plan: what the kind of model needs (`federated.flower.kinds`).
            initial: weights of the whole model.
            by_examples: updates count by examples.
            start: what it begins with (`medimg.training.start`).
        """
        roster = {name: party.identity.hex() for name, party in self._parties.items()}
        self._config = config
        # Weights travel with the plan: a site reads no file that the coordinator names.
        fields = {"plan": plan, "config": {**config.to_dict(), **_OWN}, "roster": roster, "start": start}
        self._plan = {name: (fields, {"initial": initial}) for name in self._parties}
        message = Envelope(protocol.PLAN, "", "", self._calls.session, 0, *next(iter(self._plan.values())))
        self._plan_digest = protocol.plan_digest(message)
        answers = self._calls.all(protocol.PLAN, *self._plan_of(self._parties), again=self._same)
        for name, asked in answers.items():
            with reading(name):
                self.clients[name] = client_told(name, asked.envelope.fields, self._config.dp == "patient")
                if self._config.dp == "patient":
                    self.privacy[name] = plan_told(asked.envelope.fields["privacy"])
        self._weights = {name: float(client.examples) if by_examples else 1.0 for name, client in self.clients.items()}
        self._sums.agree(self._parties, max(self._weights.values()))
        return list(self.clients.values())

    def start(self, shapes: list[tuple[int, ...]], client_state: list[tuple[int, ...]], log: AuditLog) -> None:
        """Say what the clients send, and whose head they are told in every round.

        Args:
            shapes: of an update's vectors.
            client_state: of a client's state of the strategy.
            log: of the coordinator.
        """
        self._shapes, self._state_shapes, self._log = shapes, client_state, log

    def events(self, number: int) -> dict:
        """What the audit log's record of a round says of the sites: digests of the messages that held updates."""
        return {"sites": self.messages}

    @property
    def sums(self) -> Sums | None:
        """How updates that stay at their sites are summed; None: they arrive."""
        return self._sums.over(self._shapes, lambda: self._start)

    def updates(
        self, state: State, names: list[str], number: int, work: dict[str, float]
    ) -> tuple[dict[str, ClientUpdate], dict[str, str]]:
        """As `Pool` says; under a secure sum the vectors stay at the sites, and updates come without."""
        shared = {"weights": state.weights, "shared": state.shared}
        fields = {name: {"round": number, "part": work.get(name, 1.0), "head": self._log.head.hash} for name in names}
        arrays = {name: {**shared, **({"own": state.clients[name]} if name in state.clients else {})} for name in names}
        message = Envelope(protocol.TRAIN, "", "", self._calls.session, 0, {}, shared)
        # Alike at all sites (`federated.private.shared_plan.alike`).
        noises = [plan.site.noise_multiplier for plan in self.privacy.values() if self._config.shares_noise]
        self._start = protocol.start_digest(self._plan_digest, message, *noises[:1])
        arrived, lost = {}, {}
        self.messages = {}
        for name, answer in self._patiently(protocol.TRAIN, fields, arrays).items():
            try:
                with reading(name):
                    arrived[name] = self._update(name, whole(answer))
            except (InputError, *GONE) as error:
                lost[name] = str(error)
        if lost and self._config.when_lost == "wait":
            raise waited_for(*next(iter(lost.items())))
        return {name: arrived[name] for name in names if name in arrived}, lost

    def evaluate(self, weights_of: Callable[[str], list[np.ndarray]]) -> dict[str, dict]:
        """Each site's metrics on its own test part, with its own words where it tells none.

        Args:
            weights_of: site -> weights of the whole model.
        """
        names = list(self._parties)
        fields, arrays = {name: {} for name in names}, {name: {"weights": weights_of(name)} for name in names}
        metrics = {}
        for name, answer in self._patiently(protocol.EVALUATE, fields, arrays).items():
            try:
                with reading(name):
                    metrics[name] = metrics_told(whole(answer).envelope.fields)
            except (InputError, *GONE) as error:
                metrics[name] = {"why": str(error)}
        return metrics

    def named(self) -> dict:
        """Who takes part in what: by this whoever has the audit log checks what the sites have signed."""
        return {"run": self.run, "signers": {name: party.identity.hex() for name, party in self._parties.items()}}

    def finish(self) -> dict[str, dict]:
        """Have the sites clear away what the training needed.

        Returns:
            `heads`: site -> how its own log ends; `countersigned`: site -> its signature on this one's head; `before`:
            site -> the head that it was told before.
        """
        head, heads, signed = self._log.head.hash, {}, {}
        for name, answer in self._patiently(protocol.FINISH, {n: {"head": head} for n in self._parties}, {}).items():
            with suppress(InputError, *GONE), reading(name):
                fields = whole(answer).envelope.fields
                heads[name] = printable(fields["head"], _HEX)
                signed[name] = self._countersigned(name, fields, head)
        of_all = {key: {name: one[key] for name, one in signed.items()} for key in ("countersigned", "before")}
        return {"heads": heads, **of_all}

    def _countersigned(self, name: str, fields: dict, head: str) -> dict[str, str]:
        """A site's signature on the head that it was told, and on the one before."""
        signature, before = bytes.fromhex(fields["countersigned"]), printable(fields["before"], _HEX)
        statement = witnessed(name, self.run, head, before)
        if not signed_by(self._parties[name].identity, signature, statement):
            raise WireError(f"site {name}: has not signed the head that it was told")
        return {"countersigned": signature.hex(), "before": before}

    def close(self) -> None:
        """End the run at the link; the sites stay."""
        self._calls.close()

    def __enter__(self) -> "FlowerPool":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _described(self, names: list[str]) -> dict[str, Description]:
        private = self._config.is_private
        fields = {"seed": self._config.seed, "private": private, "run": self.run}
        answers = self._calls.all(protocol.DESCRIBE, dict.fromkeys(names, fields))
        descriptions = {}
        for name, asked in answers.items():
            with reading(name):
                descriptions[name] = described(asked.envelope.fields, name)
        return descriptions

    def _patiently(self, kind: str, fields: dict[str, dict], arrays: dict[str, dict]) -> dict[str, Asked | Exception]:
        """Sites' answers, or why there is none; one that is back is given the plan again, and asked again."""
        answers, left = {}, list(fields)
        for _ in range(TRIES):
            answers |= self._calls.ask(kind, {name: fields[name] for name in left}, arrays)
            # One that is away was waited for already.
            away = [name for name in left if isinstance(answers[name], GONE)]
            left = []
            for name in filter(self._calls.found_again, away):
                try:
                    self._plan_again(name)
                    left.append(name)
                except InputError as error:
                    if kind == protocol.TRAIN and isinstance(error, SiteChangedError):
                        raise
                    answers[name] = error
            if not left:
                break
        return answers

    def _plan_again(self, name: str) -> None:
        """Give the plan to a site that was started anew.

        Raises:
            InputError: it refuses, is away again, or nobody is there who could hand it the key.
        """
        self._same(name)
        self._calls.all(protocol.PLAN, *self._plan_of([name]))
        self._sums.agree([name], max(self._weights.values()))

    def _same(self, name: str) -> None:
        """Begin again with a site that was started anew.

        Raises:
            SiteChangedError: it has other data than before.
            InputError: it refuses, or is away again.
        """
        if self._described([name])[name] != self._descriptions[name]:
            raise SiteChangedError(
                f"site {name}: came back with other data; start anew with --overwrite, or restore its data"
            )

    def _plan_of(self, names: Iterable[str]) -> tuple[dict, dict]:
        return {name: self._plan[name][0] for name in names}, {name: self._plan[name][1] for name in names}

    def _update(self, name: str, asked: Asked) -> ClientUpdate:
        envelope = asked.envelope
        vectors = [np.asarray(array, np.float32) for array in envelope.arrays.get("vectors", [])]
        shapes = [] if self._config.secure != "none" else [tuple(shape) for shape in self._shapes]
        if [vector.shape for vector in vectors] != shapes:
            raise WireError(f"site {name}: its update has other shapes than this model's")
        client_state = [np.asarray(array, np.float32) for array in envelope.arrays.get("own", [])]
        # Under a secure sum nothing is kept.
        if [array.shape for array in client_state] != (self._state_shapes if shapes else []):
            raise WireError(f"site {name}: its own state has other shapes than the strategy's")
        measures = dict(envelope.fields["measures"])
        known = [measures.pop(key) for key in ("examples", "loss", "accuracy", "seconds")]
        examples = known[0] if self._config.dp == "patient" else whole_number(known[0])
        # Of a private site, whose numbers are not told, None.
        numbers = [float("nan") if value is None else float(value) for value in known[1:]]
        measures = {str(key)[:_HEX]: value and float(value) for key, value in list(measures.items())[:_MOST_MEASURES]}
        self.messages[name] = {
            "request": asked.request,
            "answer": asked.answer,
            **self._countersigned(name, envelope.fields, self._log.head.hash),
            **({"privacy": small(envelope.fields["privacy"])} if "privacy" in envelope.fields else {}),
        }
        measured = ClientRound(int(examples or 0), *numbers, asked.bytes_up, asked.bytes_down, measures)
        return ClientUpdate(vectors, self._weights[name], client_state, measured)
