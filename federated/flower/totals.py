"""Sums of what sites of their own answer before the first round; under masks the coordinator has nothing else of it."""

import secrets
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from federated.config import FederateConfig
from federated.flower import protocol
from federated.flower.calls import GONE, TRIES, Asked, Calls, SiteSilentError
from federated.flower.envelope import WireError
from federated.secure import masking
from federated.secure.client import STAGES
from federated.secure.errors import TooFewClientsError
from federated.secure.keys import Exchange
from federated.secure.whole import from_words, whole_terms
from medimg.errors import InputError

# Stages at which all numbers are in: the sum is opened down to the threshold.
_LATE = ("confirm", "reveal")


class _LostError(RuntimeError):
    """Sites are away before their numbers are in, or too few are left: it is asked anew when they are back."""

    def __init__(self, why: str, names: list[str]):
        super().__init__(why)
        self.names = names


class TotalsAtSites:
    """Of one training, a question at a time.

    Args:
        calls: the sites.
        config: options.
        again: has a site that was started anew begin again.
    """

    def __init__(self, calls: Calls, config: FederateConfig, again: Callable[[str], None]):
        self._calls, self._config, self._again, self._number = calls, config, again, 0

    def __call__(self, request: dict, size: int) -> np.ndarray:
        """The sum of all sites' answers to a question.

        Args:
            request: the question.
            size: numbers of an answer.

        Returns:
            float64 (size,).

        Raises:
            InputError: a site refuses, or is away.
        """
        # The same question has the same number, as it is asked again after a restart.
        self._number += 1
        if self._config.secure == "none":
            return self._openly(request, size)
        for _ in range(TRIES):
            try:
                return self._masked(request, size)
            except _LostError as error:
                why = str(error)
                self._calls.find()
                for name in error.names:
                    self._again(name)
        raise InputError(f"{why}; when it is there, start this training again")

    def _openly(self, request: dict, size: int) -> np.ndarray:
        fields = {name: {"request": request} for name in self._calls.parties}
        answers, vectors = self._calls.all(protocol.STATISTICS, fields, again=self._again), []
        for name, asked in answers.items():
            arrays = asked.envelope.arrays.get("answer", ())
            if [(array.dtype, array.shape) for array in arrays] != [(np.float64, (size,))]:
                raise WireError(f"site {name}: its answer has another form; is its medimg this one?")
            vectors.append(arrays[0])
        return np.sum(vectors, axis=0)

    def _masked(self, request: dict, size: int) -> np.ndarray:
        roster = {name: party.identity for name, party in self._calls.parties.items()}
        fields = {"request": request, "roster": {name: key.hex() for name, key in roster.items()}}
        exchange = Exchange.generate(secrets.token_bytes)
        start = protocol.question_digest(self._calls.run, fields)
        terms = whole_terms(self._number, tuple(roster), self._config.secure_threshold, size, start, exchange)
        try:
            summed = masking.summed(terms, roster, exchange, self._asking(fields))
        except TooFewClientsError as error:
            raise _LostError(str(error), []) from error
        return from_words(summed.total, len(roster))

    def _asking(self, first: dict):
        """A `federated.secure.network.Ask` of a question; `first` goes with its first stage."""

        def ask(stage: str, inbound: Mapping[str, bytes]) -> Iterator[tuple[str, bytes]]:
            if stage == _LATE[0] and (missing := sorted(self._calls.parties.keys() - inbound.keys())):
                raise WireError(f"site {missing[0]}: what it sent for a masked sum can't be used; it was changed")
            fields = {"question": self._number, "stage": stage, **(first if stage == STAGES[0] else {})}
            arrays = {name: {"content": [np.frombuffer(raw, np.uint8)]} for name, raw in inbound.items()}
            answers = self._calls.ask(protocol.STATISTICS, dict.fromkeys(inbound, fields), arrays)
            kinds = (*GONE, SiteSilentError) if stage in _LATE else GONE
            lost = [name for name, one in answers.items() if isinstance(one, kinds)]
            if lost and stage not in _LATE:
                raise _LostError(f"site {', '.join(lost)}: is away", lost)
            for name, answer in answers.items():
                if isinstance(answer, Asked):
                    content = answer.envelope.arrays.get("content")
                    if not content:
                        raise WireError(f"site {name}: its answer to '{stage}' is empty; is its medimg this one?")
                    yield name, content[0].tobytes()
                elif name not in lost:
                    raise answer

        return ask
