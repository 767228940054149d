"""The coordinator's side of secure sums over updates that stay at sites of their own: it asks, and hands on."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from federated.config import FederateConfig
from federated.flower import protocol
from federated.flower.calls import GONE, Asked, Calls, SiteRefusedError, SiteSilentError, reading, waited_for
from federated.flower.envelope import WireError
from federated.rounds.combining import Sums
from federated.secure.ckks_server import public_context
from federated.secure.errors import RefusedError

# Stages by which a site's vector is not in the sum yet.
_BEFORE = ("advertise", "share", "mask", "encrypt")


class SumsAtSites:
    """Of one training.

    Args:
        calls: the sites.
        config: options.
    """

    def __init__(self, calls: Calls, config: FederateConfig):
        self._calls, self._kind, self._waits = calls, config.secure, config.when_lost == "wait"
        self._public, self._holders = b"", []

    def agree(self, names: Iterable[str], max_weight: float) -> None:
        """Have sites come to one key of CKKS, which passes here encrypted; nothing to do for other sums.

        Args:
            names: that were given the plan.
            max_weight: largest weight of an update.

        Raises:
            InputError: a site refuses, or is away.
        """
        if self._kind != "ckks":
            return
        asked = self._calls.all(protocol.KEY, {name: {"stage": "want"} for name in names})
        wanted = {name: list(one.envelope.arrays.get("content", [])) for name, one in asked.items()}
        # Who holds it hands it on; at first there is nobody, and one of them makes it.
        known = [*(name for name in self._holders if name not in wanted), *(n for n, ads in wanted.items() if not ads)]
        holding = next(iter([*known, *wanted]))
        others = {name: ads[0] for name, ads in wanted.items() if ads and name != holding}
        fields, arrays = {"stage": "hand", "max_weight": max_weight}, {"content": list(others.values())}
        answer = self._calls.all(protocol.KEY, {holding: fields}, {holding: arrays})[holding].envelope
        with reading(holding):
            self._public, handed = answer.arrays["public"][0].tobytes(), answer.arrays["content"]
            public_context(self._public)
            content = {name: {"content": [raw]} for name, raw in zip(others, handed, strict=True)}
        self._calls.all(protocol.KEY, {name: {"stage": "take"} for name in others}, content)
        self._holders = list(dict.fromkeys([holding, *known, *others]))

    def over(self, shapes: list[tuple[int, ...]], start: Callable[[], str]) -> Sums | None:
        """How a round's updates are summed; None: they arrive.

        Args:
            shapes: of an update's vectors.
            start: gives a digest of what a round's updates were made from.
        """
        if self._kind == "none":
            return None
        roster = {name: party.identity for name, party in self._calls.parties.items()}
        return Sums(shapes, roster, self._asking, start, self._public)

    def _asking(self, number: int):
        """An `federated.secure.network.Ask` of a round, which raises InputError where a lost site is waited for."""

        def ask(stage: str, inbound: Mapping[str, bytes]):
            fields = {name: {"round": number, "stage": stage} for name in inbound}
            arrays = {name: {"content": [np.frombuffer(raw, np.uint8)]} for name, raw in inbound.items()}
            answers = self._calls.ask(protocol.MASK, fields, arrays)
            if self._waits and stage in _BEFORE:
                for name, answer in answers.items():
                    if isinstance(answer, (*GONE, SiteSilentError)):
                        raise waited_for(name, answer)
            for name, answer in answers.items():
                content = answer.envelope.arrays.get("content") if isinstance(answer, Asked) else None
                if content:
                    yield name, content[0].tobytes()
                elif isinstance(answer, Asked):
                    yield name, RefusedError(name, f"its answer to '{stage}' is empty")
                elif isinstance(answer, (SiteRefusedError, WireError)):
                    yield name, RefusedError(name, str(answer))

        return ask
